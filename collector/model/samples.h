/*
 * samples.h - what a Poisson sample of a process' blocks says of all of them
 *
 * A block of n bytes is in the sample with probability p = 1 - exp(-n / mean),
 * whatever the others are. So it stands for 1 / p blocks and n / p bytes
 * (Horvitz and Thompson, 1952), and adds (1 - p) / p^2 and n^2 (1 - p) / p^2 to
 * their variances: sums over any blocks are without bias. A block that is told
 * for itself stands for itself. It is a model and nothing else: no clock, no
 * I/O, no knowledge of the wire.
 *
 * Births and deaths may come in any order: of two for one address the greater
 * stamp is true. Not thread-safe: it belongs to the loop that created it.
 */
#ifndef COLLECTOR_MODEL_SAMPLES_H
#define COLLECTOR_MODEL_SAMPLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct samples;

/* Never NULL. Destroying NULL is a no-op. */
struct samples *samples_create(uint64_t mean_bytes);
void samples_destroy(struct samples *samples);

/* What lived when a child was forked; it has allocated nothing itself. */
struct samples *samples_clone(const struct samples *samples, uint64_t stamp);

struct samples_block {
    uint64_t addr;
    uint64_t n_bytes;
    uint32_t stack;
    bool is_sample; /* and not told for itself */
};

/* A block without a byte is none. */
void samples_birth(struct samples *samples, uint64_t stamp,
                   const struct samples_block *block);
void samples_death(struct samples *samples, uint64_t stamp, uint64_t addr);

struct samples_estimate {
    double total;
    double variance; /* estimated likewise; 0: all were told for themselves */
};

/*
 * One standard error. Few samples tell little of their own spread, and where
 * none is left of a stack that was sampled before, some may live all the same:
 * `alloc` tells what a sample of it stands for, `live` may be that too.
 */
double samples_error(const struct samples_estimate *live,
                     const struct samples_estimate *alloc);

/* What the blocks of a stack add up to. */
struct samples_tally {
    uint32_t stack;
    struct samples_estimate live_blocks;
    struct samples_estimate live_bytes;
    struct samples_estimate alloc_blocks; /* births, a clone's own only */
    struct samples_estimate alloc_bytes;
};

/* Of all stacks, in no order; the caller frees them. */
struct samples_tally *samples_list(const struct samples *samples, size_t *n);

#endif
