#include "collector/census/census.h"

#include <string.h>
#include <time.h>

#include "collector/census/arenas.h"
#include "collector/census/claims.h"
#include "collector/census/images.h"
#include "collector/census/maps.h"
#include "collector/census/pages.h"
#include "collector/census/types.h"
#include "include/attrs.h"
#include "include/xalloc.h"

/* What this version cannot prove: null, and its pages are unexplained. */
static const enum recording_cause not_implemented[] = {
    CAUSE_python_never_returned, CAUSE_python_large, CAUSE_native_live,
    CAUSE_native_overhead,       CAUSE_native_free,  CAUSE_mapped_anon,
};

static uint64_t
clock_us(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

/* ---- who claims what --------------------------------------------------- */

static bool
starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* The cause of a mapping's pages as far as /proc/PID/maps tells it. */
static int
cause_of_map(const struct map *map, const struct census_request *request)
{
    if (starts_with(map->name, "[stack"))
        return CAUSE_stacks;
    if (starts_with(map->name, "/memfd:residue") &&
        map->inode == request->shared_inode)
        return CAUSE_profiler;
    if (map_is_anonymous(map))
        return CAUSE_unexplained;
    if (map->is_shared && (starts_with(map->name, "/memfd:") ||
                           starts_with(map->name, "/dev/zero") ||
                           starts_with(map->name, "/dev/shm/") ||
                           starts_with(map->name, "/SYSV")))
        return CAUSE_shmem;
    if (map->inode == 0 && !starts_with(map->name, "[v"))
        return CAUSE_unexplained; /* neither a file nor the kernel's own */
    return map->is_shared ? CAUSE_file : CLAIM_IMAGE;
}

static struct claims
claim_maps(const struct maps *maps, const struct census_request *request)
{
    struct claims claims = {0};
    for (size_t i = 0; i < maps->n_maps; i++) {
        const struct map *map = &maps->maps[i];
        claims_add(&claims, map->start, map->end, cause_of_map(map, request));
    }
    return claims;
}

/* Where the stack begins that ends with this control block. */
static uint64_t
stack_start(const struct census_request *request, const struct map *map,
            uint64_t control_block)
{
    for (size_t i = 0; i < request->n_stacks; i++) {
        const struct census_range *stack = &request->stacks[i];
        if (control_block - stack->start < stack->n_bytes &&
            stack->start > map->start)
            return stack->start & ~(uint64_t)(MEMORY_PAGE - 1);
    }
    return map->start;
}

/*
 * A thread's control block lies on the last page of its stack, whose mapping
 * begins above a guard, save where the program supplied a part of another. It
 * is proved by what it says of itself: its first and third word are its own
 * address (sysdeps/x86_64/nptl/tls.h, tcbhead_t).
 */
static void
claim_stacks(struct memory *memory, const struct maps *maps,
             const struct memory_runs *runs,
             const struct census_request *request, struct claims *layer)
{
    for (size_t i = 0; i < request->n_control_blocks; i++) {
        const uint64_t at = request->control_blocks[i];
        uint64_t words[3];
        const struct map *map = maps_at(maps, at);
        if (map == NULL || !map_is_anonymous(map) ||
            !pages_is_resident(runs, at) ||
            !memory_read(memory, at, words, sizeof(words)) || words[0] != at ||
            words[2] != at)
            continue;
        const uint64_t end = (at | (MEMORY_PAGE - 1)) + 1;
        claims_add(layer, stack_start(request, map, at),
                   end < map->end ? end : map->end, CAUSE_stacks);
    }
    claims_sort(layer);
}

static void
claim_own(const struct census_request *request, struct claims *layer)
{
    for (size_t i = 0; i < countof(request->own); i++) {
        const struct census_range *own = &request->own[i];
        claims_add(layer, own->start & ~(uint64_t)(MEMORY_PAGE - 1),
                   (own->start + own->n_bytes + MEMORY_PAGE - 1) &
                       ~(uint64_t)(MEMORY_PAGE - 1),
                   CAUSE_profiler);
    }
    claims_sort(layer);
}

/* ---- the census -------------------------------------------------------- */

/* Python's arenas, then everything else in DESIGN 7's order, lowest first. */
static void
read_ledger(struct memory *memory, const struct census_request *request,
            const struct maps *maps, const struct memory_runs *runs,
            const struct census_patience *patience, struct census *census)
{
    struct claims claims = claim_maps(maps, request);
    struct claims arenas = {0};
    struct claims bss = {0};
    struct claims stacks = {0};
    struct claims own = {0};

    if (request->python_major != 0)
        arenas_read(memory, request, runs, &claims, patience, census, &arenas);
    claims_sort(&arenas);
    images_claim_bss(memory, maps, runs, &bss);
    claims_sort(&bss);
    claim_stacks(memory, maps, runs, request, &stacks);
    claim_own(request, &own);

    claims_cover(&claims, &arenas, CAUSE_unexplained);
    claims_cover(&claims, &bss, CAUSE_unexplained);
    claims_cover(&claims, &stacks, CAUSE_unexplained);
    claims_cover(&claims, &own, -1);
    claims_deal(&claims, runs, census->ledger);

    claims_finish(&own);
    claims_finish(&stacks);
    claims_finish(&bss);
    claims_finish(&arenas);
    claims_finish(&claims);
}

static void
read_pages(const struct memory_runs *runs, struct census *census)
{
    census->rss_bytes = pages_resident(runs);
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
 * died under our hands: what was read of it then was nothing, not zeroes.
 */
static void
measure_skew(struct memory *memory, struct census *census)
{
    struct memory_runs after = {0};
    const bool is_scanned = memory_scan(memory, 0, MEMORY_END, &after);
    const uint64_t rss_after = pages_resident(&after);
    census->skew_bytes = (int64_t)rss_after - (int64_t)census->rss_bytes;
    census->is_read = is_scanned && rss_after != 0;
    memory_runs_finish(&after);
}

static void
take(struct memory *memory, const struct census_request *request,
     const struct census_patience *patience, struct census *census)
{
    const uint64_t cpu_us = clock_us(CLOCK_THREAD_CPUTIME_ID);
    struct memory_runs runs = {0};
    struct maps maps = maps_parse(memory_maps_text(memory));
    if (maps.n_maps != 0 && memory_scan(memory, 0, MEMORY_END, &runs) &&
        runs.n_runs != 0) {
        read_pages(&runs, census);
        read_ledger(memory, request, &maps, &runs, patience, census);
        census->ledger_cpu_us = clock_us(CLOCK_THREAD_CPUTIME_ID) - cpu_us;
        if (request->wants_types && census->n_arenas != 0 && census->is_whole)
            types_read(memory, request, &maps, &runs, patience, census);
        measure_skew(memory, census);
    }
    memory_runs_finish(&runs);
    maps_finish(&maps);
}

struct census *
census_take(struct memory *memory, const struct census_request *request,
            const struct census_patience *patience)
{
    struct census *census = xcalloc(1, sizeof(*census));
    census->kind = request->kind;
    census->is_whole = true;
    for (size_t i = 0; i < countof(not_implemented); i++)
        census->is_unknown[not_implemented[i]] = true;

    const uint64_t started_us = clock_us(CLOCK_MONOTONIC);
    const uint64_t cpu_us = clock_us(CLOCK_THREAD_CPUTIME_ID);
    const uint64_t read_bytes = memory_bytes_read(memory);
    take(memory, request, patience, census);
    census->started_us = started_us;
    census->took_us = clock_us(CLOCK_MONOTONIC) - started_us;
    census->cpu_us = clock_us(CLOCK_THREAD_CPUTIME_ID) - cpu_us;
    census->read_bytes = memory_bytes_read(memory) - read_bytes;
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
    free(census->arenas);
    free(census);
}

void
census_request_finish(struct census_request *request)
{
    free(request->candidates);
    free(request->control_blocks);
    free(request->stacks);
    *request = (struct census_request){0};
}
