#include "collector/census/types.h"

#include <string.h>
#include <time.h>

#include "collector/census/freelists.h"
#include "collector/census/pages.h"
#include "collector/census/pool.h"
#include "collector/census/sample.h"
#include "collector/census/typerows.h"
#include "collector/census/typetable.h"
#include "include/attrs.h"
#include "include/clock.h"
#include "include/xalloc.h"

enum { MOST_LISTED = 1 << 24 }; /* objects: 128 MiB */

struct types {
    struct memory *memory;
    const struct memory_runs *runs;
    struct census *census;
    struct objects *objects;
    struct typetable *table; /* theirs */
    const struct census_arena **order;
    size_t n_for_all; /* of them, which are read in any case */
    size_t n_done;
    char *content; /* of the arena that is being read */
    unsigned char *states;
    unsigned *touched; /* numbers of the types in this arena */
    size_t n_touched;
    size_t touched_capacity;
};

/* ---- one pool ---------------------------------------------------------- */

static void
count_block(struct types *types, unsigned number, uint32_t size)
{
    struct type *type = typetable_type(types->table, number);
    if (type->arena_bytes == 0) {
        XGROW(types->touched, types->touched_capacity, types->n_touched);
        types->touched[types->n_touched++] = number;
    }
    type->n_objects++;
    type->n_bytes += size;
    type->arena_bytes += size;
    type->arena_objects++;
}

static void
count_single(struct types *types, unsigned number,
             const struct objects_block *block)
{
    struct census_single *singles = types->census->singles;
    const enum recording_single which =
        number < TYPE_FIRST ? N_SINGLES
                            : objects_single(types->objects, number, block);
    if (which == N_SINGLES)
        return;
    singles[which].n_objects++;
    singles[which].n_bytes += block->n_bytes;
    if (which != SINGLE_immortal_str)
        return;
    singles[SINGLE_interned_str].n_objects++;
    singles[SINGLE_interned_str].n_bytes += block->n_bytes;
}

/* Whether the block is a resident; *next is where those behind it start. */
static bool
is_resident(const struct census_never_returned *never, uint64_t addr,
            size_t *next)
{
    while (*next < never->n_residents && never->residents[*next] < addr)
        (*next)++;
    return *next < never->n_residents && never->residents[*next] == addr;
}

static void
list_object(struct census *census, uint64_t addr, uint32_t n_bytes)
{
    if (!census->lists_objects)
        return;
    if (census->n_objects == MOST_LISTED) {
        census->lists_objects = false;
        return;
    }
    XGROW(census->objects, census->object_capacity, census->n_objects);
    census->objects[census->n_objects++] = (struct census_object){
        addr & (((uint64_t)1 << 48) - 1), n_bytes & 0xffff};
}

static void
read_pool(struct types *types, uint64_t addr, uint32_t pool_bytes,
          const char *content)
{
    struct cpython_pool header;
    memcpy(&header, content, sizeof(header));
    const struct pool pool = pool_read(addr, pool_bytes, &header);
    if (pool.state != POOL_USED && pool.state != POOL_FULL)
        return;
    bool is_free[POOL_MOST_BLOCKS];
    if (!pool_walk(&pool, addr, content, is_free)) {
        types->census->n_torn++;
        return;
    }
    const struct census_never_returned *never = &types->census->never_returned;
    size_t resident = freelists_first_resident(never, addr);
    struct objects_block block = {
        .bytes = content + CPYTHON_POOL_HEADER_BYTES,
        .n_here = pool.size,
        .n_bytes = pool.size,
    };
    for (uint32_t i = 0; i < pool.n_carved; i++, block.bytes += pool.size) {
        if (is_free[i])
            continue;
        const uint64_t at = addr + (uint64_t)(block.bytes - content);
        const bool is_kept = is_resident(never, at, &resident);
        list_object(types->census, at, pool.size);
        const unsigned number = is_kept
                                    ? (unsigned)TYPE_FREE_LIST
                                    : objects_classify(types->objects, &block);
        count_block(types, number, pool.size);
        count_single(types, number, &block);
    }
}

/* ---- one arena --------------------------------------------------------- */

static uint64_t
first_pool(const struct census_arena *arena)
{
    return (arena->address + arena->pool_bytes - 1) / arena->pool_bytes *
           arena->pool_bytes;
}

/*
 * Reads the resident pages of the pools in use, neighbours at once. What could
 * not be read, or is not resident, is zeroes.
 */
static void
read_content(struct types *types, const struct census_arena *arena)
{
    const uint64_t first = first_pool(arena);
    pages_states(types->runs, arena->address, arena->n_bytes / MEMORY_PAGE,
                 types->states);
    for (uint32_t i = 0; i < arena->n_pools; i++) {
        const uint64_t start =
            first - arena->address + (uint64_t)i * arena->pool_bytes;
        for (uint64_t at = start; at < start + arena->pool_bytes;
             at += MEMORY_PAGE) {
            unsigned char *state = &types->states[at / MEMORY_PAGE];
            if (!arena->is_used[i])
                *state = 0;
            else if (*state != PAGES_RESIDENT)
                memset(types->content + at, 0, MEMORY_PAGE);
        }
    }
    const size_t n_pages = arena->n_bytes / MEMORY_PAGE;
    for (size_t at = 0; at < n_pages;) {
        size_t end = at;
        while (end < n_pages && types->states[end] == PAGES_RESIDENT)
            end++;
        char *where = types->content + at * MEMORY_PAGE;
        if (end > at &&
            !memory_read(types->memory, arena->address + at * MEMORY_PAGE,
                         where, (end - at) * MEMORY_PAGE))
            memset(where, 0, (end - at) * MEMORY_PAGE);
        at = end + 1;
    }
}

/* Splits n_bytes among the arena's types by their live bytes, without rest. */
static void
hold(struct types *types, uint64_t n_bytes, const struct census_arena *arena)
{
    uint64_t total = 0;
    for (size_t i = 0; i < types->n_touched; i++)
        total += typetable_type(types->table, types->touched[i])->arena_bytes;

    uint64_t left_bytes = n_bytes;
    uint64_t left_weight = total;
    for (size_t i = 0; i < types->n_touched; i++) {
        struct type *type = typetable_type(types->table, types->touched[i]);
        const uint64_t share = (uint64_t)((unsigned __int128)left_bytes *
                                          type->arena_bytes / left_weight);
        left_bytes -= share;
        left_weight -= type->arena_bytes;
        const bool is_exclusive = types->n_touched == 1;
        *(is_exclusive ? &type->held_exclusive : &type->held_split) += share;
        if (is_exclusive)
            type->exclusive_bytes += type->arena_bytes;
        if (arena->is_low) {
            type->low_held += share;
            type->low_bytes += type->arena_bytes;
            type->n_low += type->arena_objects;
        }
        if (arena->is_pinned) {
            *(is_exclusive ? &type->pinned_exclusive : &type->pinned_split) +=
                share;
            type->pinned_bytes += type->arena_bytes;
            type->n_pinned += type->arena_objects;
        }
    }
}

/* Low and empty ones are always read; of the others a sample may have to do. */
static bool
is_for_all(const struct census_arena *arena)
{
    return arena->is_low || arena->n_used_blocks == 0;
}

static void
note_for_sample(struct type *type)
{
    const double objects = (double)type->arena_objects;
    const double bytes = (double)type->arena_bytes;
    type->rest_objects += objects;
    type->rest_objects_squared += objects * objects;
    type->rest_bytes += bytes;
    type->rest_bytes_squared += bytes * bytes;
}

/* What read_content has read, while it was still to be trusted. */
static void
count_arena(struct types *types, const struct census_arena *arena)
{
    types->n_touched = 0;
    const uint64_t first = first_pool(arena);
    for (uint32_t i = 0; i < arena->n_pools; i++) {
        const uint64_t addr = first + (uint64_t)i * arena->pool_bytes;
        if (arena->is_used[i])
            read_pool(types, addr, arena->pool_bytes,
                      types->content + (addr - arena->address));
    }
    if (arena->n_used_blocks != 0)
        hold(types, arena->resident_bytes - arena->live_bytes, arena);
    for (size_t i = 0; i < types->n_touched; i++) {
        struct type *type = typetable_type(types->table, types->touched[i]);
        if (!is_for_all(arena))
            note_for_sample(type);
        type->arena_bytes = 0;
        type->arena_objects = 0;
    }
}

/* ---- all --------------------------------------------------------------- */

/*
 * PYTHONMALLOC=debug puts 16 bytes before each block's data. The first live
 * block of the first pools tells.
 */
static uint32_t
find_shift(struct types *types, const struct census_arena *arena)
{
    read_content(types, arena);
    const uint64_t first = first_pool(arena);
    for (uint32_t i = 0; i < arena->n_pools; i++) {
        const uint64_t addr = first + (uint64_t)i * arena->pool_bytes;
        const char *content = types->content + (addr - arena->address);
        struct cpython_pool header;
        if (!arena->is_used[i])
            continue;
        memcpy(&header, content, sizeof(header));
        const struct pool pool = pool_read(addr, arena->pool_bytes, &header);
        bool is_free[POOL_MOST_BLOCKS];
        if ((pool.state != POOL_USED && pool.state != POOL_FULL) ||
            pool.size <= CPYTHON_DEBUG_PREFIX_BYTES ||
            !pool_walk(&pool, addr, content, is_free))
            continue;
        for (uint32_t k = 0; k < pool.n_carved; k++) {
            if (!is_free[k])
                return pool_is_debugged(content + CPYTHON_POOL_HEADER_BYTES +
                                        (size_t)k * pool.size)
                           ? CPYTHON_DEBUG_PREFIX_BYTES
                           : 0;
        }
    }
    return 0;
}

/* ---- which arenas ------------------------------------------------------ */

/*
 * Those that are always read, then the others in random order, so that as many
 * of them as there is time for are a sample.
 */
static void
order_arenas(struct types *types, uint64_t seed)
{
    const struct census *census = types->census;
    uint64_t state = seed | 1;
    size_t n_others = 0;
    types->order =
        xcalloc(census->n_arenas, sizeof(const struct census_arena *));
    for (size_t i = 0; i < census->n_arenas; i++) {
        const struct census_arena *arena = &census->arenas[i];
        if (is_for_all(arena))
            types->order[types->n_for_all++] = arena;
        else
            types->order[census->n_arenas - ++n_others] = arena;
    }
    for (size_t left = n_others; left > 1; left--) {
        const size_t other =
            types->n_for_all + (size_t)(sample_random(&state) % left);
        const size_t last = types->n_for_all + left - 1;
        const struct census_arena *arena = types->order[last];
        types->order[last] = types->order[other];
        types->order[other] = arena;
    }
}

struct types *
types_create(struct memory *memory, const struct memory_runs *runs,
             struct objects *objects, struct census *census, uint64_t seed)
{
    struct types *types = xcalloc(1, sizeof(*types));
    types->memory = memory;
    types->runs = runs;
    types->census = census;
    types->objects = objects;
    types->table = objects_types(objects);
    types->content = xcalloc(1, CPYTHON_HUGE_ARENA);
    types->states = xcalloc(1, CPYTHON_HUGE_ARENA / MEMORY_PAGE);
    order_arenas(types, seed);
    if (census->n_arenas != 0)
        objects_set_shift(
            objects, find_shift(types, types->order[census->n_arenas - 1]));
    return types;
}

void
types_read(struct types *types, const struct types_limits *limits)
{
    struct census *census = types->census;
    const struct census_patience *patience = limits->patience;
    const uint64_t started_us = clock_us(CLOCK_THREAD_CPUTIME_ID);
    while (types->n_done < census->n_arenas) {
        const bool is_for_all = types->n_done < types->n_for_all;
        if (!is_for_all && (limits->only_low ||
                            (limits->budget_us != 0 &&
                             clock_us(CLOCK_THREAD_CPUTIME_ID) - started_us >
                                 limits->budget_us)))
            return;
        const struct census_arena *arena = types->order[types->n_done];
        read_content(types, arena);
        if (!patience->may_go_on(patience->context))
            return;
        count_arena(types, arena);
        types->n_done++;
    }
}

/* ---- what a sample tells ----------------------------------------------- */

static void
extrapolate(struct types *types, struct census_type *row,
            const struct type *type)
{
    const double n = (double)(types->n_done - types->n_for_all);
    const double n_all = (double)(types->census->n_arenas - types->n_for_all);
    const struct sample_estimate objects =
        sample_sum(type->rest_objects, type->rest_objects_squared, n, n_all);
    const struct sample_estimate bytes =
        sample_sum(type->rest_bytes, type->rest_bytes_squared, n, n_all);
    row->n_objects += (uint64_t)(objects.total - type->rest_objects);
    row->n_bytes += (uint64_t)(bytes.total - type->rest_bytes);
    row->objects_error = (uint64_t)objects.error;
    row->bytes_error = (uint64_t)bytes.error;
    row->held_exclusive = 0;
    row->held_split = 0;
    row->exclusive_bytes = 0;
}

/* What was read up to here; the rest does not come any more. */
static void
note_how_far(const struct types *types)
{
    struct census *census = types->census;
    const size_t n_all = census->n_arenas - types->n_for_all;
    const size_t n =
        types->n_done < types->n_for_all ? 0 : types->n_done - types->n_for_all;
    census->has_types = types->n_done == census->n_arenas;
    census->has_low_types = types->n_done >= types->n_for_all;
    census->types_part = census->has_types  ? 1
                         : n < SAMPLE_LEAST ? 0
                                            : (double)n / (double)n_all;
    for (unsigned i = 0; i < N_SINGLES; i++) {
        if (i != SINGLE_small_int || objects_has_ints(types->objects))
            census->singles[i].is_known = census->has_types;
    }
}

/* Hands the table's counts to the census. */
static void
hand_over(struct types *types)
{
    struct census *census = types->census;
    const unsigned n_types = typetable_n_types(types->table);
    struct census_type *rows = xcalloc(n_types, sizeof(*rows));
    size_t n_rows = 0;
    for (unsigned i = 0; i < n_types; i++) {
        const struct type *type = typetable_type(types->table, i);
        if (type->n_objects == 0)
            continue;
        rows[n_rows++] = (struct census_type){
            .name = xstrdup(type->name),
            .n_objects = type->n_objects,
            .n_bytes = type->n_bytes,
            .held_exclusive = type->held_exclusive,
            .held_split = type->held_split,
            .exclusive_bytes = type->exclusive_bytes,
            .pinned_exclusive = type->pinned_exclusive,
            .pinned_split = type->pinned_split,
            .pinned_bytes = type->pinned_bytes,
            .n_pinned = type->n_pinned,
            .low_held = type->low_held,
            .low_bytes = type->low_bytes,
            .n_low = type->n_low,
        };
        if (!census->has_types && census->types_part != 0)
            extrapolate(types, &rows[n_rows - 1], type);
    }
    census->types = rows;
    census->n_types = typerows_settle(rows, n_rows);
}

void
types_finish(struct types *types)
{
    if (types == NULL)
        return;
    note_how_far(types);
    hand_over(types);
    free(types->order);
    free(types->touched);
    free(types->states);
    free(types->content);
    free(types);
}
