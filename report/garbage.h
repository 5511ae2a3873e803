/*
 * garbage.h - what waited for the collector of cycles, by type
 *
 * An interpreter says of a collection how many objects it freed, and not which.
 * The two nearest censuses with all types, the last before and the first after,
 * say which types had fewer objects then. What both agree on is told: never
 * more objects than were collected.
 *
 * Of all that censuses count the collector frees containers alone; types that
 * it never counts (ints, strings, blocks that are no objects) are left out,
 * though some go with a container. Bytes are those of the objects' own blocks,
 * in arenas: a garbage list's table and a large object are not among them.
 *
 * The error is a bound under one condition: that no objects of the types named
 * died in another way while as many others of the garbage's types were born.
 * Of that two censuses show nothing.
 */
#ifndef REPORT_GARBAGE_H
#define REPORT_GARBAGE_H

#include <stddef.h>
#include <stdint.h>

#include "report/query/query.h"

struct garbage_type {
    char *name; /* owned */
    int64_t count;
    int64_t bytes;
};

struct garbage {
    struct query_collection collection;
    int64_t before_us; /* of the two censuses */
    int64_t after_us;
    int64_t objects;       /* of those that were collected, so many by type */
    int64_t objects_error; /* how many of the collected may be of other types */
    int64_t bytes;
    int64_t bytes_error;        /* unknown: nothing can be said */
    struct garbage_type *types; /* most bytes first */
    size_t n_types;
};

enum {
    GARBAGE_MOST = 10,
    GARBAGE_LEAST_COLLECTED = 100, /* fewer are lost in what else goes on */
};

/*
 * The collections that freed most, at most GARBAGE_MOST, of those between the
 * same two censuses only the largest; none where no two are around it. The
 * caller frees them with garbage_free.
 */
struct garbage *garbage_of(struct query *query,
                           const struct query_process *process, size_t *n);
void garbage_free(struct garbage *all, size_t n);

#endif
