#include "collector/census/types.h"

#include <string.h>

#include "collector/census/pages.h"
#include "collector/census/pool.h"
#include "collector/census/typetable.h"
#include "include/attrs.h"
#include "include/xalloc.h"

/* A count of references beyond this is no count. */
#define MOST_REFERENCES ((uint64_t)1 << 40)

/* From 3.14 the count has 32 bits; flags lie above bit 48. */
#define COUNT_OVERFLOW ((uint64_t)0xffff << 32)

/* A number that might just as well be an address. */
#define LEAST_ADDRESS ((uint64_t)0x10000)

struct types {
    struct memory *memory;
    const struct memory_runs *runs;
    struct census *census;
    struct typetable *table;
    uint32_t pres[3]; /* where an object may start in its block */
    unsigned n_pres;
    uint32_t shift; /* of PYTHONMALLOC=debug */
    bool has_flags_above_count;
    char *content; /* of the arena that is being read */
    unsigned char *states;
    unsigned *touched; /* numbers of the types in this arena */
    size_t n_touched;
    size_t touched_capacity;
};

static uint64_t
word_at(const char *bytes, size_t offset)
{
    uint64_t word;
    memcpy(&word, bytes + offset, sizeof(word));
    return word;
}

/* ---- one block --------------------------------------------------------- */

/*
 * Whether the word before a type pointer can be a reference count. Raw memory
 * may hold {address of an object, address of a type}: in a program at low
 * addresses the former is a small number.
 */
static bool
may_be_count(const struct types *types, uint64_t word)
{
    if (types->has_flags_above_count)
        return (word & COUNT_OVERFLOW) == 0 &&
               ((word & 0xffffffff) < LEAST_ADDRESS || word >> 48 != 0 ||
                !typetable_is_object(types->table, word));
    return word < MOST_REFERENCES &&
           (word < LEAST_ADDRESS || !typetable_is_object(types->table, word));
}

static bool
is_on_free_list(const struct types *types, uint64_t count)
{
    return (types->has_flags_above_count ? count & 0xffffffff : count) == 0;
}

/*
 * The number of the type of the block's object, or TYPE_RAW. An object that the
 * interpreter's collector does not track has nothing in the first word of its
 * header, and in the second what an earlier block had left there: a dead object
 * is believed only if nothing in the block is alive.
 */
static unsigned
classify(const struct types *types, const char *block, uint32_t size)
{
    unsigned found = TYPE_RAW;
    for (unsigned i = 0; i < types->n_pres; i++) {
        const uint32_t pre = types->pres[i] + types->shift;
        if (pre + 16 > size)
            break;
        const uint64_t pointer = word_at(block, pre + CPYTHON_OBJECT_TYPE_AT);
        const unsigned number = typetable_find(types->table, pointer);
        if (number == 0)
            continue;
        const struct type *type = typetable_type(types->table, number);
        const uint64_t count = word_at(block, pre);
        if (type->pre_bytes != types->pres[i] ||
            pre + type->least_bytes > size || !may_be_count(types, count))
            continue;
        if (!is_on_free_list(types, count))
            return number;
        found = TYPE_FREE_LIST;
    }
    return found;
}

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

/* ---- one pool ---------------------------------------------------------- */

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
    const char *block = content + CPYTHON_POOL_HEADER_BYTES;
    for (uint32_t i = 0; i < pool.n_carved; i++, block += pool.size) {
        if (!is_free[i])
            count_block(types, classify(types, block, pool.size), pool.size);
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
hold(struct types *types, uint64_t n_bytes, bool is_pinned)
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
        if (is_pinned) {
            *(is_exclusive ? &type->pinned_exclusive : &type->pinned_split) +=
                share;
            type->pinned_bytes += type->arena_bytes;
            type->n_pinned += type->arena_objects;
        }
    }
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
        hold(types, arena->resident_bytes - arena->live_bytes,
             arena->is_pinned);
    for (size_t i = 0; i < types->n_touched; i++) {
        struct type *type = typetable_type(types->table, types->touched[i]);
        type->arena_bytes = 0;
        type->arena_objects = 0;
    }
}

/* ---- all --------------------------------------------------------------- */

/*
 * PYTHONMALLOC=debug puts 16 bytes before each block's data. The first live
 * block of the first pools tells.
 */
static bool
looks_debugged(const char *block)
{
    const unsigned char *bytes = (const unsigned char *)block;
    const unsigned char letter = bytes[CPYTHON_DEBUG_LETTER_AT];
    const unsigned char first = bytes[CPYTHON_DEBUG_FORBIDDEN_AT];
    if ((letter != 'o' && letter != 'm' && letter != 'r') ||
        (first != CPYTHON_DEBUG_FORBIDDEN &&
         first != CPYTHON_DEBUG_FORBIDDEN_BEFORE))
        return false;
    for (unsigned i = 1; i < CPYTHON_DEBUG_FORBIDDEN_BYTES; i++) {
        if (bytes[CPYTHON_DEBUG_FORBIDDEN_AT + i] != first)
            return false;
    }
    return true;
}

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
                return looks_debugged(content + CPYTHON_POOL_HEADER_BYTES +
                                      (size_t)k * pool.size)
                           ? CPYTHON_DEBUG_PREFIX_BYTES
                           : 0;
        }
    }
    return 0;
}

static int
compare_occupancy(const void *left, const void *right)
{
    const struct census_arena *a = *(const struct census_arena *const *)left;
    const struct census_arena *b = *(const struct census_arena *const *)right;
    return (a->used_bytes > b->used_bytes) - (a->used_bytes < b->used_bytes);
}

static int
compare_types(const void *left, const void *right)
{
    const struct census_type *a = left;
    const struct census_type *b = right;
    if (a->n_bytes != b->n_bytes)
        return a->n_bytes < b->n_bytes ? 1 : -1;
    return strcmp(a->name, b->name);
}

static int
compare_names(const void *left, const void *right)
{
    const struct census_type *a = left;
    const struct census_type *b = right;
    return strcmp(a->name, b->name);
}

static void
add_type(struct census_type *sum, const struct census_type *more)
{
    sum->n_objects += more->n_objects;
    sum->n_bytes += more->n_bytes;
    sum->held_exclusive += more->held_exclusive;
    sum->held_split += more->held_split;
    sum->exclusive_bytes += more->exclusive_bytes;
    sum->pinned_exclusive += more->pinned_exclusive;
    sum->pinned_split += more->pinned_split;
    sum->pinned_bytes += more->pinned_bytes;
    sum->n_pinned += more->n_pinned;
}

/* Hands the table's counts to the census; types of one name are one row. */
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
        };
    }
    qsort(rows, n_rows, sizeof(*rows), compare_names);
    size_t kept = 0;
    for (size_t i = 0; i < n_rows; i++) {
        if (kept != 0 && strcmp(rows[kept - 1].name, rows[i].name) == 0) {
            add_type(&rows[kept - 1], &rows[i]);
            free(rows[i].name);
        } else {
            rows[kept++] = rows[i];
        }
    }
    qsort(rows, kept, sizeof(*rows), compare_types);
    census->types = rows;
    census->n_types = kept;
}

static void
read_all(struct types *types, const struct census_patience *patience)
{
    struct census *census = types->census;
    const struct census_arena **order =
        xcalloc(census->n_arenas, sizeof(const struct census_arena *));
    for (size_t i = 0; i < census->n_arenas; i++)
        order[i] = &census->arenas[i];
    qsort(order, census->n_arenas, sizeof(struct census_arena *),
          compare_occupancy);

    types->shift = find_shift(types, order[census->n_arenas - 1]);
    size_t i = 0;
    for (; i < census->n_arenas; i++) {
        read_content(types, order[i]);
        if (!patience->may_go_on(patience->context))
            break;
        count_arena(types, order[i]);
    }
    census->has_types = i == census->n_arenas;
    census->has_low_types = true;
    for (; i < census->n_arenas; i++)
        census->has_low_types = census->has_low_types && !order[i]->is_low;
    free(order);
}

void
types_read(struct memory *memory, const struct census_request *request,
           const struct maps *maps, const struct memory_runs *runs,
           const struct census_patience *patience, struct census *census)
{
    const struct cpython_layout layout =
        cpython_layout(request->python_major, request->python_minor);
    struct types types = {
        .memory = memory,
        .runs = runs,
        .census = census,
        .table = typetable_create(memory, maps, runs, census, layout),
        .pres = {0, layout.gc_header_bytes, layout.gc_header_bytes + 16},
        .n_pres = layout.pre_header_flags == 0 ? 2 : 3,
        .has_flags_above_count =
            request->python_major == 3 && request->python_minor >= 14,
        .content = xcalloc(1, CPYTHON_HUGE_ARENA),
        .states = xcalloc(1, CPYTHON_HUGE_ARENA / MEMORY_PAGE),
    };
    read_all(&types, patience);
    hand_over(&types);
    free(types.touched);
    free(types.states);
    free(types.content);
    typetable_destroy(types.table);
}
