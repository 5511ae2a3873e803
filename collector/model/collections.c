#include "collector/model/collections.h"

#include <stdlib.h>
#include <string.h>

#include "include/xalloc.h"

enum { MOST_WAITING = 16384 };

void
collections_finish(struct collections *collections)
{
    free(collections->waiting);
    *collections = (struct collections){0};
}

bool
collections_are_full(const struct collections *collections)
{
    return collections->n >= MOST_WAITING;
}

void
collections_add(struct collections *collections, const struct collection *one)
{
    XGROW(collections->waiting, collections->capacity, collections->n);
    collections->waiting[collections->n++] = *one;
}

static int64_t
count_at(const struct arenas *arenas, uint64_t stamp)
{
    size_t n;
    return arenas != NULL && stamp != 0 && arenas_count_at(arenas, stamp, &n)
               ? (int64_t)n
               : COLLECTION_UNKNOWN;
}

static void
hand_on(struct collections *collections, size_t n, const struct arenas *arenas,
        collections_tell tell, void *context)
{
    for (size_t i = 0; i < n; i++) {
        struct collection *one = &collections->waiting[i];
        one->arenas_before = count_at(arenas, one->start_stamp);
        one->arenas_after = count_at(arenas, one->end_stamp);
        tell(context, one);
    }
    collections->n -= n;
    if (collections->n != 0)
        memmove(collections->waiting, &collections->waiting[n],
                collections->n * sizeof(collections->waiting[0]));
}

void
collections_pass(struct collections *collections, const struct arenas *arenas,
                 collections_tell tell, void *context)
{
    hand_on(collections, collections->n_ripe, arenas, tell, context);
    collections->n_ripe = collections->n;
}

void
collections_pass_all(struct collections *collections,
                     const struct arenas *arenas, collections_tell tell,
                     void *context)
{
    hand_on(collections, collections->n, arenas, tell, context);
    collections->n_ripe = 0;
}
