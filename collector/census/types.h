/*
 * types.h - what the live blocks of pymalloc are, by their objects' types
 *
 * Reads whole arenas, the emptiest first, and asks of each live block whether
 * it is an object: whether one of its first words points to something that is a
 * type all the way up to `type`. What is none is "(raw)"; an object without
 * references is on a free list, "(free list)".
 */
#ifndef COLLECTOR_CENSUS_TYPES_H
#define COLLECTOR_CENSUS_TYPES_H

#include "collector/census/maps.h"
#include "collector/census/memory.h"
#include "collector/census/request.h"
#include "collector/census/result.h"

/*
 * Fills in the census' types and what they hold of its arenas. Stops where
 * patience ends, and says so in the census.
 */
void types_read(struct memory *memory, const struct census_request *request,
                const struct maps *maps, const struct memory_runs *runs,
                const struct census_patience *patience, struct census *census);

#endif
