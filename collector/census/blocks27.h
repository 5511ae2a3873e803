/*
 * blocks27.h - the blocks in which Python 2.7 keeps its ints and floats
 *
 * 2.7 never gives a block back while one of its 41 objects lives, and looks for
 * blocks without any only at the end of a full collection. A block is told from
 * any other malloc chunk of its size by its content: each slot is an object of
 * one of the two types, or is linked to a slot of a block.
 *
 * All blocks of a kind hang together: each is linked to an older one, and their
 * free slots are linked with one another. So a block without a live object has
 * the kind of those that it hangs together with; where none of them has a live
 * object either, they are of the kind that has no other blocks.
 */
#ifndef COLLECTOR_CENSUS_BLOCKS27_H
#define COLLECTOR_CENSUS_BLOCKS27_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/census/memory.h"
#include "collector/census/result.h"
#include "collector/census/typetable.h"
#include "include/cpython.h"

enum { BLOCKS27_WORDS = CPYTHON_BLOCK27_BYTES / 8 };

enum blocks27_kind {
    BLOCKS27_NONE,
    BLOCKS27_INT,
    BLOCKS27_FLOAT,
    BLOCKS27_FREE, /* one of the two, without a live object */
};

/* Addresses of the two type objects; 0: not known. */
struct blocks27_types {
    uint64_t int_type;
    uint64_t float_type;
};

struct blocks27_block {
    uint64_t addr;
    uint64_t live; /* bit i: slot i holds an object */
    enum blocks27_kind kind;
    unsigned n_small; /* of the objects: if they are ints, those of -5 to 256 */
};

/* ---- one block --------------------------------------------------------- */

/* Whether addr may be that of another block, or of a slot of a block. */
struct blocks27_others {
    bool (*is_block)(const void *context, uint64_t addr);
    bool (*is_slot)(const void *context, uint64_t addr);
    const void *context;
};

/*
 * What the words of a malloc chunk are, as far as they tell by themselves. The
 * first links to an older block, or ends the list of them; at most one slot
 * ends the list of free ones. A block that was given back looks like one still,
 * but for that first word: it is malloc's now.
 */
enum blocks27_kind blocks27_judge(const uint64_t words[BLOCKS27_WORDS],
                                  const struct blocks27_types *types,
                                  const struct blocks27_others *others,
                                  uint64_t *live);

/* ---- all of a target --------------------------------------------------- */

/*
 * The type objects that the blocks' live objects have. blocks are addresses of
 * as many bytes as a block has, ascending.
 */
struct blocks27_types blocks27_find_types(struct memory *memory,
                                          const struct memory_runs *runs,
                                          struct typetable *table,
                                          const uint64_t *blocks, size_t n);

/*
 * Which of the chunks are blocks, by ascending address; the caller frees them.
 * *n becomes their number. What is not resident is none. Adds the blocks to the
 * census' never_returned.
 */
struct blocks27_block *blocks27_read(struct memory *memory,
                                     const struct memory_runs *runs,
                                     const struct blocks27_types *types,
                                     const uint64_t *blocks, size_t *n,
                                     struct census *census);

#endif
