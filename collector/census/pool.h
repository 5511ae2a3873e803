/*
 * pool.h - what one pool header says, and which of its blocks are in use
 *
 * Pure functions of bytes: no target, no I/O. A pool describes itself so fully
 * (include/cpython.h) that what passes here is a pool.
 */
#ifndef COLLECTOR_CENSUS_POOL_H
#define COLLECTOR_CENSUS_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "include/cpython.h"

enum pool_state {
    POOL_NONE,  /* never carved: zeroes */
    POOL_EMPTY, /* no block in use: a free pool */
    POOL_USED,
    POOL_FULL,
    POOL_TORN, /* not a header, or one that is being written */
};

struct pool {
    enum pool_state state;
    uint32_t pool_bytes;
    uint32_t size; /* of its blocks */
    uint32_t n_used;
    uint32_t n_carved;
    uint32_t n_blocks;   /* as many as fit */
    uint32_t first_free; /* offset of the list's head in the pool, 0: none */
};

enum { POOL_MOST_BLOCKS = CPYTHON_LARGE_POOL / CPYTHON_OLD_ALIGNMENT };

/* Judges the header of a pool at addr of so many bytes. */
struct pool pool_read(uint64_t addr, uint32_t pool_bytes,
                      const struct cpython_pool *header);

/*
 * Marks in is_free[POOL_MOST_BLOCKS] which carved blocks are on the pool's list
 * of free ones; content is the whole pool. False: the list is torn.
 */
bool pool_walk(const struct pool *pool, uint64_t addr, const char *content,
               bool *is_free);

/* Whether a live block begins as PYTHONMALLOC=debug begins it. */
bool pool_is_debugged(const char *block);

#endif
