/*
 * What a census makes of pages that are in swap: they are in no RSS, are never
 * read, and what only they could prove is unexplained. A page that is not there
 * stands for one in swap; were it read, it would be there.
 */
#include <stdlib.h>
#include <sys/mman.h>

#include "collector/census/census.h"
#include "include/attrs.h"
#include "include/glibc.h"
#include "include/xalloc.h"
#include "tests/unit/check.h"
#include "tests/unit/collector/asking.h"
#include "tests/unit/collector/interpreter.h"
#include "tests/unit/collector/target.h"

enum {
    PAGE = MEMORY_PAGE,
    POOL = CPYTHON_LARGE_POOL,
    ARENA = CPYTHON_LARGE_ARENA,
    HEAP_BYTES = 1024 * 1024,
    CHUNK = 1024,
};

TestSuite(census_pages, .timeout = 20);

static char *area;

/* Pages of the area: from, how many; ends with none. */
struct gap {
    size_t page;
    size_t n_pages;
};

static int
compare_runs(const void *left, const void *right)
{
    const struct memory_run *a = left;
    const struct memory_run *b = right;
    return (a->start > b->start) - (a->start < b->start);
}

/* A census that adds up, with these pages in swap. */
static struct census *
take_swapped(const struct target *target, const struct census_request *request,
             const struct gap *gaps)
{
    struct memory *memory = target_memory(target, target->pid);
    struct view *view = view_take(memory);
    struct memory_runs *runs = &view->runs;
    uint64_t swap_bytes = 0;
    for (; gaps->n_pages != 0; gaps++) {
        const uint64_t start = (uintptr_t)area + gaps->page * PAGE;
        XGROW(runs->runs, runs->capacity, runs->n_runs);
        runs->runs[runs->n_runs++] =
            (struct memory_run){.start = start,
                                .end = start + gaps->n_pages * PAGE,
                                .is_swapped = true};
        swap_bytes += gaps->n_pages * PAGE;
    }
    qsort(runs->runs, runs->n_runs, sizeof(runs->runs[0]), compare_runs);
    int questions = 1 << 20;
    const struct census_patience patience = {.may_go_on = asking_go_on,
                                             .context = &questions};
    struct census *census = census_take(memory, view, request, &patience);
    uint64_t sum = 0;
    for (unsigned cause = 0; cause < N_CAUSES; cause++)
        sum += census->ledger[cause];
    check_eq(sum, census->rss_bytes);
    check_eq(census->rss_bytes, target_says(target, "smaps_rollup", "\nRss:"));
    check_eq(census->skew_bytes, 0);
    check_eq(census->swap_bytes, swap_bytes);
    view_destroy(view);
    memory_destroy(memory);
    return census;
}

static void
check_untouched(const struct target *target, const struct gap *gaps)
{
    for (; gaps->n_pages != 0; gaps++)
        check_eq(target_resident(target, area + gaps->page * PAGE,
                                 gaps->n_pages * PAGE),
                 0);
}

/* The pages of a census' gaps go away once all is laid out. */
static void
push_out(const struct gap *gaps)
{
    for (; gaps->n_pages != 0; gaps++)
        madvise(area + gaps->page * PAGE, gaps->n_pages * PAGE, MADV_DONTNEED);
}

/* ---- arenas ------------------------------------------------------------ */

/* A pool's header, a page of live blocks, two with free ones, a whole pool. */
static const struct gap of_arena[] = {
    {4,  1},
    {10,  1},
    {14,2},
    {20, 4},
    {0 }
};

static void
lay_arena(void *context)
{
    (void)context;
    const struct interpreter_pool full = {POOL, 32, 510, 510, 0};
    const struct interpreter_pool holes = {POOL, 32, 510, 200, 0};
    for (unsigned i = 0; i < 6; i++)
        interpreter_lay_pool(area + (size_t)i * POOL, i == 3 ? &holes : &full);
    push_out(of_arena);
}

Test(census_pages, an_arena_in_swap_is_not_read)
{
    area = target_reserve(ARENA, ARENA);
    struct target target = target_start(lay_arena, NULL);
    struct census_candidate candidate = asking_candidate(area, ARENA);
    struct census_request request = asking_request(&candidate, 1);
    request.wants_types = true;
    struct census *census = take_swapped(&target, &request, of_arena);
    check_eq(census->n_arenas, 1);
    check_eq(census->in_swap_bytes, 8 * PAGE);
    check_eq(census->arenas[0].resident_bytes, 16 * PAGE);
    /* Of the first pool and the fifth all is there, of the others too little.
     */
    check_eq(census->ledger[CAUSE_python_live], 2 * 510 * 32);
    check_eq(census->ledger[CAUSE_python_overhead], 2 * (POOL - 510 * 32));
    check_eq(census->ledger[CAUSE_python_holes], 0);
    check_ge(census->ledger[CAUSE_unexplained], (3 + 3 + 2) * PAGE);
    check_untouched(&target, of_arena);
    census_destroy(census);
    target_end(&target);
}

static const struct gap of_headers[] = {
    {0,  4},
    {4,  1},
    {8,2},
    {0 }
};

static void
lay_headers(void *context)
{
    (void)context;
    const struct interpreter_pool full = {POOL, 32, 510, 510, 0};
    for (size_t i = 0; i < 3; i++)
        interpreter_lay_pool(area + i * POOL, &full);
    push_out(of_headers);
}

Test(census_pages, an_arena_whose_headers_are_in_swap_has_no_proof)
{
    area = target_reserve(ARENA, ARENA);
    struct target target = target_start(lay_headers, NULL);
    struct census_candidate candidate = asking_candidate(area, ARENA);
    const struct census_request request = asking_request(&candidate, 1);
    struct census *census = take_swapped(&target, &request, of_headers);
    check_eq(census->n_arenas, 0);
    check_eq(census->in_swap_bytes, 7 * PAGE);
    check_eq(census->ledger[CAUSE_python_live], 0);
    check_ge(census->ledger[CAUSE_unexplained], 5 * PAGE);
    check_untouched(&target, of_headers);
    census_destroy(census);
    target_end(&target);
}

/* ---- heaps ------------------------------------------------------------- */

static uint64_t
lay_chunk(char *at, uint64_t n_bytes)
{
    interpreter_put(at, 8, n_bytes | GLIBC_PREV_INUSE | GLIBC_NON_MAIN_ARENA);
    return n_bytes;
}

/* A thread's heap of chunks in use, and the top. */
static void
lay_heap(void *context)
{
    const struct gap *gaps = context;
    const uint64_t state = (uintptr_t)area + 48;
    memset(area, 0, HEAP_BYTES);
    interpreter_put(area, 0, state);
    interpreter_put(area, 16, HEAP_BYTES);
    interpreter_put(area, 24, HEAP_BYTES);
    uint64_t at = 48 + 2200 + 8;
    while (at + CHUNK < HEAP_BYTES - PAGE)
        at += lay_chunk(area + at, CHUNK);
    lay_chunk(area + at, HEAP_BYTES - at);
    push_out(gaps);
}

static struct census *
heap_with(struct gap *gaps)
{
    area = target_reserve(GLIBC_HEAP_RESERVE, GLIBC_HEAP_RESERVE);
    struct target target = target_start(lay_heap, gaps);
    const struct census_request request = asking_request(NULL, 0);
    struct census *census = take_swapped(&target, &request, gaps);
    check_untouched(&target, gaps);
    target_end(&target);
    return census;
}

static const struct census_heap *
thread_heap(const struct census *census)
{
    for (size_t i = 0; i < census->n_heaps; i++) {
        if (census->heaps[i].address == (uintptr_t)area)
            return &census->heaps[i];
    }
    return NULL;
}

Test(census_pages, a_heap_ends_where_a_header_is_in_swap)
{
    static struct gap none[] = {{0}};
    static struct gap middle[] = {
        {100, 2},
        {0  }
    };
    struct census *whole = heap_with(none);
    const struct census_heap *heap = thread_heap(whole);
    cr_assert_not_null(heap);
    check_false(heap->is_torn);
    const uint64_t unexplained = whole->ledger[CAUSE_unexplained];

    struct census *census = heap_with(middle);
    heap = thread_heap(census);
    cr_assert_not_null(heap);
    check_true(heap->is_torn);
    check_ge(heap->resident_bytes, 99 * PAGE);
    check_le(heap->resident_bytes, 100 * PAGE);
    check_ge(census->ledger[CAUSE_unexplained],
             unexplained + HEAP_BYTES - 103 * PAGE);
    census_destroy(whole);
    census_destroy(census);
}

Test(census_pages, a_heap_whose_first_page_is_in_swap_is_unexplained)
{
    static struct gap first[] = {
        {0, 1},
        {0}
    };
    struct census *census = heap_with(first);
    cr_assert_null(thread_heap(census));
    check_ge(census->ledger[CAUSE_unexplained], HEAP_BYTES - PAGE);
    census_destroy(census);
}

/* A chunk's own pages are not needed to go on from it to the next. */
static void
lay_long_chunk(void *context)
{
    const struct gap *gaps = context;
    const uint64_t first = 48 + 2200 + 8;
    memset(area, 0, HEAP_BYTES);
    interpreter_put(area, 0, (uintptr_t)area + 48);
    interpreter_put(area, 16, HEAP_BYTES);
    interpreter_put(area, 24, HEAP_BYTES);
    lay_chunk(area + first, 100 * PAGE);
    lay_chunk(area + first + 100 * PAGE, HEAP_BYTES - first - 100 * PAGE);
    push_out(gaps);
}

Test(census_pages, a_block_in_swap_does_not_end_its_heap)
{
    static struct gap inside[] = {
        {10, 50},
        {0 }
    };
    area = target_reserve(GLIBC_HEAP_RESERVE, GLIBC_HEAP_RESERVE);
    struct target target = target_start(lay_long_chunk, inside);
    const struct census_request request = asking_request(NULL, 0);
    struct census *census = take_swapped(&target, &request, inside);
    const struct census_heap *heap = thread_heap(census);
    cr_assert_not_null(heap);
    check_false(heap->is_torn);
    check_eq(heap->resident_bytes, HEAP_BYTES - 50 * PAGE);
    check_eq(heap->live_bytes, 100 * PAGE - 8);
    check_untouched(&target, inside);
    census_destroy(census);
    target_end(&target);
}
