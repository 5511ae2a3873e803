/*
 * cached.h - free chunks that pass for used ones: tcaches and fastbins
 *
 * Both keep chunks that the walk must take for used. A tcache is a chunk of its
 * own, known by what it says: counts, and lists of that length of chunks of the
 * right size. Fastbins are in each arena's state; that of the main arena lies
 * in libc's data, recognised by its top and its bins.
 */
#ifndef COLLECTOR_CENSUS_CACHED_H
#define COLLECTOR_CENSUS_CACHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/census/heap.h"
#include "collector/census/maps.h"
#include "collector/census/memory.h"

/* A process' heaps, whose chunks these functions flag. */
struct cached {
    struct memory *memory;
    const struct memory_runs *runs;
    struct window *window; /* for links */
    const struct census_patience *patience;
    struct heap *heaps; /* ascending */
    size_t n_heaps;
};

/* Whether a chunk of that size, with that at its block's start, can be one. */
bool cached_may_be_tcache(uint64_t chunk_bytes, const char *content,
                          size_t n_bytes);

/* The block of such a chunk: flags what it lists, if it is one. */
bool cached_read_tcache(const struct cached *cached, uint64_t block);

/* The state of the main heap's arena, in writable images; or 0. */
uint64_t cached_find_state(const struct cached *cached, const struct maps *maps,
                           const struct heap *main);

/* The arena's fastbins. */
bool cached_read_fastbins(const struct cached *cached, uint64_t state);

#endif
