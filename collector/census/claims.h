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
#include "collector/census/result.h"
#include "include/recording.h"

enum {
    CLAIM_DEALT = N_CAUSES, /* by its pools or chunks, not here */
    CLAIM_IMAGE,            /* a private file mapping: by page, copied or not */
};

struct claim {
    uint64_t start;
    uint64_t end;
    int cause; /* enum recording_cause, or one of the above */
    enum recording_proof proof;
    uint64_t address; /* of what claims it */
};

struct claims {
    struct claim *claims;
    size_t n_claims;
    size_t capacity;
};

/* An empty one is left out. */
void claims_add(struct claims *claims, struct claim claim);
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

/* How far from start on, up to end, all is claimed for this cause. */
uint64_t claims_reach(const struct claims *claims, uint64_t start, uint64_t end,
                      int cause);

/* The first address from start on that nobody claims; end: there is none. */
uint64_t claims_next_free(const struct claims *claims, uint64_t start,
                          uint64_t end);

/* Where the last stretch of [start, end) begins that nobody claims. */
uint64_t claims_free_from(const struct claims *claims, uint64_t start,
                          uint64_t end);

/*
 * Deals the resident bytes of each run to its claim's cause; what nobody claims
 * is unexplained. Returns the resident bytes of what is dealt elsewhere.
 */
uint64_t claims_deal(const struct claims *claims,
                     const struct memory_runs *runs, struct census *census);

#endif
