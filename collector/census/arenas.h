/*
 * arenas.h - the arenas of pymalloc, by the headers of their pools
 *
 * Reads 48 bytes a pool and says, for every arena, what of its resident pages
 * is live, holes, free pools or overhead; and for every size class what
 * sys._debugmallocstats() would say.
 */
#ifndef COLLECTOR_CENSUS_ARENAS_H
#define COLLECTOR_CENSUS_ARENAS_H

#include "collector/census/claims.h"
#include "collector/census/memory.h"
#include "collector/census/request.h"
#include "collector/census/result.h"

/*
 * Fills in the census' arenas and classes, adds the arenas' resident bytes to
 * its ledger, and adds to layer what may be dealt out by others no more: the
 * arenas, and the chunks of data stacks. A candidate without a pool is neither,
 * nor is one that does not lie in memory which `claims` leaves unexplained.
 */
void arenas_read(struct memory *memory, const struct census_request *request,
                 const struct memory_runs *runs, const struct claims *claims,
                 const struct census_patience *patience, struct census *census,
                 struct claims *layer);

/*
 * The end of a data stack's chunk (include/cpython.h) that begins at an
 * address, up to limit; 0: there is none.
 */
uint64_t arenas_stack_chunk_end(struct memory *memory,
                                const struct memory_runs *runs, uint64_t at,
                                uint64_t limit);

/* The pool size that goes with an arena's. */
uint32_t arenas_pool_bytes(uint64_t arena_bytes);

#endif
