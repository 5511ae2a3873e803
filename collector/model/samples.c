#include "collector/model/samples.h"

#include <math.h>
#include <stdlib.h>
#include <uthash.h>

#include "collector/model/blocks.h"
#include "include/xalloc.h"

/*
 * Half of the square of 1.96, in samples: with it the interval of 1.96 errors
 * covers what it should from a handful of samples on (Agresti and Coull, 1998,
 * do as much for proportions).
 */
static const double doubt = 1.92;

struct entry {
    struct samples_tally tally;
    UT_hash_handle hh;
};

struct samples {
    double mean;
    struct blocks *blocks;
    struct entry *entries; /* by stack: what was allocated */
};

struct samples *
samples_create(uint64_t mean_bytes)
{
    struct samples *samples = xcalloc(1, sizeof(*samples));
    samples->mean = (double)mean_bytes;
    samples->blocks = blocks_create();
    return samples;
}

static void
forget(struct entry **entries)
{
    struct entry *entry;
    struct entry *next;
    HASH_ITER(hh, *entries, entry, next)
    {
        HASH_DEL(*entries, entry);
        free(entry);
    }
}

void
samples_destroy(struct samples *samples)
{
    if (samples == NULL)
        return;
    blocks_destroy(samples->blocks);
    forget(&samples->entries);
    free(samples);
}

struct samples *
samples_clone(const struct samples *samples, uint64_t stamp)
{
    struct samples *clone = xcalloc(1, sizeof(*clone));
    clone->mean = samples->mean;
    clone->blocks = blocks_clone(samples->blocks, stamp);
    return clone;
}

/* ---- weighing ---------------------------------------------------------- */

static struct samples_tally *
tally_of(struct entry **entries, uint32_t stack)
{
    struct entry *entry;
    HASH_FIND(hh, *entries, &stack, sizeof(stack), entry);
    if (entry != NULL)
        return &entry->tally;
    entry = xcalloc(1, sizeof(*entry));
    entry->tally.stack = stack;
    HASH_ADD(hh, *entries, tally.stack, sizeof(entry->tally.stack), entry);
    return &entry->tally;
}

static void
weigh(const struct samples *samples, const struct blocks_block *block,
      struct samples_estimate *blocks, struct samples_estimate *bytes)
{
    const double n = (double)block->n_bytes;
    const double p = block->is_sample ? -expm1(-n / samples->mean) : 1;
    const double variance = (1 - p) / (p * p);
    blocks->total += 1 / p;
    blocks->variance += variance;
    bytes->total += n / p;
    bytes->variance += n * n * variance;
}

/* The variance that a unit of the total brings: that of one more sample. */
static double
of_one(const struct samples_estimate *estimate)
{
    return estimate->variance > 0 ? estimate->variance / estimate->total : 0;
}

double
samples_error(const struct samples_estimate *live,
              const struct samples_estimate *alloc)
{
    const double one = live->variance > 0 ? of_one(live) : of_one(alloc);
    return sqrt(live->variance + doubt * one * one);
}

/* ---- events ------------------------------------------------------------ */

void
samples_birth(struct samples *samples, uint64_t stamp,
              const struct samples_block *block)
{
    if (block->n_bytes == 0)
        return;
    const struct blocks_block born = {
        .addr = block->addr,
        .n_bytes = block->n_bytes,
        .stack = block->stack,
        .is_sample = block->is_sample,
    };
    struct samples_tally *tally = tally_of(&samples->entries, block->stack);
    weigh(samples, &born, &tally->alloc_blocks, &tally->alloc_bytes);
    blocks_birth(samples->blocks, stamp, &born);
}

void
samples_death(struct samples *samples, uint64_t stamp, uint64_t addr)
{
    blocks_death(samples->blocks, stamp, addr, 0);
}

struct samples_tally *
samples_list(const struct samples *samples, size_t *n)
{
    struct entry *all = NULL;
    for (const struct entry *entry = samples->entries; entry != NULL;
         entry = entry->hh.next)
        *tally_of(&all, entry->tally.stack) = entry->tally;
    size_t n_blocks;
    struct blocks_block *blocks =
        blocks_list(samples->blocks, UINT64_MAX, &n_blocks);
    for (size_t i = 0; i < n_blocks; i++) {
        struct samples_tally *tally = tally_of(&all, blocks[i].stack);
        weigh(samples, &blocks[i], &tally->live_blocks, &tally->live_bytes);
    }
    free(blocks);
    struct samples_tally *tallies =
        xcalloc(HASH_COUNT(all) + 1, sizeof(*tallies));
    *n = 0;
    for (const struct entry *entry = all; entry != NULL; entry = entry->hh.next)
        tallies[(*n)++] = entry->tally;
    forget(&all);
    return tallies;
}
