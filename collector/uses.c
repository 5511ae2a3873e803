#include "collector/uses.h"

#include <stdlib.h>

#include "include/recording.h"
#include "include/xalloc.h"

/* Those that hold most first, then those that had most. */
static int
compare_weight(const void *left, const void *right)
{
    const struct recording_use *a = left;
    const struct recording_use *b = right;
    if (a->live_bytes != b->live_bytes)
        return a->live_bytes < b->live_bytes ? 1 : -1;
    return (a->alloc_bytes < b->alloc_bytes) -
           (a->alloc_bytes > b->alloc_bytes);
}

/* Those that are too many become one. */
static size_t
cap_uses(struct recording_use *uses, size_t n)
{
    if (n <= RECORDING_MOST_USES)
        return n;
    qsort(uses, n, sizeof(*uses), compare_weight);
    struct recording_use *other = &uses[RECORDING_MOST_USES - 1];
    other->site = RECORDING_SITE_OTHER;
    for (size_t i = RECORDING_MOST_USES; i < n; i++) {
        other->live_blocks += uses[i].live_blocks;
        other->live_bytes += uses[i].live_bytes;
        other->alloc_blocks += uses[i].alloc_blocks;
        other->alloc_bytes += uses[i].alloc_bytes;
    }
    return RECORDING_MOST_USES;
}

struct recording_use *
uses_of(const struct sites_use *known, size_t n_known, size_t *n)
{
    struct recording_use *uses = xcalloc(n_known, sizeof(*uses));
    for (size_t i = 0; i < n_known; i++)
        uses[i] = (struct recording_use){
            .site = known[i].site,
            .live_blocks = (int64_t)known[i].live_blocks,
            .live_bytes = (int64_t)known[i].live_bytes,
            .alloc_blocks = (int64_t)known[i].alloc_blocks,
            .alloc_bytes = (int64_t)known[i].alloc_bytes,
        };
    *n = cap_uses(uses, n_known);
    return uses;
}
