/*
 * heaps.h - every heap of glibc's malloc in a target
 *
 * The main one lies in [heap]; those of other arenas at multiples of 64 MiB,
 * and say so themselves. What does not walk as a heap is none, and stays
 * unexplained.
 */
#ifndef COLLECTOR_CENSUS_HEAPS_H
#define COLLECTOR_CENSUS_HEAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/census/claims.h"
#include "collector/census/heap.h"
#include "collector/census/maps.h"
#include "collector/census/memory.h"
#include "collector/census/objects.h"
#include "collector/census/request.h"

struct heaps {
    struct heap *heaps; /* ascending */
    size_t n_heaps;
    size_t capacity;
    uint64_t *blocks27; /* of chunks that may be 2.7's; ascending */
    size_t n_blocks27;
    size_t block27_capacity;
    uint64_t *tcaches; /* blocks that may be one */
    size_t n_tcaches;
    size_t tcache_capacity;
};

/* What heaps are looked for in. */
struct heaps_target {
    struct memory *memory;
    const struct maps *maps;
    const struct memory_runs *runs;
    const struct claims *claims; /* heaps lie in what they leave unexplained */
    const struct census_request *request;
    struct objects *objects; /* NULL: no interpreter */
    bool has_arenas;         /* small objects are in them and not in heaps */
};

/* Walks them all; where patience ends, the rest is not there. */
void heaps_read(struct heaps *heaps, const struct heaps_target *target,
                const struct census_patience *patience);
void heaps_finish(struct heaps *heaps);

/* Whether a mapping is one in which heaps of other arenas may lie. */
bool heaps_may_lie_in(const struct map *map);

/* Chunks in use of these blocks, which ascend, are the interpreter's. */
void heaps_mark_python(struct heaps *heaps, const uint64_t *blocks, size_t n);

#endif
