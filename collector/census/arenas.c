/*
 * Arenas are read in groups, so that headers of many go into one call to the
 * target while memory stays bounded on heaps of any size.
 */
#include "collector/census/arenas.h"

#include <string.h>

#include "collector/census/pages.h"
#include "collector/census/pool.h"
#include "include/attrs.h"
#include "include/xalloc.h"

enum {
    GROUP = 64, /* arenas */
    MOST_PAGES = CPYTHON_HUGE_ARENA / MEMORY_PAGE,
};

static_assert(CPYTHON_SMALL_ARENA / CPYTHON_SMALL_POOL <= CENSUS_MOST_POOLS,
              "an arena's pools fit");

/* One arena while its headers are being read. */
struct reading {
    const struct census_candidate *candidate;
    uint32_t pool_bytes;
    uint64_t first_pool;
    uint32_t n_pools;
    unsigned char states[MOST_PAGES];
    struct cpython_pool headers[CENSUS_MOST_POOLS];
    struct memory_span
        *spans[CENSUS_MOST_POOLS]; /* NULL: header not resident */
};

uint32_t
arenas_pool_bytes(uint64_t arena_bytes)
{
    return arena_bytes == CPYTHON_SMALL_ARENA ? CPYTHON_SMALL_POOL
                                              : CPYTHON_LARGE_POOL;
}

static bool
has_arena_size(uint64_t n_bytes)
{
    return n_bytes == CPYTHON_SMALL_ARENA || n_bytes == CPYTHON_LARGE_ARENA ||
           n_bytes == CPYTHON_HUGE_ARENA;
}

/* ---- pages of a pool --------------------------------------------------- */

/* Resident bytes of [from, to), offsets in the arena. */
static uint64_t
resident_within(const struct reading *reading, uint64_t from, uint64_t to)
{
    uint64_t n_bytes = 0;
    while (from < to) {
        const uint64_t page = from / MEMORY_PAGE;
        const uint64_t page_end = (page + 1) * MEMORY_PAGE;
        const uint64_t end = page_end < to ? page_end : to;
        if (reading->states[page] == PAGES_RESIDENT)
            n_bytes += end - from;
        from = end;
    }
    return n_bytes;
}

/* Whether every page of [from, to) is resident. */
static bool
is_all_resident(const struct reading *reading, uint64_t from, uint64_t to)
{
    return resident_within(reading, from, to) == to - from;
}

/* ---- judging ----------------------------------------------------------- */

/*
 * A pool in use. Its live blocks lie below the last carved one, on pages that
 * were written when they were carved; if one of those is in swap, nobody can
 * say which blocks are on the others.
 */
static void
deal_used_pool(const struct reading *reading, const struct pool *pool,
               uint64_t at, struct census *census, struct census_arena *arena)
{
    const uint64_t end = at + pool->pool_bytes;
    const uint64_t blocks_at = at + CPYTHON_POOL_HEADER_BYTES;
    const uint64_t carved_end =
        blocks_at + (uint64_t)pool->n_carved * pool->size;
    const uint64_t blocks_end =
        blocks_at + (uint64_t)pool->n_blocks * pool->size;
    const uint64_t used_bytes = (uint64_t)pool->n_used * pool->size;
    const uint64_t resident = resident_within(reading, at, end);

    arena->used_bytes += used_bytes;
    if (!is_all_resident(reading, at, carved_end)) {
        census->ledger[CAUSE_unexplained] += resident;
        return;
    }
    const uint64_t in_blocks = resident_within(reading, blocks_at, blocks_end);
    arena->live_bytes += used_bytes;
    arena->hole_bytes += in_blocks - used_bytes;
    census->ledger[CAUSE_python_live] += used_bytes;
    census->ledger[CAUSE_python_holes] += in_blocks - used_bytes;
    census->ledger[CAUSE_python_overhead] += resident - in_blocks;
}

static void
deal_pool(const struct reading *reading, unsigned index, struct census *census,
          struct census_arena *arena)
{
    const uint64_t at = reading->first_pool - reading->candidate->start +
                        (uint64_t)index * reading->pool_bytes;
    const uint64_t resident =
        resident_within(reading, at, at + reading->pool_bytes);
    const struct memory_span *span = reading->spans[index];
    if (span == NULL || !span->is_read) {
        /* Never touched, or in swap: then what is resident has no proof. */
        const bool is_swapped =
            reading->states[at / MEMORY_PAGE] == PAGES_SWAPPED;
        census->ledger[is_swapped || span != NULL ? CAUSE_unexplained
                                                  : CAUSE_python_free_pools] +=
            resident;
        arena->n_free_pools += !is_swapped && span == NULL;
        census->n_torn += span != NULL;
        return;
    }
    const struct pool pool =
        pool_read(reading->candidate->start + at, reading->pool_bytes,
                  &reading->headers[index]);
    switch (pool.state) {
    case POOL_NONE:
    case POOL_EMPTY:
        arena->n_free_pools++;
        census->ledger[CAUSE_python_free_pools] += resident;
        break;
    case POOL_USED:
    case POOL_FULL: {
        struct census_class *class =
            &census->classes[pool.size / CPYTHON_OLD_ALIGNMENT - 1];
        class->n_pools++;
        class->n_used += pool.n_used;
        class->n_free += pool.n_blocks - pool.n_used;
        arena->n_used_blocks += pool.n_used;
        arena->is_used[index] = true;
        deal_used_pool(reading, &pool, at, census, arena);
        break;
    }
    case POOL_TORN:
        census->n_torn++;
        census->ledger[CAUSE_unexplained] += resident;
        break;
    }
}

/* Whether any of the headers is one: a mapping without a pool is no arena. */
static bool
has_pool(const struct reading *reading)
{
    for (unsigned i = 0; i < reading->n_pools; i++) {
        const struct memory_span *span = reading->spans[i];
        if (span == NULL || !span->is_read)
            continue;
        const uint64_t addr =
            reading->first_pool + (uint64_t)i * reading->pool_bytes;
        const struct pool pool =
            pool_read(addr, reading->pool_bytes, &reading->headers[i]);
        if (pool.state == POOL_USED || pool.state == POOL_FULL ||
            pool.state == POOL_EMPTY)
            return true;
    }
    return false;
}

static void
count_swapped(const struct reading *reading, struct census *census)
{
    const size_t n_pages = reading->candidate->n_bytes / MEMORY_PAGE;
    for (size_t i = 0; i < n_pages; i++) {
        if (reading->states[i] == PAGES_SWAPPED)
            census->in_swap_bytes += MEMORY_PAGE;
    }
}

/* A pinned arena was low for long; at the end it is enough that it is. */
static bool
is_pinned(const struct census_candidate *candidate, const struct census *census)
{
    return candidate->has_been_full &&
           (census->kind == CENSUS_end || candidate->was_low);
}

static void
judge_arena(const struct reading *reading, struct census *census,
            struct claims *layer)
{
    if (!has_pool(reading))
        return;
    const struct census_candidate *candidate = reading->candidate;
    struct census_arena *arena = &census->arenas[census->n_arenas++];
    *arena = (struct census_arena){
        .address = candidate->start,
        .n_bytes = candidate->n_bytes,
        .born_us = candidate->born_us,
        .pool_bytes = reading->pool_bytes,
        .n_pools = reading->n_pools,
        .resident_bytes = resident_within(reading, 0, candidate->n_bytes),
    };
    for (unsigned i = 0; i < reading->n_pools; i++)
        deal_pool(reading, i, census, arena);

    /* What lies before the first pool and behind the last. */
    const uint64_t first = reading->first_pool - candidate->start;
    const uint64_t last =
        first + (uint64_t)reading->n_pools * reading->pool_bytes;
    census->ledger[CAUSE_python_overhead] +=
        resident_within(reading, 0, first) +
        resident_within(reading, last, candidate->n_bytes);

    count_swapped(reading, census);
    const uint64_t room = (uint64_t)reading->n_pools * reading->pool_bytes;
    arena->is_low = arena->n_used_blocks != 0 && arena->used_bytes * 4 < room;
    arena->is_pinned = arena->is_low && is_pinned(candidate, census);
    claims_add(layer, candidate->start, candidate->start + candidate->n_bytes,
               CLAIM_ARENA);
}

/* ---- reading ----------------------------------------------------------- */

static void
prepare(struct reading *reading, const struct census_candidate *candidate,
        const struct memory_runs *runs, struct memory_span *spans,
        size_t *n_spans)
{
    const uint64_t pool_bytes = arenas_pool_bytes(candidate->n_bytes);
    const uint64_t first =
        (candidate->start + pool_bytes - 1) / pool_bytes * pool_bytes;
    reading->candidate = candidate;
    reading->pool_bytes = (uint32_t)pool_bytes;
    reading->first_pool = first;
    reading->n_pools =
        (uint32_t)((candidate->start + candidate->n_bytes - first) /
                   pool_bytes);
    pages_states(runs, candidate->start, candidate->n_bytes / MEMORY_PAGE,
                 reading->states);
    for (uint32_t i = 0; i < reading->n_pools; i++) {
        const uint64_t addr = first + (uint64_t)i * pool_bytes;
        const uint64_t page = (addr - candidate->start) / MEMORY_PAGE;
        reading->spans[i] = NULL;
        if (reading->states[page] != PAGES_RESIDENT)
            continue;
        spans[*n_spans] = (struct memory_span){
            .addr = addr,
            .where = &reading->headers[i],
            .n_bytes = sizeof(reading->headers[i]),
        };
        reading->spans[i] = &spans[(*n_spans)++];
    }
}

/* struct _stack_chunk says its own size, which is the mapping's. */
static bool
is_stack_chunk(struct memory *memory, const struct census_candidate *candidate,
               const struct memory_runs *runs)
{
    struct cpython_stack_chunk chunk;
    return candidate->n_bytes >= CPYTHON_STACK_CHUNK_BYTES &&
           pages_is_resident(runs, candidate->start) &&
           memory_read(memory, candidate->start, &chunk, sizeof(chunk)) &&
           chunk.size == candidate->n_bytes &&
           chunk.top <= chunk.size / sizeof(uint64_t);
}

void
arenas_read(struct memory *memory, const struct census_request *request,
            const struct memory_runs *runs, const struct claims *claims,
            const struct census_patience *patience, struct census *census,
            struct claims *layer)
{
    uint64_t floor = 0;
    struct reading *readings = xcalloc(GROUP, sizeof(*readings));
    struct memory_span *spans =
        xcalloc((size_t)GROUP * CENSUS_MOST_POOLS, sizeof(*spans));
    census->arenas = xcalloc(request->n_candidates, sizeof(*census->arenas));

    size_t at = 0;
    while (at < request->n_candidates &&
           patience->may_go_on(patience->context)) {
        size_t n_readings = 0;
        size_t n_spans = 0;
        for (; at < request->n_candidates && n_readings < GROUP; at++) {
            const struct census_candidate *candidate = &request->candidates[at];
            const uint64_t end = candidate->start + candidate->n_bytes;
            if (candidate->start < floor ||
                !claims_are(claims, candidate->start, end, CAUSE_unexplained))
                continue;
            floor = end;
            if (has_arena_size(candidate->n_bytes))
                prepare(&readings[n_readings++], candidate, runs, spans,
                        &n_spans);
            else if (is_stack_chunk(memory, candidate, runs))
                claims_add(layer, candidate->start, end, CAUSE_python_overhead);
        }
        memory_read_spans(memory, spans, n_spans);
        for (size_t i = 0; i < n_readings; i++)
            judge_arena(&readings[i], census, layer);
    }
    if (!patience->may_go_on(patience->context))
        census->is_whole = false;
    free(spans);
    free(readings);
}
