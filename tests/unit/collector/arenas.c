#include "collector/model/arenas.h"

#include <stdbool.h>
#include <stdlib.h>

#include "include/attrs.h"
#include "tests/unit/check.h"

enum {
    ARENA = CPYTHON_LARGE_ARENA,
    SMALL = CPYTHON_SMALL_ARENA,
    CHUNK = CPYTHON_STACK_CHUNK_BYTES,
    POOLS = ARENA / CPYTHON_LARGE_POOL,
};

#define BASE ((uint64_t)0x7f0000000000)
#define SECOND_US ((uint64_t)1000000)

static struct arenas *arenas;

static void
set_up(void)
{
    arenas = arenas_create();
}

static void
clean_up(void)
{
    arenas_destroy(arenas);
}

TestSuite(arenas, .init = set_up, .fini = clean_up);

/* The candidate at start; its start is 0 if there is none. */
static struct census_candidate
candidate_of(const struct arenas *of, uint64_t start, uint64_t now_us)
{
    size_t n;
    struct census_candidate *candidates = arenas_candidates(of, now_us, &n);
    struct census_candidate found = {0};
    for (size_t i = 0; i < n; i++) {
        cr_assert(i == 0 ||
                      candidates[i - 1].start + candidates[i - 1].n_bytes <=
                          candidates[i].start,
                  "candidates are not in order, or overlap");
        if (candidates[i].start == start)
            found = candidates[i];
    }
    free(candidates);
    return found;
}

static size_t
n_candidates(const struct arenas *of)
{
    size_t n;
    free(arenas_candidates(of, 0, &n));
    return n;
}

/* A census that sees one arena with so many bytes in use. */
static void
learn(uint64_t start, uint64_t used_bytes, uint64_t now_us)
{
    struct census_arena arena = {
        .address = start,
        .n_bytes = ARENA,
        .pool_bytes = CPYTHON_LARGE_POOL,
        .n_pools = POOLS,
        .used_bytes = used_bytes,
        .is_low = used_bytes != 0 && used_bytes * 4 < ARENA,
    };
    const struct census census = {.arenas = &arena, .n_arenas = 1};
    arenas_learn(arenas, &census, now_us);
}

/* ---- what is kept ------------------------------------------------------ */

Test(arenas, only_what_may_be_an_arena_or_a_chunk_is_kept)
{
    arenas_map(arenas, 1, BASE, SMALL, 0);
    arenas_map(arenas, 2, BASE + 0x1000000, ARENA, 0);
    arenas_map(arenas, 3, BASE + 0x2000000, CPYTHON_HUGE_ARENA, 0);
    arenas_map(arenas, 4, BASE + 0x3000000, CHUNK, 0);
    arenas_map(arenas, 5, BASE + 0x4000000, 4096, 0);
    arenas_map(arenas, 6, BASE + 0x5000000, CHUNK + 4096, 0);
    arenas_map(arenas, 7, BASE + 0x6000000, 64 * 1024 * 1024, 0);
    check_eq(arenas_count(arenas), 3);
    check_eq(n_candidates(arenas), 4);
}

Test(arenas, a_candidate_says_when_it_was_born)
{
    arenas_map(arenas, 1, BASE, ARENA, 77);
    const struct census_candidate candidate = candidate_of(arenas, BASE, 100);
    check_eq(candidate.n_bytes, ARENA);
    check_eq(candidate.born_us, 77);
    check_false(candidate.has_been_full);
    check_false(candidate.was_low);
}

Test(arenas, a_range_takes_all_it_touches_with_it)
{
    for (uint64_t i = 0; i < 8; i++)
        arenas_map(arenas, 1 + i, BASE + i * ARENA, ARENA, 0);
    arenas_unmap(arenas, 20, BASE + ARENA + 4096, 2 * ARENA + 4096);
    check_eq(arenas_count(arenas), 5);
    check_eq(candidate_of(arenas, BASE, 0).start, BASE);
    for (uint64_t i = 1; i < 4; i++)
        check_eq(candidate_of(arenas, BASE + i * ARENA, 0).start, 0);
    check_eq(candidate_of(arenas, BASE + 4 * ARENA, 0).start, BASE + 4 * ARENA);
}

/*
 * Fails while a range that could be an arena by its size is taken for one that
 * was never told of, and what it touches is not looked for.
 */
Test(arenas, a_range_of_an_arenas_size_takes_what_it_touches_too)
{
    arenas_map(arenas, 1, BASE, ARENA, 0);
    arenas_map(arenas, 2, BASE + ARENA, ARENA, 0);
    arenas_unmap(arenas, 3, BASE + ARENA / 2, ARENA);
    check_eq(arenas_count(arenas), 0);
}

Test(arenas, a_part_that_is_unmapped_takes_the_whole_with_it)
{
    arenas_map(arenas, 1, BASE, ARENA, 0);
    arenas_unmap(arenas, 2, BASE, 4096);
    check_eq(arenas_count(arenas), 0);
}

Test(arenas, what_nobody_mapped_may_be_unmapped)
{
    arenas_unmap(arenas, 1, BASE, 4096);
    arenas_unmap(arenas, 2, 0, UINT64_MAX);
    arenas_unmap(arenas, 3, UINT64_MAX - 4096, 8192);
    check_eq(n_candidates(arenas), 0);
}

/* ---- order ------------------------------------------------------------- */

struct event {
    bool is_map;
    uint64_t stamp;
    uint64_t n_bytes;
};

static void
tell(struct arenas *of, const struct event *event)
{
    if (event->is_map)
        arenas_map(of, event->stamp, BASE, event->n_bytes, 0);
    else
        arenas_unmap(of, event->stamp, BASE, event->n_bytes);
}

/* Tells the events in every order; all must end as the one by stamps does. */
static void
check_orders(const struct event *events, size_t n, size_t *order, size_t at)
{
    if (at < n) {
        for (size_t i = at; i < n; i++) {
            const size_t chosen = order[i];
            order[i] = order[at];
            order[at] = chosen;
            check_orders(events, n, order, at + 1);
            order[at] = order[i];
            order[i] = chosen;
        }
        return;
    }
    struct arenas *by_stamp = arenas_create();
    struct arenas *shuffled = arenas_create();
    for (size_t i = 0; i < n; i++) {
        tell(by_stamp, &events[i]);
        tell(shuffled, &events[order[i]]);
    }
    const struct census_candidate wanted = candidate_of(by_stamp, BASE, 0);
    const struct census_candidate is = candidate_of(shuffled, BASE, 0);
    cr_assert(is.start == wanted.start && is.n_bytes == wanted.n_bytes,
              "order %zu %zu %zu ...: %lu bytes, not %lu", order[0], order[1],
              order[2], is.n_bytes, wanted.n_bytes);
    check_eq(arenas_count(shuffled), arenas_count(by_stamp));
    arenas_destroy(by_stamp);
    arenas_destroy(shuffled);
}

Test(arenas, events_of_an_address_may_come_in_any_order)
{
    static const struct event same_size[] = {
        {true,  1, ARENA},
        {false, 2, ARENA},
        {true,  3, ARENA},
        {false, 4, ARENA},
        {true,  5, ARENA},
    };
    static const struct event ends_unmapped[] = {
        {true,  1, ARENA},
        {false, 2, ARENA},
        {true,  3, SMALL},
        {false, 4, SMALL},
        {true,  5, ARENA},
        {false, 6, ARENA},
    };
    static const struct event changes_size[] = {
        {true,  1, ARENA},
        {false, 2, ARENA},
        {true,  3, SMALL},
        {false, 4, SMALL},
        {true,  5, CHUNK},
    };
    size_t order[] = {0, 1, 2, 3, 4, 5};
    check_orders(same_size, countof(same_size), order, 0);
    check_orders(ends_unmapped, countof(ends_unmapped), order, 0);
    check_orders(changes_size, countof(changes_size), order, 0);
}

/*
 * Fails while a map that comes after its own unmap is dropped before it is
 * noted as the youngest arena: fullness then depends on the order of batches.
 */
Test(arenas, a_short_lived_younger_arena_proves_fullness_in_any_order)
{
    arenas_map(arenas, 1, BASE, ARENA, 0);
    arenas_unmap(arenas, 3, BASE + 2 * ARENA, ARENA);
    arenas_map(arenas, 2, BASE + 2 * ARENA, ARENA, 0);
    check_eq(arenas_count(arenas), 1);
    check_true(candidate_of(arenas, BASE, 0).has_been_full);
}

Test(arenas, where_two_overlap_the_younger_is_true)
{
    arenas_map(arenas, 1, BASE, ARENA, 0);
    arenas_map(arenas, 2, BASE + SMALL, SMALL, 0);
    check_eq(candidate_of(arenas, BASE, 0).start, 0);
    check_eq(candidate_of(arenas, BASE + SMALL, 0).start, BASE + SMALL);

    arenas_map(arenas, 5, BASE + 4 * ARENA + SMALL, SMALL, 0);
    arenas_map(arenas, 6, BASE + 4 * ARENA, ARENA, 0);
    check_eq(candidate_of(arenas, BASE + 4 * ARENA, 0).n_bytes, ARENA);
    check_eq(n_candidates(arenas), 2);
}

Test(arenas, the_dead_are_forgotten_when_they_are_many)
{
    enum { LIVES = 100000 };
    arenas_map(arenas, 1, BASE, ARENA, 0);
    for (uint64_t i = 1; i < LIVES; i++) {
        const uint64_t start = BASE + i * ARENA;
        arenas_map(arenas, 2 * i, start, ARENA, 0);
        arenas_unmap(arenas, 2 * i + 1, start, ARENA);
    }
    check_eq(arenas_count(arenas), 1);
    check_eq(n_candidates(arenas), 1);
}

/* ---- forks ------------------------------------------------------------- */

Test(arenas, a_clone_knows_what_was_there_at_its_stamp)
{
    arenas_map(arenas, 1, BASE, ARENA, 0);             /* lives on */
    arenas_map(arenas, 2, BASE + ARENA, ARENA, 0);     /* dies before */
    arenas_map(arenas, 3, BASE + 2 * ARENA, ARENA, 0); /* dies after */
    arenas_unmap(arenas, 4, BASE + ARENA, ARENA);
    arenas_unmap(arenas, 11, BASE + 2 * ARENA, ARENA);
    arenas_map(arenas, 12, BASE + 3 * ARENA, ARENA, 0); /* born after */
    struct arenas *clone = arenas_clone(arenas, 10);
    check_eq(arenas_count(arenas), 2);
    check_eq(arenas_count(clone), 2);
    check_eq(candidate_of(clone, BASE, 0).start, BASE);
    check_eq(candidate_of(clone, BASE + 2 * ARENA, 0).start, BASE + 2 * ARENA);
    arenas_destroy(clone);
}

Test(arenas, a_clone_goes_its_own_way)
{
    arenas_map(arenas, 1, BASE, ARENA, 0);
    struct arenas *clone = arenas_clone(arenas, 10);
    arenas_unmap(clone, 11, BASE, ARENA);
    arenas_map(clone, 12, BASE + ARENA, SMALL, 0);
    check_eq(candidate_of(arenas, BASE, 0).start, BASE);
    check_eq(n_candidates(arenas), 1);
    check_eq(candidate_of(clone, BASE, 0).start, 0);
    check_eq(candidate_of(clone, BASE + ARENA, 0).start, BASE + ARENA);
    arenas_destroy(clone);
}

Test(arenas, a_clone_remembers_what_has_been_full)
{
    arenas_map(arenas, 1, BASE, ARENA, 0);
    arenas_map(arenas, 2, BASE + ARENA, ARENA, 0);
    learn(BASE + ARENA, ARENA / 2, 0);
    struct arenas *clone = arenas_clone(arenas, 10);
    check_true(candidate_of(clone, BASE, 0).has_been_full);
    check_true(candidate_of(clone, BASE + ARENA, 0).has_been_full);
    arenas_destroy(clone);
}

/* ---- pins -------------------------------------------------------------- */

Test(arenas, a_younger_arena_proves_that_the_older_was_full)
{
    arenas_map(arenas, 1, BASE, ARENA, 0);
    check_false(candidate_of(arenas, BASE, 0).has_been_full);
    arenas_map(arenas, 2, BASE + ARENA, CHUNK, 0); /* a chunk proves nothing */
    check_false(candidate_of(arenas, BASE, 0).has_been_full);
    arenas_map(arenas, 3, BASE + 2 * ARENA, ARENA, 0);
    check_true(candidate_of(arenas, BASE, 0).has_been_full);
    check_false(candidate_of(arenas, BASE + 2 * ARENA, 0).has_been_full);
}

Test(arenas, a_census_proves_that_one_was_full)
{
    arenas_map(arenas, 1, BASE, ARENA, 0);
    learn(BASE, ARENA / 4 - 1, 0);
    check_false(candidate_of(arenas, BASE, 0).has_been_full);
    learn(BASE, ARENA / 4, 0);
    check_true(candidate_of(arenas, BASE, 0).has_been_full);
    learn(BASE, 16, 0); /* once is enough */
    check_true(candidate_of(arenas, BASE, 0).has_been_full);
}

Test(arenas, low_in_every_census_is_low_at_once)
{
    arenas_map(arenas, 1, BASE, ARENA, 0);
    check_false(candidate_of(arenas, BASE, SECOND_US).was_low);
    learn(BASE, 16, SECOND_US);
    check_true(candidate_of(arenas, BASE, 2 * SECOND_US).was_low);
}

Test(arenas, what_was_high_must_be_low_for_a_minute)
{
    arenas_map(arenas, 1, BASE, ARENA, 0);
    learn(BASE, ARENA / 2, SECOND_US);
    check_false(candidate_of(arenas, BASE, 2 * SECOND_US).was_low);
    learn(BASE, 16, 2 * SECOND_US);
    check_false(candidate_of(arenas, BASE, 60 * SECOND_US).was_low);
    check_true(candidate_of(arenas, BASE, 61 * SECOND_US).was_low);
    learn(BASE, ARENA / 2, 62 * SECOND_US);
    check_false(candidate_of(arenas, BASE, 200 * SECOND_US).was_low);
}

Test(arenas, an_empty_arena_is_not_low)
{
    arenas_map(arenas, 1, BASE, ARENA, 0);
    learn(BASE, 16, SECOND_US);
    learn(BASE, 0, 2 * SECOND_US);
    check_false(candidate_of(arenas, BASE, 3 * SECOND_US).was_low);
}

Test(arenas, a_new_arena_at_an_old_address_starts_anew)
{
    arenas_map(arenas, 1, BASE, ARENA, 0);
    learn(BASE, ARENA / 2, SECOND_US);
    arenas_unmap(arenas, 2, BASE, ARENA);
    arenas_map(arenas, 3, BASE, ARENA, 5);
    check_false(candidate_of(arenas, BASE, 0).has_been_full);
    check_eq(candidate_of(arenas, BASE, 0).born_us, 5);
}

Test(arenas, a_census_of_unknown_arenas_teaches_nothing)
{
    learn(BASE, 16, 0);
    check_eq(n_candidates(arenas), 0);
}

/* ---- how many there were ----------------------------------------------- */

/* SIZE_MAX: that is too long ago. */
static size_t
count_at(const struct arenas *of, uint64_t stamp)
{
    size_t n;
    return arenas_count_at(of, stamp, &n) ? n : SIZE_MAX;
}

Test(arenas, their_number_is_known_at_each_stamp)
{
    arenas_map(arenas, 2, BASE, ARENA, 0);
    arenas_map(arenas, 4, BASE + ARENA, ARENA, 0);
    arenas_map(arenas, 5, BASE + 4 * ARENA, CHUNK, 0);
    arenas_unmap(arenas, 6, BASE, ARENA);
    arenas_unmap(arenas, 8, BASE + 4 * ARENA, CHUNK);
    check_eq(count_at(arenas, 1), 0);
    check_eq(count_at(arenas, 2), 1);
    check_eq(count_at(arenas, 3), 1);
    check_eq(count_at(arenas, 5), 2);
    check_eq(count_at(arenas, 6), 1);
    check_eq(count_at(arenas, 100), 1);
}

Test(arenas, their_number_is_that_of_stamps_not_of_arrival)
{
    arenas_map(arenas, 10, BASE, ARENA, 0);
    arenas_unmap(arenas, 6, BASE + ARENA, ARENA); /* born at 4, told later */
    check_eq(count_at(arenas, 5), 0);
    arenas_map(arenas, 4, BASE + ARENA, ARENA, 0);
    check_eq(count_at(arenas, 3), 0);
    check_eq(count_at(arenas, 5), 1);
    check_eq(count_at(arenas, 7), 0);
    check_eq(count_at(arenas, 10), 1);
    check_eq(arenas_count(arenas), 1);
}

Test(arenas, one_whose_death_was_missed_counts_once)
{
    arenas_map(arenas, 1, BASE, ARENA, 0);
    arenas_map(arenas, 3, BASE, ARENA, 0);
    check_eq(count_at(arenas, 2), 1);
    check_eq(count_at(arenas, 3), 1);
    arenas_map(arenas, 5, BASE, CHUNK, 0);
    check_eq(count_at(arenas, 5), 0);
}

Test(arenas, their_number_long_ago_is_forgotten)
{
    enum { MANY = 10000 };
    for (unsigned i = 0; i < MANY; i++)
        arenas_map(arenas, 1 + i, BASE + i * (uint64_t)ARENA, ARENA, 0);
    check_eq(count_at(arenas, MANY), MANY);
    check_eq(count_at(arenas, MANY - 10), MANY - 10);
    check_eq(count_at(arenas, 10), SIZE_MAX);
    /* One that comes late was there all the same. */
    arenas_map(arenas, 10, BASE - ARENA, ARENA, 0);
    check_eq(count_at(arenas, MANY), MANY + 1);
    check_eq(count_at(arenas, MANY - 10), MANY - 10 + 1);
}

Test(arenas, a_child_knows_their_number_from_its_fork_on)
{
    arenas_map(arenas, 2, BASE, ARENA, 0);
    arenas_map(arenas, 6, BASE + ARENA, ARENA, 0);
    struct arenas *child = arenas_clone(arenas, 4);
    arenas_unmap(child, 8, BASE, ARENA);
    check_eq(count_at(child, 3), SIZE_MAX);
    check_eq(count_at(child, 7), 1);
    check_eq(count_at(child, 8), 0);
    arenas_destroy(child);
}

Test(arenas, an_unmapping_says_whether_it_may_have_been_an_arenas)
{
    arenas_map(arenas, 2, BASE, ARENA, 0);
    check_true(!arenas_unmap(arenas, 4, BASE + 4 * (uint64_t)ARENA, 4096));
    check_true(arenas_unmap(arenas, 5, BASE + 8 * (uint64_t)ARENA, ARENA));
    check_true(arenas_unmap(arenas, 6, BASE + 4096, 4096));
}
