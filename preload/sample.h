/*
 * sample.h - which blocks speak for all: Poisson sampling by bytes
 *
 * At level watch a thread's births are laid end to end, and points are strewn
 * over their bytes, `mean` apart on average: a block that one falls into is
 * told, with its stack. A block of n bytes is so with probability 1 - exp(-n /
 * mean), whatever came before it. Its death is told too; which blocks those are
 * is kept here, for all threads, without a lock.
 *
 * Integers only: a hook leaves the target's vector registers alone.
 */
#ifndef PRELOAD_SAMPLE_H
#define PRELOAD_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

#include "include/attrs.h"
#include "preload/thread.h"

enum {
    SAMPLE_FILTER_PLACES = 1 << 16,
    SAMPLE_GRAIN = 16, /* of addresses */
};

/* How many sampled blocks live at each place; by far the most are 0. */
extern HIDDEN uint8_t sample_filter[SAMPLE_FILTER_PLACES];

/* False: it is none of them. */
static ALWAYS_INLINE bool
sample_may_be(const void *block)
{
    return sample_filter[(uintptr_t)block / SAMPLE_GRAIN %
                         SAMPLE_FILTER_PLACES] != 0;
}

/* The hot path's part of sample_takes: false says the same. */
static ALWAYS_INLINE bool
sample_counts_down(uint64_t n_bytes)
{
    bool is_due;
    __asm__ volatile("subq %2, %1"
                     : "=@ccc"(is_due), "+m"(self.until_sample)
                     : "er"(n_bytes)
                     :);
    return is_due;
}

/*
 * The countdown was found to have come to its end: whether that is so, or it
 * had not begun yet. It begins anew.
 */
bool sample_is_due(uint64_t n_bytes);

/* Whether a point falls into the calling thread's next n_bytes. */
bool sample_takes(uint64_t n_bytes);

/* A block that was taken. False: there are too many. */
bool sample_keep(uintptr_t addr);

/* Whether it is one of them. */
bool sample_has(uintptr_t addr);

/* The same, and it is none any more: before it is freed. */
bool sample_let_go(uintptr_t addr);

/* An exponentially distributed number, rounded up; the state is moved on. */
uint64_t sample_draw(uint64_t *state, uint64_t mean);

#endif
