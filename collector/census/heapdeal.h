/*
 * heapdeal.h - what a heap's bytes are, and what it holds of them
 *
 * Deals every resident byte of the heaps that were walked, and sums up each
 * heap: live and free chunks, free pages, free bytes beside live ones, and what
 * malloc_trim(0) would give back (malloc/malloc.c, mtrim and systrim).
 */
#ifndef COLLECTOR_CENSUS_HEAPDEAL_H
#define COLLECTOR_CENSUS_HEAPDEAL_H

#include "collector/census/blocks27.h"
#include "collector/census/claims.h"
#include "collector/census/heaps.h"
#include "collector/census/memory.h"
#include "collector/census/mmapped.h"
#include "collector/census/result.h"

struct heapdeal_what {
    const struct heaps *heaps;
    const struct mmapped *mmapped;
    const struct blocks27_block *blocks27; /* among the chunks; ascending */
    size_t n_blocks27;
};

/* Adds to layer what it has dealt. */
void heapdeal(const struct heapdeal_what *what, const struct memory_runs *runs,
              struct census *census, struct claims *layer);

#endif
