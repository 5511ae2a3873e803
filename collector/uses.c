#include "collector/uses.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "include/recording.h"
#include "include/xalloc.h"

/* Those that hold most first, then those that had most. */
static int
compare_weight(const void *left, const void *right)
{
    const struct sites_use *a = left;
    const struct sites_use *b = right;
    if (a->live_bytes != b->live_bytes)
        return a->live_bytes < b->live_bytes ? 1 : -1;
    return (a->alloc_bytes < b->alloc_bytes) -
           (a->alloc_bytes > b->alloc_bytes);
}

/* What is not exact has one of 1 at least. */
static int64_t
error_of(uint64_t live, double live_variance, uint64_t alloc,
         double alloc_variance)
{
    const struct samples_estimate of_live = {(double)live, live_variance};
    const struct samples_estimate of_alloc = {(double)alloc, alloc_variance};
    return (int64_t)ceil(samples_error(&of_live, &of_alloc));
}

static struct recording_use
use_of(const struct sites_use *known)
{
    return (struct recording_use){
        .site = known->site,
        .live_blocks = (int64_t)known->live_blocks,
        .live_bytes = (int64_t)known->live_bytes,
        .alloc_blocks = (int64_t)known->alloc_blocks,
        .alloc_bytes = (int64_t)known->alloc_bytes,
        .live_blocks_error =
            error_of(known->live_blocks, known->live_blocks_variance,
                     known->alloc_blocks, known->alloc_blocks_variance),
        .live_bytes_error =
            error_of(known->live_bytes, known->live_bytes_variance,
                     known->alloc_bytes, known->alloc_bytes_variance),
        .alloc_blocks_error =
            error_of(known->alloc_blocks, known->alloc_blocks_variance,
                     known->alloc_blocks, known->alloc_blocks_variance),
        .alloc_bytes_error =
            error_of(known->alloc_bytes, known->alloc_bytes_variance,
                     known->alloc_bytes, known->alloc_bytes_variance),
    };
}

/* Those that are too many are added to the last that is not. */
static void
fold(struct sites_use *known, size_t n)
{
    qsort(known, n, sizeof(*known), compare_weight);
    for (size_t i = RECORDING_MOST_USES; i < n; i++)
        sites_add(&known[RECORDING_MOST_USES - 1], &known[i]);
}

struct recording_use *
uses_of(const struct sites_use *known, size_t n_known, size_t *n)
{
    const bool is_folded = n_known > RECORDING_MOST_USES;
    struct sites_use *kept = xcalloc(n_known + 1, sizeof(*kept));
    if (n_known != 0)
        memcpy(kept, known, n_known * sizeof(*kept));
    if (is_folded)
        fold(kept, n_known);
    *n = is_folded ? RECORDING_MOST_USES : n_known;
    struct recording_use *uses = xcalloc(*n + 1, sizeof(*uses));
    for (size_t i = 0; i < *n; i++)
        uses[i] = use_of(&kept[i]);
    if (is_folded)
        uses[*n - 1].site = RECORDING_SITE_OTHER;
    free(kept);
    return uses;
}
