#include "collector/census/census.h"

#include <string.h>
#include <time.h>

#include "collector/census/arenas.h"
#include "collector/census/claims.h"
#include "collector/census/freelists.h"
#include "collector/census/generations.h"
#include "collector/census/heapdeal.h"
#include "collector/census/heaps.h"
#include "collector/census/hugetlb.h"
#include "collector/census/images.h"
#include "collector/census/maps.h"
#include "collector/census/mmapped.h"
#include "collector/census/objects.h"
#include "collector/census/pages.h"
#include "collector/census/ranges.h"
#include "collector/census/scan.h"
#include "collector/census/threads.h"
#include "collector/census/types.h"
#include "collector/census/typetable.h"
#include "include/attrs.h"
#include "include/clock.h"
#include "include/xalloc.h"

/*
 * What this version cannot prove: null, and its pages are unexplained. What the
 * interpreter never returned is known where all its free lists are (3.x; of 2.7
 * there are the blocks of ints and floats besides), else it is null as well,
 * and live.
 */
static const enum recording_cause not_implemented[] = {
    CAUSE_python_never_returned,
};

/* ---- the ledger -------------------------------------------------------- */

/* One census while it is taken. */
struct taking {
    struct memory *memory;
    const struct census_request *request;
    const struct census_patience *patience;
    struct census *census;
    const struct maps *maps; /* of the view */
    const struct memory_runs *runs;
    struct claims claims;    /* who claims what, the first match of DESIGN 7 */
    struct objects *objects; /* NULL: no interpreter */
    uint64_t types_cpu_us;
};

/*
 * An interpreter without arenas has its objects in malloc's chunks, or in some
 * other allocator's mappings (PYTHONMALLOC, a free-threaded build): nothing of
 * them is Python's by proof. One that was taken apart has none left.
 */
static void
judge_interpreter(struct taking *taking)
{
    static const enum recording_cause pythons[] = {
        CAUSE_python_live,     CAUSE_python_large,
        CAUSE_python_holes,    CAUSE_python_free_pools,
        CAUSE_python_overhead, CAUSE_python_never_returned,
    };
    const struct census_request *request = taking->request;
    struct census *census = taking->census;
    census->is_native = request->has_python && census->n_arenas == 0 &&
                        (request->python_major == 0 || !request->had_arenas);
    for (size_t i = 0; census->is_native && i < countof(pythons); i++)
        census->is_unknown[pythons[i]] = true;
}

static void
cover(struct taking *taking, struct claims layer, int over)
{
    claims_cover(&taking->claims, &layer, over);
    claims_finish(&layer);
}

/* Python's arenas before the stacks: a guardless stack may border on one. */
static void
read_ranges(struct taking *taking)
{
    struct memory *memory = taking->memory;
    const struct census_request *request = taking->request;
    struct claims arenas = {0};
    struct claims bss = {0};

    taking->claims = ranges_maps(taking->maps, request);
    cover(taking, ranges_own(request), -1);
    if (request->python_major != 0)
        arenas_read(memory, request, taking->runs, &taking->claims,
                    taking->patience, taking->census, &arenas);
    judge_interpreter(taking);
    if (taking->census->is_native)
        claims_finish(&arenas); /* a data stack is one of its mappings */
    claims_sort(&arenas);
    images_claim_bss(memory, taking->maps, taking->runs, &bss);
    cover(taking, arenas, CAUSE_unexplained);
    cover(taking, bss, CAUSE_unexplained);
    cover(taking, ranges_stacks(memory, taking->maps, taking->runs, request),
          CAUSE_unexplained);
}

static bool
may_go_on(const struct taking *taking)
{
    return taking->patience->may_go_on(taking->patience->context);
}

/* Dead objects that the interpreter keeps: before its types are counted. */
static void
read_free_lists(struct taking *taking)
{
    const struct census *census = taking->census;
    if (taking->objects != NULL && census->n_arenas != 0 && census->is_whole)
        freelists_read(taking->memory, taking->request, taking->maps,
                       taking->runs, objects_types(taking->objects),
                       taking->patience, taking->census);
}

static void
read_types(struct taking *taking, struct types *types, bool only_low)
{
    const uint64_t cpu_us = clock_us(CLOCK_THREAD_CPUTIME_ID);
    const struct types_limits limits = {
        .patience = taking->patience,
        .only_low = only_low,
        .budget_us = taking->request->types_budget_us,
    };
    if (types != NULL)
        types_read(types, &limits);
    taking->types_cpu_us += clock_us(CLOCK_THREAD_CPUTIME_ID) - cpu_us;
}

/* What a container keeps in malloc's heap is the interpreter's. */
static void
mark_tables(struct taking *taking, struct heaps *heaps, struct mmapped *mmapped)
{
    size_t n_tables = 0;
    const uint64_t *tables = taking->objects == NULL
                                 ? NULL
                                 : objects_tables(taking->objects, &n_tables);
    heaps_mark_python(heaps, tables, n_tables);
    mmapped_mark_python(mmapped, tables, n_tables);
}

/* And the blocks of which the target told that it asked for them. */
static void
mark_told(const struct census_request *request, struct heaps *heaps)
{
    uint64_t *blocks = xcalloc(request->n_blocks + 1, sizeof(*blocks));
    size_t n = 0;
    for (size_t i = 0; i < request->n_blocks; i++) {
        if (request->blocks[i].is_python && !request->blocks[i].is_gone)
            blocks[n++] = request->blocks[i].addr;
    }
    heaps_mark_python(heaps, blocks, n);
    free(blocks);
}

/* Once all containers are known, what is not theirs is not Python's. */
static void
judge_error(const struct taking *taking)
{
    struct census *census = taking->census;
    if (taking->objects == NULL || census->has_types || census->n_arenas == 0)
        census->python_large_error = 0;
}

/* 2.7's blocks of ints and floats are chunks that are dealt slot by slot. */
static void
deal_heaps(struct taking *taking, const struct heaps *heaps,
           const struct mmapped *mmapped, struct claims *layer)
{
    struct heapdeal_what what = {.heaps = heaps, .mmapped = mmapped};
    struct blocks27_block *blocks = NULL;
    if (heaps->n_blocks27 != 0) {
        const struct blocks27_types types = blocks27_find_types(
            taking->memory, taking->runs, objects_types(taking->objects),
            heaps->blocks27, heaps->n_blocks27);
        what.n_blocks27 = heaps->n_blocks27;
        blocks =
            blocks27_read(taking->memory, taking->runs, &types, heaps->blocks27,
                          &what.n_blocks27, taking->census);
        what.blocks27 = blocks;
    }
    heapdeal(&what, taking->runs, taking->census, layer);
    free(blocks);
}

/*
 * malloc's heaps as soon as may be after the view, for they change; but the
 * types of the emptiest arenas first where a target that ends waits for them.
 */
static void
read_heaps(struct taking *taking)
{
    struct census *census = taking->census;
    const struct census_request *request = taking->request;
    const struct heaps_target target = {
        .memory = taking->memory,
        .maps = taking->maps,
        .runs = taking->runs,
        .claims = &taking->claims,
        .request = request,
        .objects = taking->objects,
        .has_arenas = census->n_arenas != 0,
    };
    const bool wants_types =
        request->wants_types && census->n_arenas != 0 && census->is_whole;
    struct types *types =
        wants_types
            ? types_create(taking->memory, taking->runs, taking->objects,
                           census, clock_us(CLOCK_MONOTONIC))
            : NULL;
    struct heaps heaps;
    struct mmapped mmapped;
    struct claims layer = {0};
    if (request->kind == CENSUS_end)
        read_types(taking, types, true);
    heaps_read(&heaps, &target, taking->patience);
    mmapped_read(&mmapped, &target, &heaps);
    if (!may_go_on(taking)) {
        census->is_cut = request->kind == CENSUS_end;
        census->is_whole = census->is_whole && census->is_cut;
    }
    read_types(taking, types, false);
    types_finish(types);
    mark_tables(taking, &heaps, &mmapped);
    if (!census->is_native)
        mark_told(request, &heaps);
    deal_heaps(taking, &heaps, &mmapped, &layer);
    judge_error(taking);
    cover(taking, layer, CAUSE_unexplained);
    claims_cover(&taking->claims, &mmapped.stack_chunks, CAUSE_unexplained);
    mmapped_finish(&mmapped);
    heaps_finish(&heaps);
}

static void
read_ledger(struct taking *taking)
{
    const struct census_request *request = taking->request;
    struct claims loader = {0};
    read_ranges(taking);
    if (request->python_major != 0 && !taking->census->is_native)
        taking->objects = objects_create(taking->memory, request, taking->maps,
                                         taking->runs, taking->census);
    read_free_lists(taking);
    read_heaps(taking);
    freelists_deal(taking->census);
    if (taking->census->ledger[CAUSE_python_never_returned] != 0)
        taking->census->is_unknown[CAUSE_python_never_returned] = false;
    cover(taking, ranges_mapped(request), CAUSE_unexplained);
    images_claim_loader(taking->memory, taking->maps, taking->runs,
                        &taking->claims, &loader);
    cover(taking, loader, CAUSE_unexplained);
    claims_deal(&taking->claims, taking->runs, taking->census);
    ranges_sum_modules(request, taking->maps, &taking->claims, taking->runs,
                       taking->census);
    objects_destroy(taking->objects);
    claims_finish(&taking->claims);
}

/* ---- the census -------------------------------------------------------- */

static void
read_pages(const struct view *view, struct census *census)
{
    const struct memory_runs *runs = &view->runs;
    census->rss_bytes = pages_resident(runs);
    census->hugetlb_bytes = view->hugetlb_bytes;
    for (size_t i = 0; i < runs->n_runs; i++) {
        const struct memory_run *run = &runs->runs[i];
        if (run->is_swapped)
            census->swap_bytes += run->end - run->start;
        else if (run->is_huge && !run->is_file)
            census->anon_huge_bytes += run->end - run->start;
    }
}

/*
 * How much RSS moved while we read. A target that has nothing resident any more
 * or has left its memory died under our hands: what was read of it then was
 * nothing, not zeroes.
 */
static void
measure_skew(struct memory *memory, const struct hugetlb *hugetlb,
             struct census *census)
{
    struct memory_runs after = {0};
    const bool is_scanned = memory_scan_quickly(memory, 0, MEMORY_END, &after);
    hugetlb_leave_out(hugetlb, &after);
    const uint64_t rss_after = pages_resident(&after);
    census->skew_bytes = (int64_t)rss_after - (int64_t)census->rss_bytes;
    census->is_read = is_scanned && rss_after != 0 && memory_is_there(memory);
    memory_runs_finish(&after);
}

/*
 * What is asked of an unprepared target, with what it tells itself instead of a
 * stream; to be finished.
 */
static struct census_request
complete(struct memory *memory, const struct maps *maps,
         const struct memory_runs *runs, const struct census_request *request,
         struct census *census)
{
    struct scan_result arenas = {0};
    census->is_first_look = request->n_candidates == 0;
    if (request->python_major != 0)
        arenas = scan_arenas(memory, maps, runs, request);
    census->n_inferred = arenas.n_inferred;
    struct census_request found = {
        .kind = request->kind,
        .is_unprepared = true,
        .now_us = request->now_us,
        .python_major = request->python_major,
        .python_minor = request->python_minor,
        .has_python = request->has_python,
        .had_arenas = request->had_arenas,
        .python_runtime = request->python_runtime,
        .python_text = request->python_text,
        .candidates = arenas.candidates,
        .n_candidates = arenas.n_candidates,
        .wants_types = request->wants_types,
        .types_budget_us = request->types_budget_us,
        .wants_proofs = request->wants_proofs,
    };
    threads_find(memory, maps, runs, request, &found);
    return found;
}

static struct census *
begin(const struct census_request *request)
{
    struct census *census = xcalloc(1, sizeof(*census));
    census->kind = request->kind;
    census->is_whole = true;
    census->wants_proofs = request->wants_proofs;
    census->lists_objects = request->wants_objects;
    for (size_t i = 0; i < countof(not_implemented); i++)
        census->is_unknown[not_implemented[i]] = true;
    return census;
}

struct census *
census_take(struct memory *memory, const struct view *view,
            const struct census_request *request,
            const struct census_patience *patience)
{
    struct census *census = begin(request);
    const uint64_t cpu_us = clock_us(CLOCK_THREAD_CPUTIME_ID);
    const uint64_t read_bytes = memory_bytes_read(memory);
    struct census_request found = {0};
    if (request->is_unprepared && view->runs.n_runs != 0) {
        found = complete(memory, &view->maps, &view->runs, request, census);
        request = &found;
    }
    struct taking taking = {
        .memory = memory,
        .request = request,
        .patience = patience,
        .census = census,
        .maps = &view->maps,
        .runs = &view->runs,
    };
    if (view->runs.n_runs != 0) {
        read_pages(view, census);
        generations_read(memory, request, &view->runs, census);
        read_ledger(&taking);
        measure_skew(memory, &view->hugetlb, census);
    }
    census->started_us = view->seen_ns / 1000;
    census->took_us = clock_us(CLOCK_MONOTONIC) - census->started_us;
    census->cpu_us = view->cpu_us + clock_us(CLOCK_THREAD_CPUTIME_ID) - cpu_us;
    census->ledger_cpu_us = census->cpu_us - taking.types_cpu_us;
    census->read_bytes = memory_bytes_read(memory) - read_bytes;
    census_request_finish(&found);
    return census;
}

void
census_destroy(struct census *census)
{
    if (census == NULL)
        return;
    for (size_t i = 0; i < census->n_types; i++)
        free(census->types[i].name);
    free(census->types);
    for (size_t i = 0; i < census->n_modules; i++)
        free(census->modules[i].name);
    free(census->modules);
    free(census->heaps);
    free(census->proofs);
    free(census->objects);
    free(census->never_returned.free_lists);
    free(census->never_returned.residents);
    free(census->arenas);
    free(census);
}

struct census *
census_better(struct census *one, struct census *other)
{
    if (one == NULL || other == NULL)
        return one == NULL ? other : one;
    const bool is_one =
        one->is_read && one->is_whole &&
        (!other->is_read || !other->is_whole ||
         one->ledger[CAUSE_unexplained] <= other->ledger[CAUSE_unexplained]);
    census_destroy(is_one ? other : one);
    return is_one ? one : other;
}

void
census_request_finish(struct census_request *request)
{
    free(request->candidates);
    free(request->control_blocks);
    free(request->stacks);
    free(request->mappings);
    free(request->blocks);
    free(request->threads);
    *request = (struct census_request){0};
}
