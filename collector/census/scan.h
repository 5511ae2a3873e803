/*
 * scan.h - the arenas of pymalloc in a target that told nobody of them
 *
 * A pool describes itself (pool.h), so its header is known wherever it lies;
 * pools of one index within an arena's size are one arena. What proves it is
 * its entry in the interpreter's own table of arenas, which is known by what it
 * must say of these pools, and which gives the exact extent. Only where not one
 * entry can be found (the table is in swap) a list of free blocks is proof
 * enough, and the extent is inferred.
 *
 * No symbols, no help from the target; what is not resident is not read.
 */
#ifndef COLLECTOR_CENSUS_SCAN_H
#define COLLECTOR_CENSUS_SCAN_H

#include <stddef.h>

#include "collector/census/maps.h"
#include "collector/census/memory.h"
#include "collector/census/request.h"

struct scan_result {
    struct census_candidate *candidates; /* ascending; the caller frees */
    size_t n_candidates;
    size_t n_inferred; /* of them, whose extent has no proof */
};

/*
 * The request's own candidates are those that an earlier census found: one that
 * is found again keeps its history.
 */
struct scan_result scan_arenas(struct memory *memory, const struct maps *maps,
                               const struct memory_runs *runs,
                               const struct census_request *request);

#endif
