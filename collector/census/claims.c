#include "collector/census/claims.h"

#include <stdlib.h>

#include "collector/census/deal.h"
#include "include/xalloc.h"

void
claims_add(struct claims *claims, struct claim claim)
{
    if (claim.start >= claim.end)
        return;
    XGROW(claims->claims, claims->capacity, claims->n_claims);
    claims->claims[claims->n_claims++] = claim;
}

/* The part of a claim that lies in [start, end). */
static void
add_part(struct claims *claims, struct claim claim, uint64_t start,
         uint64_t end)
{
    claim.start = start;
    claim.end = end;
    claims_add(claims, claim);
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
        add_part(result, below, below.start, from);
        add_part(result, *above, from, to);
        below.start = to;
    }
    claims_add(result, below);
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
            claims_add(&result, below);
    }
    claims_finish(claims);
    *claims = result;
}

/* The first claim that ends behind an address. */
static size_t
first_behind(const struct claims *claims, uint64_t addr)
{
    size_t low = 0;
    size_t high = claims->n_claims;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (claims->claims[middle].end <= addr)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

uint64_t
claims_reach(const struct claims *claims, uint64_t start, uint64_t end,
             int cause)
{
    for (size_t i = first_behind(claims, start); start < end; i++) {
        if (i == claims->n_claims || claims->claims[i].start > start ||
            claims->claims[i].cause != cause)
            return start;
        start = claims->claims[i].end;
    }
    return end;
}

uint64_t
claims_next_free(const struct claims *claims, uint64_t start, uint64_t end)
{
    for (size_t i = first_behind(claims, start); i < claims->n_claims; i++) {
        const struct claim *claim = &claims->claims[i];
        if (claim->start >= end)
            break;
        if (claim->cause == CAUSE_unexplained)
            return claim->start > start ? claim->start : start;
    }
    return end;
}

bool
claims_are(const struct claims *claims, uint64_t start, uint64_t end, int cause)
{
    return claims_reach(claims, start, end, cause) == end;
}

uint64_t
claims_free_from(const struct claims *claims, uint64_t start, uint64_t end)
{
    for (size_t i = 0; i < claims->n_claims; i++) {
        const struct claim *claim = &claims->claims[i];
        if (claim->cause != CAUSE_unexplained && claim->start < end &&
            claim->end > start)
            start = claim->end;
    }
    return start < end ? start : end;
}

/* What a claim's pages are counted under. */
static struct census_proof
piece_of(const struct claim *claim, const struct memory_run *run, uint64_t from,
         uint64_t to)
{
    struct census_proof piece = {
        .start = from,
        .end = to,
        .n_bytes = to - from,
        .address = claim->address,
        .cause = (enum recording_cause)claim->cause,
        .proof = claim->proof,
    };
    if (claim->cause == CLAIM_IMAGE) {
        piece.cause = run->is_file ? CAUSE_file : CAUSE_image_private;
        piece.proof = run->is_file ? PROOF_file : PROOF_image;
    } else if (claim->cause == CAUSE_unexplained) {
        piece.proof = N_PROOFS;
        piece.address = 0;
    }
    return piece;
}

static void
deal_unexplained(struct census *census, uint64_t from, uint64_t to)
{
    if (from < to)
        deal(census, &(struct census_proof){
                         .start = from,
                         .end = to,
                         .n_bytes = to - from,
                         .cause = CAUSE_unexplained,
                         .proof = N_PROOFS,
                     });
}

/* One run, of which the claim at index `at` is the first that may reach it. */
static uint64_t
deal_run(const struct claims *claims, size_t at, const struct memory_run *run,
         struct census *census)
{
    uint64_t dealt_elsewhere = 0;
    uint64_t start = run->start;
    for (; at < claims->n_claims && claims->claims[at].start < run->end; at++) {
        const struct claim *claim = &claims->claims[at];
        const uint64_t from = claim->start > start ? claim->start : start;
        const uint64_t to = claim->end < run->end ? claim->end : run->end;
        deal_unexplained(census, start, from);
        if (claim->cause == CLAIM_DEALT) {
            dealt_elsewhere += to - from;
        } else {
            const struct census_proof piece = piece_of(claim, run, from, to);
            deal(census, &piece);
        }
        start = to;
    }
    deal_unexplained(census, start, run->end);
    return dealt_elsewhere;
}

uint64_t
claims_deal(const struct claims *claims, const struct memory_runs *runs,
            struct census *census)
{
    uint64_t dealt_elsewhere = 0;
    size_t at = 0;
    for (size_t i = 0; i < runs->n_runs; i++) {
        const struct memory_run *run = &runs->runs[i];
        if (run->is_swapped)
            continue;
        while (at < claims->n_claims && claims->claims[at].end <= run->start)
            at++;
        dealt_elsewhere += deal_run(claims, at, run, census);
    }
    return dealt_elsewhere;
}
