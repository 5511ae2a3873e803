/*
 * Threads that take turns as the preload does, told to the model as a collector
 * reads them: buffer by buffer, each as far as it is written by then.
 */
#include "collector/model/turns.h"

#include <stdlib.h>
#include <string.h>

#include "include/xalloc.h"
#include "tests/unit/check.h"

enum { THREADS = 5, BLOCKS = 60, MOST = 400 };

TestSuite(turns, .timeout = 60);

/* A word in a thread's buffer. */
struct word {
    enum { TURN, BIRTH, DEATH, FORK, REVIVAL } kind;
    uint64_t number; /* a turn, a block, a fork */
    uint32_t stack;  /* of a birth */
};

struct thread {
    struct word words[3 * MOST];
    size_t n;
    size_t n_read;
    uint64_t turn;
};

struct world {
    struct thread threads[THREADS];
    uint64_t turn;
    bool is_alive[BLOCKS];
    bool at_fork[BLOCKS];
    uint32_t stacks[BLOCKS]; /* of the living */
};

static uint64_t
addr_of(uint64_t block)
{
    return 0x1000 + 16 * block;
}

static void
write_word(struct thread *thread, int kind, uint64_t number)
{
    thread->words[thread->n].kind = (unsigned)kind % 5;
    thread->words[thread->n++].number = number;
}

static void
take_turn(struct world *world, struct thread *thread)
{
    if (thread->turn == world->turn && world->turn != 0)
        return;
    thread->turn = ++world->turn;
    write_word(thread, TURN, thread->turn);
}

/* Any thread gives life to a block, or takes it, whoever gave it. */
static void
act(struct world *world, uint64_t *state)
{
    struct thread *thread = &world->threads[check_random(state) % THREADS];
    const uint64_t block = check_random(state) % BLOCKS;
    take_turn(world, thread);
    write_word(thread, world->is_alive[block] ? DEATH : BIRTH, block);
    if (world->is_alive[block] && check_random(state) % 3 == 0) {
        write_word(thread, REVIVAL, block); /* realloc could not move it */
        return;
    }
    world->is_alive[block] = !world->is_alive[block];
    if (world->is_alive[block])
        thread->words[thread->n - 1].stack = world->stacks[block] =
            (uint32_t)(check_random(state) % 5);
}

static void
tell(struct turns *turns, uint32_t buffer, const struct word *word)
{
    const struct livemap_block block = {
        .addr = addr_of(word->number),
        .n_bytes = 24,
        .stack = word->stack,
    };
    if (word->kind == TURN)
        turns_take(turns, buffer, word->number);
    else if (word->kind == BIRTH)
        turns_birth(turns, buffer, &block);
    else if (word->kind == DEATH)
        turns_death(turns, buffer, block.addr);
    else if (word->kind == REVIVAL)
        turns_revival(turns, buffer, &block);
    else
        turns_fork(turns, buffer, word->number);
}

/* All buffers, between which the threads go on. */
static void
read_all(struct world *world, struct turns *turns, uint64_t *state,
         unsigned *n_left)
{
    for (uint32_t i = 0; i < THREADS; i++) {
        struct thread *thread = &world->threads[i];
        for (; thread->n_read < thread->n; thread->n_read++)
            tell(turns, i, &thread->words[thread->n_read]);
        for (uint64_t n = check_random(state) % 6; n != 0 && *n_left != 0;
             n--) {
            act(world, state);
            --*n_left;
        }
    }
}

static void
check_lives(const struct livemap *map, const bool *is_alive,
            const uint32_t *stacks)
{
    struct livemap_block block;
    for (uint64_t i = 0; i < BLOCKS; i++) {
        const bool is_there = livemap_find(map, addr_of(i), &block);
        check_eq(is_there, is_alive[i]);
        if (is_there)
            check_eq(block.stack, stacks[i]);
    }
    check_eq(livemap_totals(map).orphans, 0);
    check_eq(livemap_totals(map).doubles, 0);
}

Test(turns, however_they_are_read_the_order_is_the_true_one)
{
    uint64_t state = 4;
    for (unsigned round = 0; round < 500; round++) {
        struct world *world = xcalloc(1, sizeof(*world));
        struct turns *turns = turns_create(livemap_create());
        unsigned n_left = MOST;
        while (n_left != 0) {
            read_all(world, turns, &state, &n_left);
            turns_pass(turns);
            check_eq(livemap_totals(turns_map(turns)).orphans, 0);
            check_eq(livemap_totals(turns_map(turns)).doubles, 0);
        }
        read_all(world, turns, &state, &n_left);
        turns_pass(turns);
        turns_pass(turns);
        check_lives(turns_map(turns), world->is_alive, world->stacks);
        turns_destroy(turns);
        free(world);
    }
    turns_destroy(NULL);
}

/* What a thread tells of a turn that is long over still comes before others. */
Test(turns, nobody_is_waited_for)
{
    struct turns *turns = turns_create(livemap_create());
    const struct livemap_block block = {.addr = 0x1000, .n_bytes = 24};
    turns_take(turns, 1, 1);
    turns_take(turns, 2, 2);
    turns_birth(turns, 2, &block);
    turns_pass(turns);
    turns_pass(turns);
    check_eq(livemap_totals(turns_map(turns)).live_blocks, 1);
    const struct livemap_block late = {.addr = 0x2000, .n_bytes = 24};
    turns_birth(turns, 1, &late);
    turns_pass(turns);
    check_eq(livemap_totals(turns_map(turns)).live_blocks, 2);
    turns_destroy(turns);
}

/* Told at once, and between deaths of others. */
Test(turns, who_lives_on_keeps_its_stack_and_was_born_once)
{
    for (uint64_t turn = 0; turn < 2; turn++) {
        struct turns *turns = turns_create(livemap_create());
        struct livemap_block block = {
            .addr = 0x1000, .n_bytes = 24, .stack = 9};
        struct livemap_block other = {
            .addr = 0x2000, .n_bytes = 40, .stack = 8};
        for (uint32_t i = 1; i <= 2 * turn; i++)
            turns_take(turns, i, i);
        turns_birth(turns, 1, &block);
        turns_birth(turns, 1, &other);
        turns_death(turns, 1, 0x1000);
        turns_death(turns, 2, 0x2000);
        if (turn != 0)
            turns_take(turns, 1, 3);
        block.stack = 0;
        turns_revival(turns, 1, &block);
        turns_finish(turns);
        const struct livemap *map = turns_map(turns);
        check_eq(livemap_tally(map, 9).live_blocks, 1);
        check_eq(livemap_tally(map, 9).live_bytes, 24);
        check_eq(livemap_tally(map, 9).alloc_blocks, 1);
        check_eq(livemap_tally(map, 8).live_blocks, 0);
        check_eq(livemap_tally(map, 0).live_blocks +
                     livemap_tally(map, 0).alloc_blocks,
                 0);
        turns_destroy(turns);
    }
}

/* Another of its address had one, long ago. */
Test(turns, who_had_no_stack_gets_none_back)
{
    struct turns *turns = turns_create(livemap_create());
    struct livemap_block block = {.addr = 0x1000, .n_bytes = 24, .stack = 9};
    turns_birth(turns, 1, &block);
    turns_death(turns, 1, 0x1000);
    block.stack = 0;
    turns_birth(turns, 1, &block);
    turns_death(turns, 1, 0x1000);
    turns_revival(turns, 1, &block);
    check_eq(livemap_tally(turns_map(turns), 9).live_blocks, 0);
    check_eq(livemap_tally(turns_map(turns), 0).live_blocks, 1);
    turns_destroy(turns);
}

Test(turns, at_the_end_everything_counts)
{
    struct turns *turns = turns_create(livemap_create());
    const struct livemap_block block = {.addr = 0x1000, .n_bytes = 24};
    turns_take(turns, 2, 2);
    turns_death(turns, 2, 0x1000);
    turns_take(turns, 1, 1);
    turns_birth(turns, 1, &block);
    turns_finish(turns);
    check_eq(livemap_totals(turns_map(turns)).live_blocks, 0);
    check_eq(livemap_totals(turns_map(turns)).orphans, 0);
    turns_destroy(turns);
}

Test(turns, a_fork_has_what_was_alive_in_its_order)
{
    uint64_t state = 8;
    for (unsigned round = 0; round < 200; round++) {
        struct world *world = xcalloc(1, sizeof(*world));
        struct turns *turns = turns_create(livemap_create());
        unsigned n_left = MOST / 2;
        while (n_left != 0) {
            read_all(world, turns, &state, &n_left);
            turns_pass(turns);
        }
        struct thread *who = &world->threads[check_random(&state) % THREADS];
        take_turn(world, who);
        write_word(who, FORK, 7);
        for (uint64_t i = 0; i < BLOCKS; i++)
            world->at_fork[i] = world->is_alive[i];
        uint32_t stacks[BLOCKS];
        memcpy(stacks, world->stacks, sizeof(stacks));
        n_left = MOST / 2;
        while (n_left != 0) {
            read_all(world, turns, &state, &n_left);
            turns_pass(turns);
        }
        check_true(turns_take_fork(turns, 6) == NULL);
        struct livemap *child = turns_take_fork(turns, 7);
        cr_assert_not_null(child);
        check_true(turns_take_fork(turns, 7) == NULL);
        check_lives(child, world->at_fork, stacks);
        livemap_destroy(child);
        turns_destroy(turns);
        free(world);
    }
}
