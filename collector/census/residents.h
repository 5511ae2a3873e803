/*
 * residents.h - the dead objects that wait on a free list
 *
 * A list is believed only if it is what the interpreter says: as many residents
 * as its count, each without references, of the list's type, in a block of the
 * size that it needs, and the last one the end. Walks are bounded by the most
 * that such a list may hold. A target that goes on meanwhile gives a list that
 * is not believed: ask again.
 */
#ifndef COLLECTOR_CENSUS_RESIDENTS_H
#define COLLECTOR_CENSUS_RESIDENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/census/block.h"
#include "collector/census/peek.h"
#include "collector/census/result.h"
#include "collector/census/typetable.h"
#include "include/cpython_lists.h"

struct resident {
    struct block block;
    unsigned list; /* its index among the version's lists */
};

struct residents {
    struct peek *peek;
    const struct census *census; /* its arenas */
    struct typetable *table;
    struct cpython_lists lists;
    uint32_t debug_bytes;       /* before each block's data */
    struct resident *residents; /* owned */
    size_t n_residents;
    size_t capacity;
};

void residents_finish(struct residents *residents);

/*
 * Whether a dead object of that list lies at addr; a tuple's has that length.
 * Fills in its block.
 */
bool residents_is(struct residents *residents, unsigned list, uint64_t addr,
                  unsigned length, struct block *block);

/*
 * Which list an object at addr can be on, or lists.n_lists: none, or its block
 * was given back since.
 */
unsigned residents_list_of(struct residents *residents, uint64_t addr);

/* How many hang on a chain that starts with addr; -1: it is none. */
int residents_follow(struct residents *residents, unsigned list, uint64_t addr,
                     unsigned length);

/*
 * Takes the residents of the list whose first head and first count lie there.
 * False, and none was taken: it is not, or not at this moment, what it should
 * be.
 */
bool residents_take(struct residents *residents, unsigned list, uint64_t head,
                    uint64_t count);

#endif
