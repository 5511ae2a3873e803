/*
 * Arenas found by content in a child that told nobody of them: with their entry
 * in a table to the byte, without one inferred or not at all.
 */
#include "collector/census/scan.h"

#include <stdlib.h>
#include <string.h>

#include "collector/census/census.h"
#include "include/attrs.h"
#include "tests/unit/check.h"
#include "tests/unit/collector/asking.h"
#include "tests/unit/collector/interpreter.h"
#include "tests/unit/collector/target.h"

enum {
    PAGE = MEMORY_PAGE,
    POOL = CPYTHON_LARGE_POOL,
    ARENA = CPYTHON_LARGE_ARENA,
    SMALL_POOL = CPYTHON_SMALL_POOL,
    SMALL_ARENA = CPYTHON_SMALL_ARENA,
    ENTRY = 48,
    INDEX_AT = 32,
    TABLE_BYTES = 1024 * 1024,
};

static const struct interpreter_pool used = {POOL, 32, 510, 100, 0};
static const struct interpreter_pool full = {POOL, 64, 255, 255, 0};
static const struct interpreter_pool small = {SMALL_POOL, 32, 126, 100, 0};

static char *area;
static char *table;

static void
reserve(size_t n_bytes)
{
    area = target_reserve(n_bytes, CPYTHON_HUGE_ARENA);
    table = target_reserve(TABLE_BYTES, PAGE);
}

TestSuite(scan, .timeout = 20);

/* ---- laying out -------------------------------------------------------- */

static void
lay_pool(char *at, const struct interpreter_pool *pool, uint32_t index)
{
    interpreter_lay_pool(at, pool);
    memcpy(at + INDEX_AT, &index, sizeof(index));
}

static void
lay_entry(char *at, const char *base, const char *next, uint64_t n_pools)
{
    interpreter_put(at, 0, (uintptr_t)base);
    interpreter_put(at, 8, (uintptr_t)next);
    interpreter_put(at, 16, n_pools << 32 | 3);
}

/* The candidates of a census of such a child. */
static struct scan_result
scan(void (*lay_out)(void *context), struct census_request *request)
{
    struct target target = target_start(lay_out, NULL);
    struct memory *memory = target_memory(&target, target.pid);
    const int64_t resident = target_says(&target, "smaps_rollup", "\nRss:");
    const int64_t tables = target_says(&target, "status", "\nVmPTE:");
    struct maps maps = maps_parse(memory_maps_text(memory));
    struct memory_runs runs = {0};
    check_true(memory_scan(memory, 0, MEMORY_END, &runs));
    struct scan_result result = scan_arenas(memory, &maps, &runs, request);
    check_eq(target_says(&target, "smaps_rollup", "\nRss:"), resident);
    check_eq(target_says(&target, "status", "\nVmPTE:"), tables);
    memory_runs_finish(&runs);
    maps_finish(&maps);
    memory_destroy(memory);
    target_end(&target);
    return result;
}

static struct scan_result
scan_as(unsigned minor, void (*lay_out)(void *context))
{
    struct census_request request = asking_request(NULL, 0);
    request.python_minor = minor;
    request.now_us = 77;
    return scan(lay_out, &request);
}

static void
check_arena(const struct scan_result *result, size_t i, const char *base,
            uint64_t n_bytes)
{
    check_eq(result->candidates[i].start, (uintptr_t)base);
    check_eq(result->candidates[i].n_bytes, n_bytes);
}

/* ---- with a table ------------------------------------------------------ */

static void
lay_three(void *context)
{
    (void)context;
    lay_pool(area, &used, 0);
    lay_pool(area + POOL, &full, 0);
    lay_entry(table, area, area + 2 * POOL, ARENA / POOL);

    char *askew = area + ARENA + PAGE; /* its first pool is the next multiple */
    lay_pool(area + ARENA + POOL, &full, 1);
    lay_entry(table + ENTRY, askew, area + ARENA + 2 * POOL, ARENA / POOL - 1);

    char *huge = area + 4 * ARENA;
    lay_pool(huge, &full, 2);
    lay_pool(huge + ARENA + POOL, &used, 2);
    lay_entry(table + 2 * ENTRY, huge, huge + ARENA + 2 * POOL,
              CPYTHON_HUGE_ARENA / POOL);
}

Test(scan, an_arena_is_what_its_entry_says)
{
    reserve(8 * ARENA);
    struct scan_result result = scan_as(11, lay_three);
    check_eq(result.n_candidates, 3);
    check_arena(&result, 0, area, ARENA);
    check_arena(&result, 1, area + ARENA + PAGE, ARENA);
    check_arena(&result, 2, area + 4 * ARENA, CPYTHON_HUGE_ARENA);
    check_eq(result.n_inferred, 0);
    check_eq(result.candidates[0].born_us, 77);
    check_false(result.candidates[0].has_been_full);
    free(result.candidates);
}

static void
lay_small(void *context)
{
    (void)context;
    lay_pool(area, &small, 0);
    lay_pool(area + 5 * SMALL_POOL, &small, 0);
    lay_entry(table, area, area + 6 * SMALL_POOL, SMALL_ARENA / SMALL_POOL);
}

Test(scan, pools_of_4_KiB_are_found_whatever_the_version)
{
    static const unsigned minors[] = {6, 9, 11};
    reserve(2 * ARENA);
    for (size_t i = 0; i < countof(minors); i++) {
        struct scan_result result = scan_as(minors[i], lay_small);
        check_eq(result.n_candidates, 1);
        check_arena(&result, 0, area, SMALL_ARENA);
        free(result.candidates);
    }
}

/* Chunks of 256 KiB are read one after the other. */
static void
lay_across(void *context)
{
    (void)context;
    lay_pool(area, &full, 0);
    memset(table, 1, TABLE_BYTES);
    lay_entry(table + CPYTHON_SMALL_ARENA - 8, area, area + POOL, ARENA / POOL);
}

Test(scan, an_entry_may_lie_across_what_is_read_at_once)
{
    reserve(2 * ARENA);
    struct scan_result result = scan_as(11, lay_across);
    check_eq(result.n_candidates, 1);
    check_eq(result.n_inferred, 0);
    free(result.candidates);
}

static void
lay_split(void *context)
{
    (void)context;
    lay_pool(area, &used, 0);
    lay_pool(area + POOL, &used, 99); /* something that overwrote it */
    lay_pool(area + 2 * POOL, &used, 0);
    lay_entry(table, area, area + 3 * POOL, ARENA / POOL);
}

Test(scan, an_arena_is_one_whatever_splits_it)
{
    reserve(2 * ARENA);
    struct scan_result result = scan_as(11, lay_split);
    check_eq(result.n_candidates, 1);
    check_arena(&result, 0, area, ARENA);
    free(result.candidates);
}

Test(scan, one_that_was_known_keeps_its_history)
{
    reserve(8 * ARENA);
    struct census_candidate known[] = {
        asking_candidate(area, ARENA),
        asking_candidate(area + 2 * ARENA, ARENA), /* gone */
        asking_candidate(area + 4 * ARENA, ARENA), /* another one by now */
    };
    struct census_request request = asking_request(known, countof(known));
    struct scan_result result = scan(lay_three, &request);
    check_eq(result.n_candidates, 3);
    check_eq(result.candidates[0].born_us, 7);
    check_true(result.candidates[0].was_low);
    check_false(result.candidates[1].was_low);
    check_false(result.candidates[2].was_low);
    free(result.candidates);
}

/* ---- what is no arena -------------------------------------------------- */

static void
lay_forged(void *context)
{
    lay_small(context);
    for (uint32_t i = 0; i < 60; i++) /* their lists are true, even */
        lay_pool(area + ARENA + (size_t)i * SMALL_POOL, &small, 1);
}

Test(scan, pools_without_an_entry_are_no_arena_beside_one_that_has_it)
{
    reserve(4 * ARENA);
    struct scan_result result = scan_as(9, lay_forged);
    check_eq(result.n_candidates, 1);
    check_arena(&result, 0, area, SMALL_ARENA);
    check_eq(result.n_inferred, 0);
    free(result.candidates);
}

static void
lay_bare_headers(void *context)
{
    (void)context;
    for (uint32_t i = 0; i < ARENA / POOL; i++)
        lay_pool(area + (size_t)i * POOL, &full, 0);
    /* A copy of a pool: its list leads elsewhere. */
    lay_pool(area + ARENA, &used, 1);
    memcpy(area + ARENA + POOL, area + ARENA, POOL);
    memset(area + ARENA, 0, POOL);
    /* A list that is longer than the count says. */
    lay_pool(area + ARENA + 2 * POOL, &used, 1);
    area[ARENA + 2 * POOL]++;
}

Test(scan, headers_without_a_true_list_are_nothing)
{
    reserve(4 * ARENA);
    struct scan_result result = scan_as(11, lay_bare_headers);
    check_eq(result.n_candidates, 0);
    check_eq(result.n_inferred, 0);
    free(result.candidates);
}

static void
lay_lies(void *context)
{
    (void)context;
    const uint64_t n = ARENA / POOL;
    lay_pool(area, &full, 0);
    lay_pool(area + ARENA - POOL, &full, 0);
    lay_entry(table, area, area + ARENA, n - 1); /* as if it were askew */
    lay_entry(table + 64, area + POOL, area + ARENA, n);
    lay_entry(table + 128, area, area + 2 * ARENA, n);
    lay_entry(table + 192, area, area + 8, n);
    lay_entry(table + 256, area + 8, area + ARENA, n - 1);
    lay_entry(table + 320, area, area + ARENA, 4 * n);
    interpreter_put(table + 384, 0, (uintptr_t)area);
    interpreter_put(table + 384, 8, (uintptr_t)area + ARENA);
    interpreter_put(table + 384, 16,
                    n << 32 | (n + 1)); /* more free than all */
}

Test(scan, an_entry_must_fit_the_pools_in_all_it_says)
{
    reserve(4 * ARENA);
    struct scan_result result = scan_as(11, lay_lies);
    check_eq(result.n_candidates, 0);
    free(result.candidates);
}

static void
lay_nothing(void *context)
{
    (void)context;
    memset(area, 0x77, ARENA);
}

Test(scan, other_memory_has_none)
{
    reserve(2 * ARENA);
    struct scan_result result = scan_as(11, lay_nothing);
    check_eq(result.n_candidates, 0);
    free(result.candidates);
}

/* ---- without a table --------------------------------------------------- */

static void
lay_untold(void *context)
{
    (void)context;
    lay_pool(area, &used, 0);
    lay_pool(area + ARENA - POOL, &full, 0); /* so it has all 64 */
    lay_pool(area + ARENA, &used, 1);
}

Test(scan, without_any_entry_a_true_list_is_enough)
{
    reserve(4 * ARENA);
    struct scan_result result = scan_as(11, lay_untold);
    check_eq(result.n_candidates, 2);
    check_eq(result.n_inferred, 2);
    check_arena(&result, 0, area, ARENA);
    check_arena(&result, 1, area + ARENA, ARENA);
    free(result.candidates);
}

/* ---- in a census ------------------------------------------------------- */

Test(scan, a_census_reads_what_was_found)
{
    reserve(8 * ARENA);
    struct target target = target_start(lay_three, NULL);
    struct census_request request = asking_request(NULL, 0);
    request.is_unprepared = true;
    struct census *census = asking_take(&target, &request);
    check_eq(census->n_arenas, 3);
    check_eq(census->n_inferred, 0);
    check_true(census->is_first_look);
    check_eq(census->classes[32 / 8 - 1].n_used, 200);
    check_eq(census->classes[64 / 8 - 1].n_used, 3 * 255);
    check_eq(census->arenas[1].n_pools, ARENA / POOL - 1);
    census_destroy(census);

    request.python_major = 0; /* of an interpreter that is not known */
    census = asking_take(&target, &request);
    check_eq(census->n_arenas, 0);
    census_destroy(census);
    target_end(&target);
}
