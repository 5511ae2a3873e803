/*
 * collections.h - an interpreter's collections that wait for what was around
 *
 * How many arenas there were when a collection started, and when it ended, is
 * known once all that was told before it has come, by whichever thread. So a
 * collection waits until a whole pass over the stream has followed it, and is
 * then handed on. No clock, no I/O.
 */
#ifndef COLLECTOR_MODEL_COLLECTIONS_H
#define COLLECTOR_MODEL_COLLECTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/model/arenas.h"

enum { COLLECTION_UNKNOWN = -1 };

struct collection {
    unsigned generation;
    uint64_t started_ns;
    uint64_t pause_ns;
    uint64_t collected;
    uint64_t uncollectable;
    uint64_t start_stamp; /* 0: not told */
    uint64_t end_stamp;
    int64_t rss_before; /* or COLLECTION_UNKNOWN, like the next three */
    int64_t rss_after;
    int64_t arenas_before; /* found out here */
    int64_t arenas_after;
};

/* Zeroed storage is an empty one. */
struct collections {
    struct collection *waiting; /* as they came */
    size_t n;
    size_t capacity;
    size_t n_ripe; /* of them came before the pass under way began */
};

void collections_finish(struct collections *collections);

/* A pass that does not end must not let them be ever more. */
bool collections_are_full(const struct collections *collections);

void collections_add(struct collections *collections,
                     const struct collection *one);

typedef void (*collections_tell)(void *context, const struct collection *one);

/* A pass has come to its end. arenas: NULL where they are not all known. */
void collections_pass(struct collections *collections,
                      const struct arenas *arenas, collections_tell tell,
                      void *context);

/* Nothing more comes: hands on all of them. */
void collections_pass_all(struct collections *collections,
                          const struct arenas *arenas, collections_tell tell,
                          void *context);

#endif
