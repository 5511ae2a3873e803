/*
 * claims.h - who claims which range of a target's addresses
 *
 * A layer is a sorted list of ranges that do not overlap; a higher layer wins
 * over a lower one. Resident pages are then dealt out by the finished list, so
 * that each of them has one cause and the causes add up to RSS.
 */
#ifndef COLLECTOR_CENSUS_CLAIMS_H
#define COLLECTOR_CENSUS_CLAIMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/census/memory.h"
#include "include/recording.h"

enum {
    CLAIM_ARENA = N_CAUSES, /* dealt out by its pools, not here */
    CLAIM_IMAGE,            /* a private file mapping: by page, copied or not */
};

struct claim {
    uint64_t start;
    uint64_t end;
    int cause; /* enum recording_cause, or one of the above */
};

struct claims {
    struct claim *claims;
    size_t n_claims;
    size_t capacity;
};

void claims_add(struct claims *claims, uint64_t start, uint64_t end, int cause);
void claims_finish(struct claims *claims);

/* Sorts a layer that was not added in order. Overlaps: the first stays. */
void claims_sort(struct claims *layer);

/*
 * Puts a sorted layer over the claims. A claim of the layer shows only where
 * the lower one has the cause `over`; -1: everywhere below it.
 */
void claims_cover(struct claims *claims, const struct claims *layer, int over);

/* Whether all of [start, end) is claimed for this cause. */
bool claims_are(const struct claims *claims, uint64_t start, uint64_t end,
                int cause);

/*
 * Adds the resident bytes of each run to its claim's cause; what nobody claims
 * is unexplained. Arenas are left out: returns their resident bytes.
 */
uint64_t claims_deal(const struct claims *claims,
                     const struct memory_runs *runs, uint64_t ledger[N_CAUSES]);

#endif
