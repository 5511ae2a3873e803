#include "collector/census/claims.h"

#include <stdlib.h>

#include "include/xalloc.h"

void
claims_add(struct claims *claims, uint64_t start, uint64_t end, int cause)
{
    if (start >= end)
        return;
    XGROW(claims->claims, claims->capacity, claims->n_claims);
    claims->claims[claims->n_claims++] = (struct claim){start, end, cause};
}

void
claims_finish(struct claims *claims)
{
    free(claims->claims);
    *claims = (struct claims){0};
}

static int
compare_starts(const void *left, const void *right)
{
    const struct claim *a = left;
    const struct claim *b = right;
    return (a->start > b->start) - (a->start < b->start);
}

void
claims_sort(struct claims *layer)
{
    if (layer->n_claims == 0)
        return;
    qsort(layer->claims, layer->n_claims, sizeof(layer->claims[0]),
          compare_starts);
    size_t kept = 1;
    for (size_t i = 1; i < layer->n_claims; i++) {
        struct claim claim = layer->claims[i];
        const uint64_t floor = layer->claims[kept - 1].end;
        if (claim.start < floor)
            claim.start = floor;
        if (claim.start < claim.end)
            layer->claims[kept++] = claim;
    }
    layer->n_claims = kept;
}

/* One lower claim with the parts of the layer that lie over it. */
static void
cover_one(struct claims *result, struct claim below, const struct claims *layer,
          size_t at)
{
    for (; at < layer->n_claims && layer->claims[at].start < below.end; at++) {
        const struct claim *above = &layer->claims[at];
        const uint64_t from =
            above->start > below.start ? above->start : below.start;
        const uint64_t to = above->end < below.end ? above->end : below.end;
        if (from >= to)
            continue;
        claims_add(result, below.start, from, below.cause);
        claims_add(result, from, to, above->cause);
        below.start = to;
    }
    claims_add(result, below.start, below.end, below.cause);
}

void
claims_cover(struct claims *claims, const struct claims *layer, int over)
{
    struct claims result = {0};
    size_t at = 0;
    for (size_t i = 0; i < claims->n_claims; i++) {
        const struct claim below = claims->claims[i];
        while (at < layer->n_claims && layer->claims[at].end <= below.start)
            at++;
        if (over == -1 || below.cause == over)
            cover_one(&result, below, layer, at);
        else
            claims_add(&result, below.start, below.end, below.cause);
    }
    claims_finish(claims);
    *claims = result;
}

bool
claims_are(const struct claims *claims, uint64_t start, uint64_t end, int cause)
{
    size_t low = 0;
    size_t high = claims->n_claims;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (claims->claims[middle].end <= start)
            low = middle + 1;
        else
            high = middle;
    }
    for (; start < end; low++) {
        if (low == claims->n_claims || claims->claims[low].start > start ||
            claims->claims[low].cause != cause)
            return false;
        start = claims->claims[low].end;
    }
    return true;
}

/* What a claim's page is counted under. */
static int
cause_of(const struct claim *claim, const struct memory_run *run)
{
    if (claim->cause == CLAIM_IMAGE)
        return run->is_file ? CAUSE_file : CAUSE_image_private;
    return claim->cause;
}

uint64_t
claims_deal(const struct claims *claims, const struct memory_runs *runs,
            uint64_t ledger[N_CAUSES])
{
    uint64_t arena_bytes = 0;
    size_t at = 0;
    for (size_t i = 0; i < runs->n_runs; i++) {
        const struct memory_run *run = &runs->runs[i];
        if (run->is_swapped)
            continue;
        while (at < claims->n_claims && claims->claims[at].end <= run->start)
            at++;
        uint64_t start = run->start;
        for (size_t j = at;
             j < claims->n_claims && claims->claims[j].start < run->end; j++) {
            const struct claim *claim = &claims->claims[j];
            const uint64_t from = claim->start > start ? claim->start : start;
            const uint64_t to = claim->end < run->end ? claim->end : run->end;
            ledger[CAUSE_unexplained] += from - start;
            const int cause = cause_of(claim, run);
            if (cause == CLAIM_ARENA)
                arena_bytes += to - from;
            else
                ledger[cause] += to - from;
            start = to;
        }
        ledger[CAUSE_unexplained] += run->end - start;
    }
    return arena_bytes;
}
