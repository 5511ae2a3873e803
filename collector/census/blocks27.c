/*
 * Blocks are read in batches, once; those without a live object once more, when
 * it is known which other chunks are blocks. What hangs together is kept as
 * sets (union-find) over the indices of the chunks.
 */
#include "collector/census/blocks27.h"

#include <string.h>

#include "collector/census/pages.h"
#include "include/xalloc.h"

enum {
    BATCH = 64,      /* blocks in one read */
    MOST_ROUNDS = 8, /* of looking at blocks without a live object */
};

/* More is no count of references. */
#define MOST_REFERENCES ((uint64_t)1 << 40)

/* ---- one block --------------------------------------------------------- */

static const uint64_t *
slot_at(const uint64_t *words, unsigned slot)
{
    return words +
           (CPYTHON_BLOCK27_SLOTS_AT + slot * CPYTHON_BLOCK27_SLOT_BYTES) / 8;
}

static enum blocks27_kind
kind_of_type(const struct blocks27_types *types, uint64_t type)
{
    if (type == 0)
        return BLOCKS27_NONE;
    if (type == types->int_type)
        return BLOCKS27_INT;
    return type == types->float_type ? BLOCKS27_FLOAT : BLOCKS27_NONE;
}

enum blocks27_kind
blocks27_judge(const uint64_t words[BLOCKS27_WORDS],
               const struct blocks27_types *types,
               const struct blocks27_others *others, uint64_t *live)
{
    enum blocks27_kind found = BLOCKS27_FREE;
    unsigned n_ends = 0;
    *live = 0;
    if (words[0] != 0 && !others->is_block(others->context, words[0]))
        return BLOCKS27_NONE;
    for (unsigned i = 0; i < CPYTHON_BLOCK27_SLOTS; i++) {
        const uint64_t references = slot_at(words, i)[0];
        const uint64_t type = slot_at(words, i)[1];
        const enum blocks27_kind kind = kind_of_type(types, type);
        if (kind != BLOCKS27_NONE) {
            if (references == 0 || references >= MOST_REFERENCES ||
                (found != BLOCKS27_FREE && found != kind))
                return BLOCKS27_NONE;
            found = kind;
            *live |= (uint64_t)1 << i;
        } else if (type == 0) {
            n_ends++;
        } else if (!others->is_slot(others->context, type)) {
            return BLOCKS27_NONE;
        }
    }
    return n_ends > 1 ? BLOCKS27_NONE : found;
}

/* ---- which chunk an address is in -------------------------------------- */

struct survey27 {
    const uint64_t *chunks; /* ascending */
    size_t n;
    struct blocks27_block *blocks; /* one a chunk; NULL: any chunk will do */
};

/* The last chunk that does not start behind addr, or UINT32_MAX. */
static uint32_t
chunk_before(const struct survey27 *survey, uint64_t addr)
{
    size_t low = 0;
    size_t high = survey->n;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (survey->chunks[middle] <= addr)
            low = middle + 1;
        else
            high = middle;
    }
    return low == 0 ? UINT32_MAX : (uint32_t)(low - 1);
}

/* The chunk at whose start, or in one of whose slots, addr is. */
static uint32_t
find(const struct survey27 *survey, uint64_t addr, bool is_slot)
{
    const uint32_t index = chunk_before(survey, addr);
    if (index == UINT32_MAX ||
        (survey->blocks != NULL && survey->blocks[index].kind == BLOCKS27_NONE))
        return UINT32_MAX;
    const uint64_t offset = addr - survey->chunks[index];
    const bool is_found = is_slot ? offset >= CPYTHON_BLOCK27_SLOTS_AT &&
                                        offset < CPYTHON_BLOCK27_BYTES &&
                                        (offset - CPYTHON_BLOCK27_SLOTS_AT) %
                                                CPYTHON_BLOCK27_SLOT_BYTES ==
                                            0
                                  : offset == 0;
    return is_found ? index : UINT32_MAX;
}

static bool
is_block(const void *context, uint64_t addr)
{
    return find(context, addr, false) != UINT32_MAX;
}

static bool
is_slot(const void *context, uint64_t addr)
{
    return find(context, addr, true) != UINT32_MAX;
}

/* ---- reading ----------------------------------------------------------- */

struct batch {
    struct memory *memory;
    const struct memory_runs *runs;
    uint64_t words[BATCH][BLOCKS27_WORDS];
    struct memory_span spans[BATCH];
    uint32_t indices[BATCH]; /* of the chunks */
    size_t n;
};

static struct batch *
batch_create(struct memory *memory, const struct memory_runs *runs)
{
    struct batch *batch = xcalloc(1, sizeof(*batch));
    batch->memory = memory;
    batch->runs = runs;
    return batch;
}

static void
batch_add(struct batch *batch, uint32_t index, uint64_t addr)
{
    if (!pages_is_resident(batch->runs, addr) ||
        !pages_is_resident(batch->runs, addr + CPYTHON_BLOCK27_BYTES - 1))
        return;
    batch->indices[batch->n] = index;
    batch->spans[batch->n] = (struct memory_span){
        .addr = addr,
        .where = batch->words[batch->n],
        .n_bytes = CPYTHON_BLOCK27_BYTES,
    };
    batch->n++;
}

/* Fills the batch from the chunks at *at on; false: there are no more. */
static bool
batch_fill(struct batch *batch, const struct survey27 *survey, size_t *at,
           bool (*is_wanted)(const struct survey27 *survey, size_t index))
{
    batch->n = 0;
    while (*at < survey->n && batch->n < BATCH) {
        if (is_wanted == NULL || is_wanted(survey, *at))
            batch_add(batch, (uint32_t)*at, survey->chunks[*at]);
        (*at)++;
    }
    memory_read_spans(batch->memory, batch->spans, batch->n);
    return batch->n != 0 || *at < survey->n;
}

/* ---- the types --------------------------------------------------------- */

/* Whether the words are a block of the type with this name. */
static bool
names_type(const uint64_t *words, const struct blocks27_others *others,
           struct typetable *table, const char *name, uint64_t *type)
{
    for (unsigned i = 0; i < CPYTHON_BLOCK27_SLOTS; i++) {
        const uint64_t word = slot_at(words, i)[1];
        if (word == 0 || others->is_slot(others->context, word))
            continue;
        const unsigned number = typetable_find(table, word);
        const struct blocks27_types types = {.int_type = word};
        uint64_t live;
        if (number == 0 ||
            strcmp(typetable_type(table, number)->name, name) != 0 ||
            blocks27_judge(words, &types, others, &live) != BLOCKS27_INT)
            return false;
        *type = word;
        return true;
    }
    return false;
}

struct blocks27_types
blocks27_find_types(struct memory *memory, const struct memory_runs *runs,
                    struct typetable *table, const uint64_t *blocks, size_t n)
{
    const struct survey27 survey = {.chunks = blocks, .n = n};
    const struct blocks27_others others = {is_block, is_slot, &survey};
    struct blocks27_types types = {0};
    struct batch *batch = batch_create(memory, runs);
    size_t at = 0;
    while ((types.int_type == 0 || types.float_type == 0) &&
           batch_fill(batch, &survey, &at, NULL)) {
        for (size_t i = 0; i < batch->n; i++) {
            if (!batch->spans[i].is_read)
                continue;
            if (types.int_type == 0)
                names_type(batch->words[i], &others, table, "int",
                           &types.int_type);
            if (types.float_type == 0)
                names_type(batch->words[i], &others, table, "float",
                           &types.float_type);
        }
    }
    free(batch);
    return types;
}

/* ---- what hangs together ----------------------------------------------- */

static uint32_t
root_of(uint32_t *parents, uint32_t index)
{
    while (parents[index] != index) {
        parents[index] = parents[parents[index]];
        index = parents[index];
    }
    return index;
}

static void
join(uint32_t *parents, uint32_t left, uint32_t right)
{
    parents[root_of(parents, left)] = root_of(parents, right);
}

/* A block hangs together with all it is linked to. */
static void
join_links(const struct survey27 *survey, uint32_t *parents, uint32_t index,
           const uint64_t *words, uint64_t live)
{
    const uint32_t older = find(survey, words[0], false);
    if (older != UINT32_MAX)
        join(parents, index, older);
    for (unsigned i = 0; i < CPYTHON_BLOCK27_SLOTS; i++) {
        const uint32_t other = (live >> i & 1) != 0
                                   ? UINT32_MAX
                                   : find(survey, slot_at(words, i)[1], true);
        if (other != UINT32_MAX)
            join(parents, index, other);
    }
}

/* The set of all blocks without a live object that has no kind: one at most. */
static uint32_t
lonely_set(const struct survey27 *survey, uint32_t *parents,
           const unsigned char *kinds)
{
    uint32_t lonely = UINT32_MAX;
    for (uint32_t i = 0; i < survey->n; i++) {
        const uint32_t root = root_of(parents, i);
        if (survey->blocks[i].kind != BLOCKS27_FREE || kinds[root] != 0)
            continue;
        if (lonely != UINT32_MAX && lonely != root)
            return UINT32_MAX;
        lonely = root;
    }
    return lonely;
}

/*
 * Gives each block without a live object its kind. A set that has blocks of
 * both kinds was torn.
 */
static void
settle_kinds(const struct survey27 *survey, uint32_t *parents)
{
    unsigned char *kinds = xcalloc(survey->n, 1); /* bits, by root */
    unsigned seen = 0;
    for (uint32_t i = 0; i < survey->n; i++) {
        const enum blocks27_kind kind = survey->blocks[i].kind;
        if (kind != BLOCKS27_INT && kind != BLOCKS27_FLOAT)
            continue;
        kinds[root_of(parents, i)] |= (unsigned char)(1u << kind);
        seen |= 1u << kind;
    }
    const uint32_t lonely = lonely_set(survey, parents, kinds);
    if (lonely != UINT32_MAX && seen == 1u << BLOCKS27_INT)
        kinds[lonely] = 1u << BLOCKS27_FLOAT;
    else if (lonely != UINT32_MAX && seen == 1u << BLOCKS27_FLOAT)
        kinds[lonely] = 1u << BLOCKS27_INT;
    for (uint32_t i = 0; i < survey->n; i++) {
        struct blocks27_block *block = &survey->blocks[i];
        const unsigned kind = kinds[root_of(parents, i)];
        if (block->kind != BLOCKS27_FREE)
            continue;
        block->kind = kind == 1u << BLOCKS27_INT     ? BLOCKS27_INT
                      : kind == 1u << BLOCKS27_FLOAT ? BLOCKS27_FLOAT
                                                     : BLOCKS27_NONE;
    }
    free(kinds);
}

/* ---- all of a target --------------------------------------------------- */

static unsigned
count_small(const uint64_t *words, uint64_t live)
{
    unsigned n = 0;
    for (unsigned i = 0; i < CPYTHON_BLOCK27_SLOTS; i++) {
        const int64_t value =
            (int64_t)slot_at(words, i)[CPYTHON_INT27_VALUE_AT / 8];
        n += (live >> i & 1) != 0 && value >= CPYTHON_LEAST_SMALL_INT &&
             value <= CPYTHON_MOST_SMALL_INT;
    }
    return n;
}

static void
judge_all(const struct survey27 *survey, const struct blocks27_types *types,
          struct batch *batch, uint32_t *parents)
{
    /* While it is not known which chunks are blocks, all of them may be. */
    const struct survey27 any = {.chunks = survey->chunks, .n = survey->n};
    const struct blocks27_others others = {is_block, is_slot, &any};
    size_t at = 0;
    while (batch_fill(batch, survey, &at, NULL)) {
        for (size_t i = 0; i < batch->n; i++) {
            struct blocks27_block *block = &survey->blocks[batch->indices[i]];
            if (!batch->spans[i].is_read)
                continue;
            block->kind =
                blocks27_judge(batch->words[i], types, &others, &block->live);
            block->n_small = count_small(batch->words[i], block->live);
            if (block->kind != BLOCKS27_NONE)
                join_links(&any, parents, batch->indices[i], batch->words[i],
                           block->live);
        }
    }
}

static bool
is_free_block(const struct survey27 *survey, size_t index)
{
    return survey->blocks[index].kind == BLOCKS27_FREE;
}

/*
 * A block without a live object has only its links to tell: they must lead into
 * blocks. Returns whether one was found to be none.
 */
static bool
doubt_free_blocks(const struct survey27 *survey,
                  const struct blocks27_types *types, struct batch *batch)
{
    const struct blocks27_others others = {is_block, is_slot, survey};
    bool is_changed = false;
    size_t at = 0;
    while (batch_fill(batch, survey, &at, is_free_block)) {
        for (size_t i = 0; i < batch->n; i++) {
            struct blocks27_block *block = &survey->blocks[batch->indices[i]];
            if (batch->spans[i].is_read &&
                blocks27_judge(batch->words[i], types, &others, &block->live) ==
                    BLOCKS27_FREE)
                continue;
            block->kind = BLOCKS27_NONE;
            is_changed = true;
        }
    }
    return is_changed;
}

static void
count(const struct blocks27_block *block, struct census_never_returned *never)
{
    const unsigned n_live = (unsigned)__builtin_popcountll(block->live);
    struct census_blocks27 *sum =
        block->kind == BLOCKS27_INT ? &never->ints : &never->floats;
    sum->n_blocks++;
    sum->reserved_bytes += CPYTHON_BLOCK27_BYTES;
    sum->live_bytes += (uint64_t)n_live * CPYTHON_BLOCK27_SLOT_BYTES;
    sum->n_free += CPYTHON_BLOCK27_SLOTS - n_live;
    sum->n_pinned += n_live == 1;
    sum->n_empty += n_live == 0;
}

/* Leaves the blocks alone in their array; returns how many there are. */
static size_t
keep_blocks(const struct survey27 *survey, struct census *census)
{
    struct census_never_returned *never = &census->never_returned;
    struct census_single *small = &census->singles[SINGLE_small_int];
    size_t kept = 0;
    for (size_t i = 0; i < survey->n; i++) {
        if (survey->blocks[i].kind == BLOCKS27_NONE)
            continue;
        const struct blocks27_block *block = &survey->blocks[kept];
        survey->blocks[kept++] = survey->blocks[i];
        count(block, never);
        if (block->kind != BLOCKS27_INT)
            continue;
        small->n_objects += block->n_small;
        small->n_bytes += (uint64_t)block->n_small * CPYTHON_BLOCK27_SLOT_BYTES;
    }
    never->has_blocks27 = true;
    small->is_known = true;
    return kept;
}

struct blocks27_block *
blocks27_read(struct memory *memory, const struct memory_runs *runs,
              const struct blocks27_types *types, const uint64_t *blocks,
              size_t *n, struct census *census)
{
    struct survey27 survey = {
        .chunks = blocks,
        .n = *n < UINT32_MAX ? *n : UINT32_MAX - 1,
    };
    survey.blocks = xcalloc(survey.n, sizeof(*survey.blocks));
    uint32_t *parents = xcalloc(survey.n, sizeof(*parents));
    for (uint32_t i = 0; i < survey.n; i++) {
        parents[i] = i;
        survey.blocks[i].addr = blocks[i];
    }
    struct batch *batch = batch_create(memory, runs);
    judge_all(&survey, types, batch, parents);
    for (unsigned i = 0; i < MOST_ROUNDS; i++) {
        if (!doubt_free_blocks(&survey, types, batch))
            break;
    }
    settle_kinds(&survey, parents);
    *n = keep_blocks(&survey, census);
    free(batch);
    free(parents);
    return survey.blocks;
}
