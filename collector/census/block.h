/*
 * block.h - which block of an allocator an address lies in
 *
 * Of pymalloc by the header of its pool, of malloc by the sizes that stand
 * before its chunk and behind it. No pointer of the target is trusted.
 */
#ifndef COLLECTOR_CENSUS_BLOCK_H
#define COLLECTOR_CENSUS_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/census/peek.h"
#include "collector/census/pool.h"
#include "collector/census/result.h"

struct block {
    uint64_t addr;
    uint64_t n_bytes; /* usable */
    uint64_t pool;    /* its address; 0: it is a chunk of malloc's */
    uint32_t pool_bytes;
};

/* The arena that holds addr, or NULL. */
const struct census_arena *block_arena(const struct census *census,
                                       uint64_t addr);

/*
 * The carved block that holds addr, in a pool in use. Whether it is live, its
 * pool's list tells.
 */
bool block_in_arena(const struct census *census, struct peek *peek,
                    uint64_t addr, struct block *block);

/* The chunk in use whose data start at addr. */
bool block_of_malloc(struct peek *peek, uint64_t addr, struct block *block);

enum block_verdict {
    BLOCK_LIVE,
    BLOCK_NOT_LIVE,
    BLOCK_UNKNOWN, /* their pool is not resident up to its last carved block */
};

/*
 * Whether none of the n blocks, all of one pool, is on its list of free ones;
 * *are_live tells for each of them, if it is not NULL.
 */
enum block_verdict block_are_live(struct peek *peek, const struct block *blocks,
                                  size_t n, bool *are_live);

/*
 * What PYTHONMALLOC=debug puts before each block's data, or 0: it is not in
 * force. The first pool in use tells.
 */
uint32_t block_debug_bytes(const struct census *census, struct peek *peek);

#endif
