/*
 * Arenas are read in groups, so that headers of many go into one call to the
 * target while memory stays bounded on heaps of any size.
 */
#include "collector/census/arenas.h"

#include <string.h>

#include "collector/census/deal.h"
#include "collector/census/pages.h"
#include "collector/census/pool.h"
#include "include/attrs.h"
#include "include/xalloc.h"

enum {
    GROUP = 64, /* arenas */
    LOOKS = 3,  /* more, at a header that is torn */
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

/* Whether no page of [from, to) is in swap. */
static bool
is_none_swapped(const struct reading *reading, uint64_t from, uint64_t to)
{
    for (uint64_t page = from / MEMORY_PAGE; page * MEMORY_PAGE < to; page++) {
        if (reading->states[page] == PAGES_SWAPPED)
            return false;
    }
    return true;
}

/* Where a piece of an arena lies, and why it is what it is. */
struct place {
    uint64_t from; /* offsets in the arena */
    uint64_t to;
    enum recording_proof proof;
    uint64_t address; /* of the pool or the arena */
};

/* Deals the resident bytes of a place to a cause, page by page. */
static void
deal_resident(const struct reading *reading, const struct place *place,
              enum recording_cause cause, struct census *census)
{
    uint64_t from = place->from;
    while (from < place->to) {
        const uint64_t page_end = (from / MEMORY_PAGE + 1) * MEMORY_PAGE;
        const uint64_t end = page_end < place->to ? page_end : place->to;
        if (reading->states[from / MEMORY_PAGE] == PAGES_RESIDENT)
            deal(census, &(struct census_proof){
                             .start = reading->candidate->start + from,
                             .end = reading->candidate->start + end,
                             .n_bytes = end - from,
                             .address = place->address,
                             .cause = cause,
                             .proof = place->proof,
                         });
        from = end;
    }
}

static void
deal_unproven(const struct reading *reading, uint64_t from, uint64_t to,
              struct census *census)
{
    const struct place place = {from, to, N_PROOFS, 0};
    deal_resident(reading, &place, CAUSE_unexplained, census);
}

/* Which of the carved blocks are live, only the list of free ones tells. */
static void
deal_carved(const struct reading *reading, const struct place *place,
            uint64_t used_bytes, uint32_t size, struct census *census)
{
    struct census_proof carved = {
        .start = reading->candidate->start + place->from,
        .end = reading->candidate->start + place->to,
        .n_bytes = used_bytes,
        .block_bytes = size,
        .address = place->address,
        .cause = CAUSE_python_live,
        .proof = PROOF_pool,
    };
    deal(census, &carved);
    carved.cause = CAUSE_python_holes;
    carved.n_bytes = place->to - place->from - used_bytes;
    deal(census, &carved);
}

/*
 * A pool in use. Its live blocks lie below the last carved one, on pages that
 * were written when they were carved, of which each had a link in its first
 * word; if one of those is in swap, nobody can say which blocks are on the
 * others.
 */
static void
deal_used_pool(const struct reading *reading, const struct pool *pool,
               uint64_t at, struct census *census, struct census_arena *arena)
{
    const uint64_t end = at + pool->pool_bytes;
    const uint64_t blocks_at = at + CPYTHON_POOL_HEADER_BYTES;
    const uint64_t carved_end =
        blocks_at + (uint64_t)pool->n_carved * pool->size;
    const uint64_t written_end = carved_end - pool->size + sizeof(uint64_t);
    const uint64_t blocks_end =
        blocks_at + (uint64_t)pool->n_blocks * pool->size;
    const uint64_t used_bytes = (uint64_t)pool->n_used * pool->size;
    const uint64_t address = reading->candidate->start + at;

    arena->used_bytes += used_bytes;
    if (!is_none_swapped(reading, at, carved_end) ||
        !is_all_resident(reading, at, written_end)) {
        deal_unproven(reading, at, end, census);
        return;
    }
    /* The last carved block may end on a page that nobody has touched yet. */
    const uint64_t in_carved = resident_within(reading, blocks_at, carved_end);
    const uint64_t live = used_bytes < in_carved ? used_bytes : in_carved;
    arena->live_bytes += live;
    arena->hole_bytes += resident_within(reading, blocks_at, blocks_end) - live;

    const struct place head = {at, blocks_at, PROOF_pool, address};
    const struct place carved = {blocks_at, blocks_at + in_carved, PROOF_pool,
                                 address};
    const struct place rest = {carved_end, blocks_end, PROOF_pool, address};
    const struct place tail = {blocks_end, end, PROOF_pool, address};
    deal_resident(reading, &head, CAUSE_python_overhead, census);
    deal_carved(reading, &carved, live, pool->size, census);
    deal_resident(reading, &rest, CAUSE_python_holes, census);
    deal_resident(reading, &tail, CAUSE_python_overhead, census);
}

/*
 * A pool without a readable header: never touched, or in swap, and then what
 * is resident of it has no proof.
 */
static void
deal_headless_pool(const struct reading *reading, unsigned index, uint64_t at,
                   struct census *census, struct census_arena *arena)
{
    const bool is_swapped = reading->states[at / MEMORY_PAGE] == PAGES_SWAPPED;
    const bool is_unread = reading->spans[index] != NULL;
    const struct place place = {at, at + reading->pool_bytes, PROOF_arena,
                                reading->candidate->start};
    if (is_swapped || is_unread)
        deal_unproven(reading, place.from, place.to, census);
    else
        deal_resident(reading, &place, CAUSE_python_free_pools, census);
    arena->n_free_pools += !is_swapped && !is_unread;
    census->n_torn += is_unread;
}

static void
count_pool(const struct pool *pool, struct census *census,
           struct census_arena *arena)
{
    struct census_class *class =
        &census->classes[pool->size / CPYTHON_OLD_ALIGNMENT - 1];
    class->n_pools++;
    class->n_used += pool->n_used;
    class->n_free += pool->n_blocks - pool->n_used;
    arena->n_used_blocks += pool->n_used;
}

static void
deal_pool(const struct reading *reading, unsigned index, struct census *census,
          struct census_arena *arena)
{
    const uint64_t at = reading->first_pool - reading->candidate->start +
                        (uint64_t)index * reading->pool_bytes;
    const struct memory_span *span = reading->spans[index];
    if (span == NULL || !span->is_read) {
        deal_headless_pool(reading, index, at, census, arena);
        return;
    }
    const uint64_t address = reading->candidate->start + at;
    const struct pool pool =
        pool_read(address, reading->pool_bytes, &reading->headers[index]);
    const struct place place = {at, at + reading->pool_bytes, PROOF_pool,
                                address};
    switch (pool.state) {
    case POOL_NONE:
    case POOL_EMPTY:
        arena->n_free_pools++;
        deal_resident(reading, &place, CAUSE_python_free_pools, census);
        break;
    case POOL_USED:
    case POOL_FULL:
        count_pool(&pool, census, arena);
        arena->is_used[index] = true;
        deal_used_pool(reading, &pool, at, census, arena);
        break;
    case POOL_TORN:
        census->n_torn++;
        deal_unproven(reading, place.from, place.to, census);
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

/* Also of one whose headers are all in swap, so that nothing proves it. */
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
    count_swapped(reading, census);
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
    const struct place before = {0, first, PROOF_arena, candidate->start};
    const struct place behind = {last, candidate->n_bytes, PROOF_arena,
                                 candidate->start};
    deal_resident(reading, &before, CAUSE_python_overhead, census);
    deal_resident(reading, &behind, CAUSE_python_overhead, census);

    const uint64_t room = (uint64_t)reading->n_pools * reading->pool_bytes;
    arena->is_low = arena->n_used_blocks != 0 && arena->used_bytes * 4 < room;
    arena->is_pinned = arena->is_low && is_pinned(candidate, census);
    claims_add(layer, (struct claim){
                          .start = candidate->start,
                          .end = candidate->start + candidate->n_bytes,
                          .cause = CLAIM_DEALT,
                      });
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

/*
 * A header that was being written is whole a moment later: without a second
 * look all blocks of its pool would be missing from the figures.
 */
static void
read_torn_again(struct memory *memory, struct reading *reading)
{
    for (uint32_t i = 0; i < reading->n_pools; i++) {
        struct memory_span *span = reading->spans[i];
        for (unsigned n = 0; span != NULL && span->is_read && n < LOOKS; n++) {
            const struct pool pool = pool_read(span->addr, reading->pool_bytes,
                                               &reading->headers[i]);
            if (pool.state != POOL_TORN)
                break;
            memory_read_spans(memory, span, 1);
        }
    }
}

/* struct _stack_chunk says its own size, which is the mapping's. */
uint64_t
arenas_stack_chunk_end(struct memory *memory, const struct memory_runs *runs,
                       uint64_t at, uint64_t limit)
{
    struct cpython_stack_chunk chunk;
    if (!pages_is_resident(runs, at) ||
        !memory_read(memory, at, &chunk, sizeof(chunk)) ||
        chunk.size < CPYTHON_STACK_CHUNK_BYTES ||
        chunk.size % CPYTHON_STACK_CHUNK_BYTES != 0 ||
        chunk.size > limit - at || chunk.top > chunk.size / sizeof(uint64_t) ||
        chunk.previous % MEMORY_PAGE != 0)
        return 0;
    return at + chunk.size;
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
            else if (arenas_stack_chunk_end(memory, runs, candidate->start,
                                            end) == end)
                claims_add(layer, (struct claim){
                                      .start = candidate->start,
                                      .end = end,
                                      .cause = CAUSE_python_overhead,
                                      .proof = PROOF_stack_chunk,
                                      .address = candidate->start,
                                  });
        }
        memory_read_spans(memory, spans, n_spans);
        for (size_t i = 0; i < n_readings; i++) {
            read_torn_again(memory, &readings[i]);
            judge_arena(&readings[i], census, layer);
        }
    }
    if (!patience->may_go_on(patience->context))
        census->is_whole = false;
    free(spans);
    free(readings);
}
