#include "collector/model/turns.h"

#include <stdlib.h>
#include <string.h>

#include "include/xalloc.h"

enum {
    MOST_FORKS = 64, /* remembered, until their children have come */
};

enum kind { BIRTH, DEATH, OBJECT_DEATH, OBJECT_MOVE, FORK, REVIVAL };

/* Of a death the address alone counts; of a fork that is its number. */
struct event {
    struct livemap_block block;
    enum kind kind;
};

struct fork {
    uint64_t number;
    struct livemap *heap;
};

/* Events of one buffer and one turn, one behind another. */
struct stretch {
    uint64_t turn;
    size_t first; /* of the events */
    size_t n;
    uint32_t buffer;
};

/* What a revival may want back: the stack of the block that died last. */
struct last_stack {
    uint64_t addr;
    uint32_t stack;
};

struct turns {
    struct livemap *heap;
    uint64_t *current; /* by buffer: the turn of what comes next; 0: none */
    size_t n_buffers;
    struct last_stack *last_stacks; /* by buffer, once one had any */
    size_t n_last_stacks;
    struct event *events;
    size_t n_events;
    size_t event_capacity;
    struct stretch *stretches;
    size_t n_stretches;
    size_t stretch_capacity;
    uint64_t greatest;             /* turn that has come */
    uint64_t passed;               /* the greatest when the last pass ended */
    struct fork forks[MOST_FORKS]; /* a ring: the oldest goes first */
    size_t n_forks;                /* ever */
};

struct turns *
turns_create(struct livemap *heap)
{
    struct turns *turns = xcalloc(1, sizeof(*turns));
    turns->heap = heap;
    return turns;
}

void
turns_destroy(struct turns *turns)
{
    if (turns == NULL)
        return;
    for (size_t i = 0; i < MOST_FORKS; i++)
        livemap_destroy(turns->forks[i].heap);
    livemap_destroy(turns->heap);
    free(turns->current);
    free(turns->last_stacks);
    free(turns->events);
    free(turns->stretches);
    free(turns);
}

struct livemap *
turns_map(const struct turns *turns)
{
    return turns->heap;
}

struct livemap *
turns_take_fork(struct turns *turns, uint64_t number)
{
    for (size_t i = 0; i < MOST_FORKS; i++) {
        struct fork *fork = &turns->forks[i];
        struct livemap *heap = fork->heap;
        if (fork->number != number || heap == NULL)
            continue;
        fork->heap = NULL;
        return heap;
    }
    return NULL;
}

/* ---- telling ----------------------------------------------------------- */

void
turns_take(struct turns *turns, uint32_t buffer, uint64_t turn)
{
    if (buffer >= turns->n_buffers) {
        turns->current =
            xrealloc(turns->current, buffer + 1, sizeof(turns->current[0]));
        while (turns->n_buffers <= buffer)
            turns->current[turns->n_buffers++] = 0;
    }
    turns->current[buffer] = turn;
    if (turn > turns->greatest)
        turns->greatest = turn;
}

static uint64_t
turn_of(const struct turns *turns, uint32_t buffer)
{
    return buffer < turns->n_buffers ? turns->current[buffer] : 0;
}

static void
remember_fork(struct turns *turns, uint64_t number)
{
    struct fork *fork = &turns->forks[turns->n_forks++ % MOST_FORKS];
    livemap_destroy(fork->heap);
    *fork = (struct fork){number, livemap_clone(turns->heap)};
}

static void
remember_stack(struct turns *turns, uint32_t buffer, uint64_t addr,
               uint32_t stack)
{
    if (buffer >= turns->n_last_stacks) {
        turns->last_stacks = xrealloc(turns->last_stacks, buffer + 1,
                                      sizeof(turns->last_stacks[0]));
        while (turns->n_last_stacks <= buffer)
            turns->last_stacks[turns->n_last_stacks++] = (struct last_stack){0};
    }
    turns->last_stacks[buffer] = (struct last_stack){addr, stack};
}

static void
revive(struct turns *turns, uint32_t buffer, const struct livemap_block *block)
{
    struct livemap_block living = *block;
    living.stack = 0;
    if (buffer < turns->n_last_stacks &&
        turns->last_stacks[buffer].addr == block->addr)
        living.stack = turns->last_stacks[buffer].stack;
    livemap_revival(turns->heap, &living);
}

static void
apply(struct turns *turns, uint32_t buffer, const struct event *event)
{
    uint32_t stack;
    switch (event->kind) {
    case DEATH:
        stack = livemap_death(turns->heap, event->block.addr);
        if (stack != 0 || turns->n_last_stacks != 0)
            remember_stack(turns, buffer, event->block.addr, stack);
        break;
    case OBJECT_DEATH:
    case OBJECT_MOVE:
        livemap_object_death(turns->heap, event->block.addr,
                             event->kind == OBJECT_MOVE);
        break;
    case BIRTH:
        livemap_birth(turns->heap, &event->block);
        break;
    case FORK:
        remember_fork(turns, event->block.addr);
        break;
    case REVIVAL:
        revive(turns, buffer, &event->block);
        break;
    }
}

static void
hold(struct turns *turns, uint32_t buffer, uint64_t turn,
     const struct event *event)
{
    struct stretch *last = turns->n_stretches == 0
                               ? NULL
                               : &turns->stretches[turns->n_stretches - 1];
    if (last == NULL || last->turn != turn || last->buffer != buffer) {
        XGROW(turns->stretches, turns->stretch_capacity, turns->n_stretches);
        last = &turns->stretches[turns->n_stretches++];
        *last = (struct stretch){
            .turn = turn,
            .first = turns->n_events,
            .buffer = buffer,
        };
    }
    XGROW(turns->events, turns->event_capacity, turns->n_events);
    turns->events[turns->n_events++] = *event;
    last->n++;
}

static void
tell(struct turns *turns, uint32_t buffer, const struct event *event)
{
    const uint64_t turn = turn_of(turns, buffer);
    if (turn == 0)
        apply(turns, buffer, event);
    else
        hold(turns, buffer, turn, event);
}

void
turns_birth(struct turns *turns, uint32_t buffer,
            const struct livemap_block *block)
{
    tell(turns, buffer, &(struct event){.block = *block, .kind = BIRTH});
}

void
turns_death(struct turns *turns, uint32_t buffer, uint64_t addr)
{
    tell(turns, buffer,
         &(struct event){.block = {.addr = addr}, .kind = DEATH});
}

static void
tell_word(struct turns *turns, uint32_t buffer, uint64_t word)
{
    const struct livemap_block block = livemap_word_block(word);
    const enum kind death =
        (word & LIVEMAP_MOVED) != 0 ? OBJECT_MOVE : OBJECT_DEATH;
    if ((word & LIVEMAP_DEATH) == 0)
        turns_birth(turns, buffer, &block);
    else if (block.is_object)
        tell(turns, buffer, &(struct event){.block = block, .kind = death});
    else
        turns_death(turns, buffer, block.addr);
}

void
turns_words(struct turns *turns, uint32_t buffer, const void *words, size_t n)
{
    if (turn_of(turns, buffer) == 0 && turns->n_last_stacks == 0 &&
        !livemap_has_stacks(turns->heap)) {
        livemap_words(turns->heap, words, n);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        uint64_t word;
        memcpy(&word, (const char *)words + i * sizeof(word), sizeof(word));
        tell_word(turns, buffer, word);
    }
}

void
turns_fork(struct turns *turns, uint32_t buffer, uint64_t number)
{
    tell(turns, buffer,
         &(struct event){.block = {.addr = number}, .kind = FORK});
}

void
turns_revival(struct turns *turns, uint32_t buffer,
              const struct livemap_block *block)
{
    tell(turns, buffer, &(struct event){.block = *block, .kind = REVIVAL});
}

/* ---- applying ---------------------------------------------------------- */

/* One turn is one thread's: its stretches came in the order of its calls. */
static int
compare_stretches(const void *left, const void *right)
{
    const struct stretch *a = left;
    const struct stretch *b = right;
    if (a->turn != b->turn)
        return a->turn < b->turn ? -1 : 1;
    return (a->first > b->first) - (a->first < b->first);
}

/* What is left moves to the front. */
static void
drop_applied(struct turns *turns, size_t n_applied)
{
    struct event *kept = NULL;
    size_t n = 0;
    for (size_t i = n_applied; i < turns->n_stretches; i++)
        n += turns->stretches[i].n;
    if (n != 0)
        kept = xcalloc(n, sizeof(*kept));
    n = 0;
    for (size_t i = n_applied; i < turns->n_stretches; i++) {
        struct stretch *stretch = &turns->stretches[i];
        for (size_t k = 0; k < stretch->n; k++)
            kept[n + k] = turns->events[stretch->first + k];
        stretch->first = n;
        n += stretch->n;
        turns->stretches[i - n_applied] = *stretch;
    }
    free(turns->events);
    turns->events = kept;
    turns->n_events = n;
    turns->event_capacity = n;
    turns->n_stretches -= n_applied;
}

static void
apply_up_to(struct turns *turns, uint64_t turn)
{
    size_t n = 0;
    if (turns->n_stretches == 0)
        return;
    qsort(turns->stretches, turns->n_stretches, sizeof(turns->stretches[0]),
          compare_stretches);
    for (; n < turns->n_stretches && turns->stretches[n].turn <= turn; n++) {
        const struct stretch *stretch = &turns->stretches[n];
        for (size_t k = 0; k < stretch->n; k++)
            apply(turns, stretch->buffer, &turns->events[stretch->first + k]);
    }
    drop_applied(turns, n);
}

void
turns_pass(struct turns *turns)
{
    apply_up_to(turns, turns->passed);
    turns->passed = turns->greatest;
}

void
turns_finish(struct turns *turns)
{
    apply_up_to(turns, UINT64_MAX);
}
