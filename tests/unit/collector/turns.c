/*
 * Threads that take turns as the preload does, told to the model as a collector
 * reads them: buffer by buffer, each as far as it is written by then.
 */
#include "collector/model/turns.h"

#include <stdlib.h>

#include "include/xalloc.h"
#include "tests/unit/check.h"

enum { THREADS = 5, BLOCKS = 60, MOST = 400 };

TestSuite(turns, .timeout = 60);

/* A word in a thread's buffer. */
struct word {
    enum { TURN, BIRTH, DEATH, FORK } kind;
    uint64_t number; /* a turn, a block, a fork */
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
};

static uint64_t
addr_of(uint64_t block)
{
    return 0x1000 + 16 * block;
}

static void
write_word(struct thread *thread, int kind, uint64_t number)
{
    thread->words[thread->n].kind = (unsigned)kind % 4;
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
    world->is_alive[block] = !world->is_alive[block];
}

static void
tell(struct turns *turns, uint32_t buffer, const struct word *word)
{
    const struct livemap_block block = {
        .addr = addr_of(word->number),
        .n_bytes = 24,
    };
    if (word->kind == TURN)
        turns_take(turns, buffer, word->number);
    else if (word->kind == BIRTH)
        turns_birth(turns, buffer, &block);
    else if (word->kind == DEATH)
        turns_death(turns, buffer, block.addr);
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
check_lives(const struct livemap *map, const bool *is_alive)
{
    struct livemap_block block;
    for (uint64_t i = 0; i < BLOCKS; i++)
        check_eq(livemap_find(map, addr_of(i), &block), is_alive[i]);
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
        check_lives(turns_map(turns), world->is_alive);
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
        n_left = MOST / 2;
        while (n_left != 0) {
            read_all(world, turns, &state, &n_left);
            turns_pass(turns);
        }
        check_true(turns_take_fork(turns, 6) == NULL);
        struct livemap *child = turns_take_fork(turns, 7);
        cr_assert_not_null(child);
        check_true(turns_take_fork(turns, 7) == NULL);
        check_lives(child, world->at_fork);
        livemap_destroy(child);
        turns_destroy(turns);
        free(world);
    }
}
