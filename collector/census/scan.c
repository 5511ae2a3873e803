/*
 * Two passes. The first reads 48 bytes of every place where a pool may begin
 * and gathers what is a header into groups. The second reads what lies outside
 * of the groups until each has its entry, [heap] first: the table is a block of
 * malloc's.
 *
 * An entry of the table (struct arena_object, the same from 2.7 to 3.15):
 *    0  address of the arena, page-aligned
 *    8  the next pool to carve, ascending
 *   16  free pools, 20 all pools (32 bits each)
 */
#include "collector/census/scan.h"

#include <string.h>

#include "collector/census/pages.h"
#include "collector/census/pool.h"
#include "include/attrs.h"
#include "include/xalloc.h"

enum {
    HEADERS = 512, /* of one call to the target */
    CHUNK = 256 * 1024,
    ENTRY_WORDS = 3,
    OVERLAP = (ENTRY_WORDS - 1) * 8, /* an entry may lie across two chunks */
};

/* Pools that may be one arena. */
struct group {
    uint64_t first; /* its lowest pool that was seen */
    uint64_t last;
    uint64_t listed; /* one with a list of free blocks; 0: none */
    uint64_t base;   /* of the arena; 0: without proof so far */
    uint64_t n_bytes;
    uint32_t pool_bytes;
    uint32_t index;
};

struct scan {
    struct memory *memory;
    const struct memory_runs *runs;
    struct group *groups; /* ascending */
    size_t n_groups;
    size_t capacity;
    size_t n_proven;
    uint64_t map_end; /* of the mapping whose headers are read */
    struct memory_span spans[HEADERS];
    struct cpython_pool headers[HEADERS];
    size_t n_spans;
    uint64_t words[CHUNK / 8];
};

struct range {
    uint64_t start;
    uint64_t end;
};

static uint64_t
align_up(uint64_t addr, uint64_t alignment)
{
    return (addr + alignment - 1) / alignment * alignment;
}

static bool
may_have_arenas(const struct map *map)
{
    return map->is_readable && map->is_writable && map_is_anonymous(map);
}

/* The first resident range in [from, to). */
static bool
next_resident(const struct memory_runs *runs, uint64_t from, uint64_t to,
              struct range *found)
{
    size_t i = pages_first(runs, from);
    while (i < runs->n_runs && runs->runs[i].is_swapped)
        i++;
    if (from >= to || i == runs->n_runs || runs->runs[i].start >= to)
        return false;
    found->start = runs->runs[i].start > from ? runs->runs[i].start : from;
    do {
        found->end = runs->runs[i++].end;
    } while (i < runs->n_runs && runs->runs[i].start == found->end &&
             !runs->runs[i].is_swapped && found->end < to);
    if (found->end > to)
        found->end = to;
    return true;
}

/* ---- headers ----------------------------------------------------------- */

static uint64_t
arena_bytes(uint32_t pool_bytes)
{
    return pool_bytes == CPYTHON_SMALL_POOL ? CPYTHON_SMALL_ARENA
                                            : CPYTHON_LARGE_ARENA;
}

static void
add_pool(struct scan *scan, uint64_t addr, const struct pool *pool,
         uint32_t index)
{
    struct group *group =
        scan->n_groups == 0 ? NULL : &scan->groups[scan->n_groups - 1];
    if (group == NULL || group->index != index ||
        group->pool_bytes != pool->pool_bytes ||
        addr - group->first >= arena_bytes(pool->pool_bytes)) {
        XGROW(scan->groups, scan->capacity, scan->n_groups);
        group = &scan->groups[scan->n_groups++];
        *group = (struct group){
            .first = addr,
            .pool_bytes = pool->pool_bytes,
            .index = index,
        };
    }
    group->last = addr;
    if (pool->first_free != 0)
        group->listed = addr;
}

static void
judge_header(struct scan *scan, uint64_t addr,
             const struct cpython_pool *header)
{
    static const uint32_t sizes[] = {CPYTHON_LARGE_POOL, CPYTHON_SMALL_POOL};
    for (unsigned i = 0; i < countof(sizes); i++) {
        if (addr % sizes[i] != 0 || scan->map_end - addr < sizes[i])
            continue;
        const struct pool pool = pool_read(addr, sizes[i], header);
        if (pool.state == POOL_USED || pool.state == POOL_FULL ||
            pool.state == POOL_EMPTY) {
            add_pool(scan, addr, &pool, header->arenaindex);
            return;
        }
    }
}

static void
judge_headers(struct scan *scan)
{
    memory_read_spans(scan->memory, scan->spans, scan->n_spans);
    for (size_t i = 0; i < scan->n_spans; i++) {
        if (scan->spans[i].is_read)
            judge_header(scan, scan->spans[i].addr, &scan->headers[i]);
    }
    scan->n_spans = 0;
}

static void
read_headers(struct scan *scan, const struct map *map, uint64_t stride)
{
    struct range range = {.end = map->start};
    scan->map_end = map->end;
    while (next_resident(scan->runs, range.end, map->end, &range)) {
        for (uint64_t at = align_up(range.start, stride); at < range.end;
             at += stride) {
            scan->spans[scan->n_spans] = (struct memory_span){
                .addr = at,
                .where = &scan->headers[scan->n_spans],
                .n_bytes = sizeof(scan->headers[0]),
            };
            if (++scan->n_spans == HEADERS)
                judge_headers(scan);
        }
    }
    judge_headers(scan);
}

static void
read_all_headers(struct scan *scan, const struct maps *maps, uint64_t stride)
{
    for (size_t i = 0; i < maps->n_maps; i++) {
        if (may_have_arenas(&maps->maps[i]))
            read_headers(scan, &maps->maps[i], stride);
    }
}

/* ---- entries ----------------------------------------------------------- */

/* The index of the first group that begins at or behind an address. */
static size_t
first_group(const struct scan *scan, uint64_t addr)
{
    size_t low = 0;
    size_t high = scan->n_groups;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (scan->groups[middle].first < addr)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Whether the entry is that of an arena with the group's pools. */
static bool
describes(const uint64_t *entry, struct group *group)
{
    const uint64_t pool_bytes = group->pool_bytes;
    const uint64_t next_pool = entry[1];
    const uint64_t n_free = entry[2] & 0xffffffff;
    const uint64_t n_pools = entry[2] >> 32;
    const bool is_huge = pool_bytes == CPYTHON_LARGE_POOL &&
                         n_pools > CPYTHON_LARGE_ARENA / CPYTHON_LARGE_POOL;
    const uint64_t n_bytes =
        is_huge ? CPYTHON_HUGE_ARENA : arena_bytes(group->pool_bytes);
    const uint64_t first = align_up(entry[0], pool_bytes);
    const uint64_t end = first + n_pools * pool_bytes;
    if (n_pools != (entry[0] + n_bytes - first) / pool_bytes ||
        n_free > n_pools || next_pool < first || next_pool > end ||
        next_pool % pool_bytes != 0 || group->first < first ||
        group->last + pool_bytes > end)
        return false;
    group->base = entry[0];
    group->n_bytes = n_bytes;
    return true;
}

static void
match_entry(struct scan *scan, const uint64_t *entry)
{
    for (size_t i = first_group(scan, entry[0]);
         i < scan->n_groups &&
         scan->groups[i].first - entry[0] < CPYTHON_HUGE_ARENA;
         i++) {
        struct group *group = &scan->groups[i];
        if (group->base == 0 && describes(entry, group))
            scan->n_proven++;
    }
}

static void
match_words(struct scan *scan, size_t n_words)
{
    const uint64_t highest = scan->groups[scan->n_groups - 1].first;
    const uint64_t first = scan->groups[0].first;
    const uint64_t lowest =
        first < CPYTHON_HUGE_ARENA ? 0 : first - CPYTHON_HUGE_ARENA;
    for (size_t i = 0; i + ENTRY_WORDS <= n_words; i++) {
        const uint64_t base = scan->words[i];
        if (base - lowest <= highest - lowest && base % MEMORY_PAGE == 0)
            match_entry(scan, &scan->words[i]);
    }
}

/* What a busy target has unmapped meanwhile is zeroes. */
static void
read_words(struct scan *scan, uint64_t addr, uint64_t n_bytes)
{
    char *where = (char *)scan->words;
    if (memory_read(scan->memory, addr, where, n_bytes))
        return;
    for (uint64_t at = 0; at < n_bytes;) {
        const uint64_t left = n_bytes - at;
        const uint64_t in_page = MEMORY_PAGE - (addr + at) % MEMORY_PAGE;
        const uint64_t n = in_page < left ? in_page : left;
        if (!memory_read(scan->memory, addr + at, where + at, n))
            memset(where + at, 0, n);
        at += n;
    }
}

static void
search_range(struct scan *scan, uint64_t from, uint64_t to)
{
    while (to - from > OVERLAP && scan->n_proven < scan->n_groups) {
        const uint64_t n_bytes = to - from < CHUNK ? to - from : CHUNK;
        read_words(scan, from, n_bytes);
        match_words(scan, n_bytes / 8);
        from += n_bytes - OVERLAP;
    }
}

/* The range without the groups in it. */
static void
search_around_groups(struct scan *scan, struct range range)
{
    size_t i = first_group(scan, range.start);
    if (i != 0)
        i--; /* it may reach into the range */
    for (; i < scan->n_groups && scan->groups[i].first < range.end; i++) {
        const struct group *group = &scan->groups[i];
        const uint64_t end = group->last + group->pool_bytes;
        if (range.start < group->first)
            search_range(scan, range.start, group->first);
        if (range.start < end)
            range.start = end;
    }
    if (range.start < range.end)
        search_range(scan, range.start, range.end);
}

static void
search_map(struct scan *scan, const struct map *map)
{
    struct range range = {.end = map->start};
    while (scan->n_proven < scan->n_groups &&
           next_resident(scan->runs, range.end, map->end, &range))
        search_around_groups(scan, range);
}

static bool
is_heap(const struct map *map)
{
    return strcmp(map->name, "[heap]") == 0;
}

static void
search_entries(struct scan *scan, const struct maps *maps)
{
    if (scan->n_groups == 0)
        return;
    for (unsigned is_others_turn = 0; is_others_turn < 2; is_others_turn++) {
        for (size_t i = 0; i < maps->n_maps; i++) {
            const struct map *map = &maps->maps[i];
            if (may_have_arenas(map) && is_heap(map) == !is_others_turn)
                search_map(scan, map);
        }
    }
}

/* ---- without entries --------------------------------------------------- */

/* Whether one of its pools has as many blocks on its list as its count says. */
static bool
has_true_list(struct scan *scan, const struct group *group)
{
    bool is_free[POOL_MOST_BLOCKS];
    struct cpython_pool header;
    const uint64_t addr = group->listed;
    const char *content = (const char *)scan->words;
    struct range range;
    if (addr == 0 ||
        !next_resident(scan->runs, addr, addr + group->pool_bytes, &range) ||
        range.start != addr)
        return false;
    const uint64_t n_bytes = range.end - range.start;
    memset(scan->words, 0, group->pool_bytes);
    if (!memory_read(scan->memory, addr, scan->words, n_bytes))
        return false;
    memcpy(&header, content, sizeof(header));
    const struct pool pool = pool_read(addr, group->pool_bytes, &header);
    return (pool.state == POOL_USED || pool.state == POOL_EMPTY) &&
           CPYTHON_POOL_HEADER_BYTES + (uint64_t)pool.n_carved * pool.size <=
               n_bytes &&
           pool_walk(&pool, addr, content, is_free);
}

/*
 * Pools are carved from the lowest, so the first that was seen is the arena's
 * first; the arena begins there, or up to a pool's size less a page before it.
 */
static void
infer_extent(const struct maps *maps, struct group *group, uint64_t floor,
             uint64_t ceiling)
{
    const uint64_t n_bytes = arena_bytes(group->pool_bytes);
    const struct map *map = maps_at(maps, group->first);
    if (map == NULL)
        return;
    floor = floor > map->start ? floor : map->start;
    ceiling = ceiling < map->end ? ceiling : map->end;
    for (uint64_t before = 0; before < group->pool_bytes;
         before += MEMORY_PAGE) {
        const uint64_t base = group->first - before;
        const uint64_t end =
            (base + n_bytes) / group->pool_bytes * group->pool_bytes;
        if (base < floor || base + n_bytes > ceiling ||
            group->last + group->pool_bytes > end)
            continue;
        group->base = base;
        group->n_bytes = n_bytes;
        return;
    }
}

static size_t
infer_all(struct scan *scan, const struct maps *maps)
{
    size_t n_inferred = 0;
    uint64_t floor = 0;
    for (size_t i = 0; i < scan->n_groups; i++) {
        struct group *group = &scan->groups[i];
        const bool is_last = i + 1 == scan->n_groups;
        if (has_true_list(scan, group))
            infer_extent(maps, group, floor,
                         is_last ? UINT64_MAX : scan->groups[i + 1].first);
        floor = group->last + group->pool_bytes;
        if (group->base == 0)
            continue;
        floor = group->base + group->n_bytes;
        n_inferred++;
    }
    return n_inferred;
}

/* ---- all --------------------------------------------------------------- */

static const struct census_candidate *
known_at(const struct census_request *request, uint64_t start)
{
    size_t low = 0;
    size_t high = request->n_candidates;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (request->candidates[middle].start < start)
            low = middle + 1;
        else
            high = middle;
    }
    return low < request->n_candidates &&
                   request->candidates[low].start == start
               ? &request->candidates[low]
               : NULL;
}

static void
hand_over(const struct scan *scan, const struct census_request *request,
          struct scan_result *result)
{
    result->candidates = xcalloc(scan->n_groups, sizeof(*result->candidates));
    uint64_t floor = 0;
    for (size_t i = 0; i < scan->n_groups; i++) {
        const struct group *group = &scan->groups[i];
        if (group->base == 0 || group->base < floor)
            continue; /* no arena, or the rest of one that something splits */
        floor = group->base + group->n_bytes;
        struct census_candidate *candidate =
            &result->candidates[result->n_candidates++];
        const struct census_candidate *known = known_at(request, group->base);
        if (known != NULL && known->n_bytes == group->n_bytes)
            *candidate = *known;
        else
            *candidate = (struct census_candidate){
                .start = group->base,
                .n_bytes = group->n_bytes,
                .born_us = request->now_us,
            };
    }
}

/* From 3.10 pools are large, unless the build was configured otherwise. */
static bool
has_large_pools(const struct census_request *request)
{
    return request->python_major == 3 && request->python_minor >= 10;
}

struct scan_result
scan_arenas(struct memory *memory, const struct maps *maps,
            const struct memory_runs *runs,
            const struct census_request *request)
{
    struct scan_result result = {0};
    struct scan *scan = xcalloc(1, sizeof(*scan));
    scan->memory = memory;
    scan->runs = runs;
    if (has_large_pools(request))
        read_all_headers(scan, maps, CPYTHON_LARGE_POOL);
    if (scan->n_groups == 0)
        read_all_headers(scan, maps, CPYTHON_SMALL_POOL);
    search_entries(scan, maps);
    if (scan->n_proven == 0)
        result.n_inferred = infer_all(scan, maps);
    hand_over(scan, request, &result);
    free(scan->groups);
    free(scan);
    return result;
}
