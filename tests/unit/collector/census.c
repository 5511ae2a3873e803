/*
 * Whole censuses of a child that lays out memory as an interpreter does. Each
 * must add up to the kernel's own figure, whatever else it says.
 */
#include "collector/census/census.h"

#include <stdlib.h>
#include <sys/mman.h>

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
    HEADER = CPYTHON_POOL_HEADER_BYTES,
};

TestSuite(census, .timeout = 20);

/* ---- an arena of each size --------------------------------------------- */

static char *area;

struct plan {
    uint32_t arena_bytes;
    struct interpreter_pool pools[8];
    size_t n_pools;
};

static void
lay_plan(void *context)
{
    const struct plan *plan = context;
    for (size_t i = 0; i < plan->n_pools; i++) {
        if (plan->pools[i].size != 0)
            interpreter_lay_pool(area + i * plan->pools[i].pool_bytes,
                                 &plan->pools[i]);
    }
}

/* The bytes of a pool that lie on pages which its carving touched. */
static int64_t
touched_bytes(const struct interpreter_pool *pool)
{
    const int64_t end = HEADER + (int64_t)pool->n_carved * pool->size;
    return (end + PAGE - 1) / PAGE * PAGE;
}

static int64_t
hole_bytes(const struct interpreter_pool *pool)
{
    const int64_t n_blocks = (pool->pool_bytes - HEADER) / pool->size;
    const int64_t blocks_end = HEADER + n_blocks * pool->size;
    const int64_t touched = touched_bytes(pool);
    return (touched < blocks_end ? touched : blocks_end) - HEADER -
           (int64_t)pool->n_live * pool->size;
}

static void
check_plan(struct plan *plan)
{
    area = target_reserve(plan->arena_bytes, plan->arena_bytes);
    struct target target = target_start(lay_plan, plan);
    struct census_candidate candidate =
        asking_candidate(area, plan->arena_bytes);
    const struct census_request request = asking_request(&candidate, 1);
    int64_t difference[N_CAUSES];
    struct census *census = asking_difference(&target, &request, difference);

    int64_t live = 0;
    int64_t holes = 0;
    int64_t free_pools = 0;
    int64_t overhead = 0;
    uint32_t n_used = 0;
    for (size_t i = 0; i < plan->n_pools; i++) {
        const struct interpreter_pool *pool = &plan->pools[i];
        if (pool->size == 0)
            continue;
        if (pool->n_live == 0) {
            free_pools += touched_bytes(pool);
            continue;
        }
        n_used++;
        live += (int64_t)pool->n_live * pool->size;
        holes += hole_bytes(pool);
        overhead += touched_bytes(pool) - hole_bytes(pool) -
                    (int64_t)pool->n_live * pool->size;
    }
    check_eq(difference[CAUSE_python_live], live);
    check_eq(difference[CAUSE_python_holes], holes);
    check_eq(difference[CAUSE_python_free_pools], free_pools);
    check_eq(difference[CAUSE_python_overhead], overhead);
    check_eq(difference[CAUSE_unexplained],
             -(live + holes + free_pools + overhead));

    check_eq(census->n_torn, 0);
    check_eq(census->n_arenas, 1);
    const struct census_arena *arena = &census->arenas[0];
    check_eq(arena->address, (uintptr_t)area);
    check_eq(arena->born_us, 7);
    check_eq(arena->resident_bytes,
             target_resident(&target, area, plan->arena_bytes));
    check_eq(arena->live_bytes, live);
    check_eq(arena->used_bytes, live);
    check_eq(arena->hole_bytes, holes);
    check_eq(arena->n_free_pools, arena->n_pools - n_used);
    census_destroy(census);
    target_end(&target);
}

Test(census, an_arena_of_large_pools_is_dealt_out_to_the_byte)
{
    struct plan plan = {
        .arena_bytes = ARENA,
        .pools =
            {
                    {POOL, 32, 510, 510, 0}, /* all there are */
                {POOL, 32, 2, 1, 0},
                    {POOL, 512, 31, 31, 0},
                    {POOL, 512, 20, 1, 0},
                    {POOL, 48, 300, 0, 0}, /* all of it was freed */
                {0}, /* was never carved */
                {POOL, 16, 1021, 500, 0},
                    {POOL, 400, 3, 2, 0},
                    },
        .n_pools = 8,
    };
    check_plan(&plan);
}

Test(census, an_arena_of_small_pools_is_dealt_out_to_the_byte)
{
    struct plan plan = {
        .arena_bytes = SMALL_ARENA,
        .pools =
            {
                    {SMALL_POOL, 32, 126, 126, 0},
                    {SMALL_POOL, 32, 10, 3, 0},
                    {0},
                    {SMALL_POOL, 512, 7, 7, 0},
                    {SMALL_POOL, 512, 7, 1, 0},
                    {SMALL_POOL, 8, 506, 100, 8}, /* of old versions */
                {SMALL_POOL, 24, 100, 99, 8},
                    {SMALL_POOL, 64, 5, 0, 0},
                    },
        .n_pools = 8,
    };
    check_plan(&plan);
}

Test(census, an_arena_of_huge_pages_has_twice_the_pools)
{
    struct plan plan = {
        .arena_bytes = CPYTHON_HUGE_ARENA,
        .pools = {{POOL, 32, 510, 510, 0}, {POOL, 64, 9, 8, 0}},
        .n_pools = 2,
    };
    check_plan(&plan);
}

Test(census, classes_are_counted_as_the_interpreter_counts_them)
{
    struct plan plan = {
        .arena_bytes = ARENA,
        .pools =
            {
                    {POOL, 32, 510, 510, 0},
                    {POOL, 32, 100, 1, 0},
                    {POOL, 512, 31, 30, 0},
                    {POOL, 48, 5, 0, 0},
                    },
        .n_pools = 4,
    };
    area = target_reserve(ARENA, ARENA);
    struct target target = target_start(lay_plan, &plan);
    struct census_candidate candidate = asking_candidate(area, ARENA);
    const struct census_request request = asking_request(&candidate, 1);
    struct census *census = asking_take(&target, &request);
    for (unsigned i = 0; i < CPYTHON_N_CLASSES; i++) {
        const struct census_class *class = &census->classes[i];
        const unsigned size = (i + 1) * CPYTHON_OLD_ALIGNMENT;
        check_eq(class->n_pools, size == 32 ? 2 : size == 512);
        check_eq(class->n_used, size == 32 ? 511 : size == 512 ? 30 : 0);
        check_eq(class->n_free, size == 32 ? 509 : size == 512 ? 1 : 0);
    }
    census_destroy(census);
    target_end(&target);
}

/* ---- arenas that lie askew --------------------------------------------- */

static void
lay_askew(void *context)
{
    (void)context;
    memset(area + PAGE, 1, 100);         /* before the first pool */
    memset(area + ARENA - PAGE, 1, 100); /* behind the last */
    char *pool = area + POOL - PAGE;     /* where the first is */
    interpreter_lay_pool(pool, &(struct interpreter_pool){POOL, 32, 10, 5, 0});
}

Test(census, an_arena_that_is_not_aligned_has_one_pool_less)
{
    area = target_reserve(ARENA + PAGE, ARENA) + PAGE;
    struct target target = target_start(lay_askew, NULL);
    struct census_candidate candidate = asking_candidate(area, ARENA);
    const struct census_request request = asking_request(&candidate, 1);
    int64_t difference[N_CAUSES];
    struct census *census = asking_difference(&target, &request, difference);
    check_eq(census->n_arenas, 1);
    check_eq(census->arenas[0].n_pools, ARENA / POOL - 1);
    check_eq(census->arenas[0].n_used_blocks, 5);
    check_eq(difference[CAUSE_python_live], 5 * 32);
    check_eq(difference[CAUSE_python_overhead], 2 * PAGE + HEADER);
    census_destroy(census);
    target_end(&target);
}

/* The last carved block begins on a page's end; it was never more than that. */
static void
lay_begun(void *context)
{
    (void)context;
    const struct interpreter_pool plan = {POOL, 112, 110, 105, 0};
    interpreter_lay_pool(area, &plan);
    madvise(area + 3 * PAGE, PAGE, MADV_DONTNEED);
}

Test(census, a_block_that_is_carved_and_no_more_need_not_be_resident)
{
    area = target_reserve(ARENA, ARENA);
    struct target target = target_start(lay_begun, NULL);
    struct census_candidate candidate = asking_candidate(area, ARENA);
    const struct census_request request = asking_request(&candidate, 1);
    int64_t difference[N_CAUSES];
    struct census *census = asking_difference(&target, &request, difference);
    check_eq(difference[CAUSE_python_live], 105 * 112);
    check_eq(difference[CAUSE_python_holes], 3 * PAGE - HEADER - 105 * 112);
    check_eq(difference[CAUSE_python_overhead], HEADER);
    census_destroy(census);
    target_end(&target);
}

/* ---- what is torn, or no arena ----------------------------------------- */

static void
lay_torn(void *context)
{
    (void)context;
    const struct interpreter_pool plan = {POOL, 32, 510, 510, 0};
    interpreter_lay_pool(area, &plan);
    interpreter_lay_pool(area + POOL, &plan);
    area[POOL + 4] = 1; /* the count's padding */
}

Test(census, a_torn_pool_is_unexplained)
{
    area = target_reserve(ARENA, ARENA);
    struct target target = target_start(lay_torn, NULL);
    struct census_candidate candidate = asking_candidate(area, ARENA);
    const struct census_request request = asking_request(&candidate, 1);
    int64_t difference[N_CAUSES];
    struct census *census = asking_difference(&target, &request, difference);
    check_eq(census->n_torn, 1);
    check_eq(difference[CAUSE_unexplained], -POOL);
    check_eq(difference[CAUSE_python_live], 510 * 32);
    census_destroy(census);
    target_end(&target);
}

static void
lay_garbage(void *context)
{
    (void)context;
    memset(area, 0x77, ARENA);
}

Test(census, a_mapping_without_a_pool_is_no_arena)
{
    area = target_reserve(2 * ARENA, ARENA);
    struct target target = target_start(lay_garbage, NULL);
    struct census_candidate candidates[] = {
        asking_candidate(area, ARENA),         /* garbage */
        asking_candidate(area + ARENA, ARENA), /* untouched */
    };
    const struct census_request request = asking_request(candidates, 2);
    int64_t difference[N_CAUSES];
    struct census *census = asking_difference(&target, &request, difference);
    check_eq(census->n_arenas, 0);
    for (unsigned cause = 0; cause < N_CAUSES; cause++)
        check_eq(difference[cause], 0);
    census_destroy(census);
    target_end(&target);
}

static void
lay_two(void *context)
{
    (void)context;
    const struct interpreter_pool plan = {POOL, 32, 510, 510, 0};
    interpreter_lay_pool(area, &plan);
    interpreter_lay_pool(area + ARENA, &plan);
}

Test(census, candidates_that_lie_or_overlap_do_not_spoil_the_sum)
{
    area = target_reserve(4 * ARENA, ARENA);
    struct target target = target_start(lay_two, NULL);
    munmap(area, ARENA); /* here, not in the target */
    struct census_candidate candidates[] = {
        asking_candidate(NULL, ARENA),
        asking_candidate(area, ARENA),
        asking_candidate(area + ARENA / 2, ARENA),
        asking_candidate(area + ARENA, ARENA),
        asking_candidate(area + ARENA, ARENA),
        asking_candidate((char *)UINTPTR_MAX - ARENA + 1, ARENA),
        asking_candidate((char *)UINTPTR_MAX - PAGE + 1, ARENA),
    };
    const struct census_request request =
        asking_request(candidates, countof(candidates));
    struct census *census = asking_take(&target, &request);
    check_eq(census->n_arenas, 2);
    census_destroy(census);
    target_end(&target);
}

/* ---- pins -------------------------------------------------------------- */

static void
lay_low(void *context)
{
    (void)context;
    /* A quarter of an arena less one block, and a quarter. */
    for (unsigned i = 0; i < ARENA / POOL; i++) {
        const uint32_t n_live = ARENA / POOL == i + 1 ? 113 : 128;
        interpreter_lay_pool(
            area + (size_t)i * POOL,
            &(struct interpreter_pool){POOL, 32, 510, n_live, 0});
        interpreter_lay_pool(area + ARENA + (size_t)i * POOL,
                             &(struct interpreter_pool){POOL, 32, 510, 128, 0});
    }
}

Test(census, an_arena_under_a_quarter_that_was_full_is_pinned)
{
    area = target_reserve(2 * ARENA, ARENA);
    struct target target = target_start(lay_low, NULL);
    struct census_candidate candidates[] = {
        asking_candidate(area, ARENA),
        asking_candidate(area + ARENA, ARENA),
    };
    struct census_request request = asking_request(candidates, 2);
    struct census *census = asking_take(&target, &request);
    check_true(census->arenas[0].is_low && census->arenas[0].is_pinned);
    check_false(census->arenas[1].is_low || census->arenas[1].is_pinned);
    census_destroy(census);

    candidates[0].has_been_full = false; /* it may be filling up */
    census = asking_take(&target, &request);
    check_true(census->arenas[0].is_low);
    check_false(census->arenas[0].is_pinned);
    census_destroy(census);

    candidates[0].has_been_full = true;
    candidates[0].was_low = false; /* it has only just become so */
    census = asking_take(&target, &request);
    check_false(census->arenas[0].is_pinned);
    census_destroy(census);

    request.kind = CENSUS_end; /* where that is enough */
    census = asking_take(&target, &request);
    check_true(census->arenas[0].is_pinned);
    census_destroy(census);
    target_end(&target);
}

static void
lay_empty(void *context)
{
    (void)context;
    interpreter_lay_pool(area, &(struct interpreter_pool){POOL, 32, 9, 0, 0});
}

Test(census, an_empty_arena_is_held_by_nobody)
{
    area = target_reserve(ARENA, ARENA);
    struct target target = target_start(lay_empty, NULL);
    struct census_candidate candidate = asking_candidate(area, ARENA);
    const struct census_request request = asking_request(&candidate, 1);
    struct census *census = asking_take(&target, &request);
    check_eq(census->n_arenas, 1);
    check_eq(census->arenas[0].n_used_blocks, 0);
    check_false(census->arenas[0].is_low || census->arenas[0].is_pinned);
    check_eq(census->ledger[CAUSE_python_free_pools], PAGE);
    census_destroy(census);
    target_end(&target);
}

/* ---- data stacks ------------------------------------------------------- */

static void
lay_chunk(void *context)
{
    (void)context;
    interpreter_put(area, 8, POOL); /* its size is the mapping's */
    interpreter_put(area, 16, 100); /* its top is inside */
    interpreter_put(area + POOL, 8, POOL);
    interpreter_put(area + POOL, 16, POOL); /* outside */
}

Test(census, a_chunk_of_a_data_stack_is_overhead)
{
    area = target_reserve(2 * POOL, POOL);
    struct target target = target_start(lay_chunk, NULL);
    struct census_candidate candidates[] = {
        asking_candidate(area, POOL),
        asking_candidate(area + POOL, POOL),
    };
    const struct census_request request = asking_request(candidates, 2);
    int64_t difference[N_CAUSES];
    struct census *census = asking_difference(&target, &request, difference);
    check_eq(census->n_arenas, 0);
    check_eq(difference[CAUSE_python_overhead], PAGE);
    check_eq(difference[CAUSE_unexplained], -PAGE);
    census_destroy(census);
    target_end(&target);
}

/* ---- versions ---------------------------------------------------------- */

Test(census, without_a_known_interpreter_there_are_no_arenas)
{
    area = target_reserve(2 * ARENA, ARENA);
    struct target target = target_start(lay_two, NULL);
    struct census_candidate candidate = asking_candidate(area, ARENA);
    struct census_request request = asking_request(&candidate, 1);
    request.python_major = 0;
    struct census *census = asking_take(&target, &request);
    check_eq(census->n_arenas, 0);
    check_eq(census->ledger[CAUSE_python_live], 0);
    census_destroy(census);
    target_end(&target);
}

static void
check_native(const struct census *census, bool is_native)
{
    static const enum recording_cause pythons[] = {
        CAUSE_python_live,     CAUSE_python_large,
        CAUSE_python_holes,    CAUSE_python_free_pools,
        CAUSE_python_overhead, CAUSE_python_never_returned,
    };
    check_eq(census->is_native, is_native);
    for (size_t i = 0; is_native && i < countof(pythons); i++) {
        check_true(census->is_unknown[pythons[i]]);
        check_eq(census->ledger[pythons[i]], 0);
    }
    check_eq(census->is_unknown[CAUSE_python_live], is_native);
}

/* Its data stack is a mapping of its own, like any other's. */
Test(census, an_interpreter_that_has_no_arena_has_no_figure)
{
    area = target_reserve(2 * POOL, POOL);
    struct target target = target_start(lay_chunk, NULL);
    struct census_candidate candidate = asking_candidate(area, POOL);
    struct census_request request = asking_request(&candidate, 1);
    request.has_python = true;
    struct census *census = asking_take(&target, &request);
    check_native(census, true);
    census_destroy(census);

    /* It had some: it was taken apart, and nothing of it is left. */
    request.had_arenas = true;
    census = asking_take(&target, &request);
    check_native(census, false);
    check_eq(census->ledger[CAUSE_python_overhead], PAGE);
    census_destroy(census);

    request.python_major = 0;
    census = asking_take(&target, &request);
    check_native(census, true);
    census_destroy(census);
    target_end(&target);
}

Test(census, an_interpreter_with_arenas_has_figures)
{
    area = target_reserve(2 * ARENA, ARENA);
    struct target target = target_start(lay_two, NULL);
    struct census_candidate candidate = asking_candidate(area, ARENA);
    struct census_request request = asking_request(&candidate, 1);
    request.has_python = true;
    struct census *census = asking_take(&target, &request);
    check_native(census, false);
    check_true(census->ledger[CAUSE_python_live] != 0);
    census_destroy(census);
    target_end(&target);
}

Test(census, what_is_not_implemented_is_unknown_and_empty)
{
    area = target_reserve(2 * ARENA, ARENA);
    struct target target = target_start(lay_two, NULL);
    const struct census_request request = asking_request(NULL, 0);
    struct census *census = asking_take(&target, &request);
    for (unsigned cause = 0; cause < N_CAUSES; cause++) {
        if (census->is_unknown[cause])
            check_eq(census->ledger[cause], 0);
    }
    check_false(census->is_unknown[CAUSE_unexplained]);
    check_false(census->is_unknown[CAUSE_python_live]);
    census_destroy(census);
    target_end(&target);
}

/* ---- patience, death, and leaving no trace ----------------------------- */

Test(census, where_patience_ends_it_is_not_whole)
{
    area = target_reserve(2 * ARENA, ARENA);
    struct target target = target_start(lay_two, NULL);
    struct census_candidate candidates[] = {
        asking_candidate(area, ARENA),
        asking_candidate(area + ARENA, ARENA),
    };
    struct census_request request = asking_request(candidates, 2);
    request.wants_types = true;
    struct census *census = asking_with_patience(&target, &request, 0);
    check_true(census->is_read);
    check_false(census->is_whole);
    check_false(census->has_types);
    census_destroy(census);

    /* At some question the ledger is done, and only types are missing. */
    unsigned n_without_types = 0;
    bool was_whole = false;
    for (int n_questions = 1; n_questions < 40; n_questions++) {
        census = asking_with_patience(&target, &request, n_questions);
        check_true(census->is_whole || !was_whole);
        n_without_types += census->is_whole && !census->has_types;
        was_whole = census->is_whole;
        census_destroy(census);
    }
    check_true(was_whole);
    check_true(n_without_types != 0);
    target_end(&target);
}

Test(census, the_dead_cannot_be_read)
{
    area = target_reserve(2 * ARENA, ARENA);
    struct target target = target_start(lay_two, NULL);
    struct memory *memory = target_memory(&target, target.pid);
    struct census_candidate candidate = asking_candidate(area, ARENA);
    const struct census_request request = asking_request(&candidate, 1);
    int questions = 100;
    const struct census_patience patience = {.may_go_on = asking_go_on,
                                             .context = &questions};
    target_end(&target);
    struct census *census = asking_all(memory, &request, &patience);
    check_false(census->is_read);
    check_eq(census->rss_bytes, 0);
    check_eq(census->n_arenas, 0);
    census_destroy(census);
    memory_destroy(memory);
}

Test(census, it_says_what_it_cost)
{
    area = target_reserve(2 * ARENA, ARENA);
    struct target target = target_start(lay_two, NULL);
    struct census_candidate candidate = asking_candidate(area, ARENA);
    const struct census_request request = asking_request(&candidate, 1);
    struct census *census = asking_take(&target, &request);
    /* Four pages of one pool are resident: one header is read. */
    check_ge(census->read_bytes, HEADER);
    check_le(census->cpu_us, census->took_us + 10000);
    check_true(census->started_us != 0);
    census_destroy(census);
    target_end(&target);
}

Test(census, headers_alone_make_no_page_resident)
{
    area = target_reserve(64 * ARENA, ARENA);
    struct target target = target_start(lay_two, NULL);
    struct census_candidate candidates[64];
    for (unsigned i = 0; i < countof(candidates); i++)
        candidates[i] = asking_candidate(area + (size_t)i * ARENA, ARENA);
    const struct census_request request =
        asking_request(candidates, countof(candidates));
    const int64_t tables = target_says(&target, "status", "VmPTE:");
    const uint64_t resident = target_resident(&target, area, 64 * ARENA);
    census_destroy(asking_take(&target, &request));
    census_destroy(asking_take(&target, &request));
    check_eq(target_resident(&target, area, 64 * ARENA), resident);
    check_eq(target_says(&target, "status", "VmPTE:"), tables);
    target_end(&target);
}
