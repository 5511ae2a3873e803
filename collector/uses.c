#include "collector/uses.h"

#include <math.h>
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

/* Of independent figures' sum. */
static int64_t
joint_error(int64_t a, int64_t b)
{
    return llround(hypot((double)a, (double)b));
}

static void
add(struct recording_use *sum, const struct recording_use *use)
{
    sum->live_blocks += use->live_blocks;
    sum->live_bytes += use->live_bytes;
    sum->alloc_blocks += use->alloc_blocks;
    sum->alloc_bytes += use->alloc_bytes;
    sum->live_blocks_error =
        joint_error(sum->live_blocks_error, use->live_blocks_error);
    sum->live_bytes_error =
        joint_error(sum->live_bytes_error, use->live_bytes_error);
    sum->alloc_blocks_error =
        joint_error(sum->alloc_blocks_error, use->alloc_blocks_error);
    sum->alloc_bytes_error =
        joint_error(sum->alloc_bytes_error, use->alloc_bytes_error);
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
    for (size_t i = RECORDING_MOST_USES; i < n; i++)
        add(other, &uses[i]);
    return RECORDING_MOST_USES;
}

/* What is not exact has one of 1 at least. */
static int64_t
error_of(uint64_t total, double variance)
{
    return (int64_t)ceil(samples_error((double)total, variance));
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
            .live_blocks_error =
                error_of(known[i].live_blocks, known[i].live_blocks_variance),
            .live_bytes_error =
                error_of(known[i].live_bytes, known[i].live_bytes_variance),
            .alloc_blocks_error =
                error_of(known[i].alloc_blocks, known[i].alloc_blocks_variance),
            .alloc_bytes_error =
                error_of(known[i].alloc_bytes, known[i].alloc_bytes_variance),
        };
    *n = cap_uses(uses, n_known);
    return uses;
}
