/*
 * objects.h - which object lies in a block, and which blocks it asked for
 *
 * A block is an object's if a type stands where its type should, and what is
 * known of that type agrees with the block. Containers keep a second block, of
 * the system's malloc once it is large: lists their items, dicts and sets their
 * tables; where they lie is known by type (include/cpython.h). Those that lie
 * in arenas, as most do, are not noted.
 *
 * One for the length of a census, which it must not outlive.
 */
#ifndef COLLECTOR_CENSUS_OBJECTS_H
#define COLLECTOR_CENSUS_OBJECTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/census/maps.h"
#include "collector/census/memory.h"
#include "collector/census/request.h"
#include "collector/census/result.h"
#include "collector/census/typetable.h"

struct objects;

/* The arenas must be in the census. Never NULL; destroying NULL is a no-op. */
struct objects *objects_create(struct memory *memory,
                               const struct census_request *request,
                               const struct maps *maps,
                               const struct memory_runs *runs,
                               const struct census *census);
void objects_destroy(struct objects *objects);

struct typetable *objects_types(const struct objects *objects);

/* Of PYTHONMALLOC=debug, before each object; 0 until it is set. */
void objects_set_shift(struct objects *objects, uint32_t shift);

/* A block, or its beginning: 80 bytes tell as much as all of it. */
struct objects_block {
    const char *bytes;
    size_t n_here;
    uint64_t n_bytes; /* of the whole block */
};

/*
 * The number of the type of the block's object, or TYPE_RAW, or
 * TYPE_FREE_LIST. Notes what a container keeps elsewhere.
 */
unsigned objects_classify(struct objects *objects,
                          const struct objects_block *block);

/*
 * What a block's object of that type is, of those that are there once:
 * SINGLE_small_int, SINGLE_interned_str, or SINGLE_immortal_str, which is
 * interned as well. N_SINGLES: none of them.
 */
enum recording_single objects_single(const struct objects *objects,
                                     unsigned number,
                                     const struct objects_block *block);

/* Whether ints lie in arenas: not those of 2.7. */
bool objects_has_ints(const struct objects *objects);

/* The addresses that were noted, ascending; none of them lies in an arena. */
const uint64_t *objects_tables(struct objects *objects, size_t *n);

#endif
