/*
 * types.h - what the live blocks of pymalloc are, by their objects' types
 *
 * Reads whole arenas, the low ones first, and asks of each live block whether
 * it is an object: whether one of its first words points to something that is a
 * type all the way up to `type`. What is none is "(raw)"; what is on a free
 * list, or an object without references, is "(free list)".
 */
#ifndef COLLECTOR_CENSUS_TYPES_H
#define COLLECTOR_CENSUS_TYPES_H

#include <stdbool.h>
#include <stdint.h>

#include "collector/census/memory.h"
#include "collector/census/objects.h"
#include "collector/census/request.h"
#include "collector/census/result.h"
#include "collector/census/typetable.h"

struct types;

/*
 * All must outlive it. The seed decides which arenas are a sample where there
 * is no time for all. Never NULL.
 */
struct types *types_create(struct memory *memory,
                           const struct memory_runs *runs,
                           struct objects *objects, struct census *census,
                           uint64_t seed);

struct types_limits {
    const struct census_patience *patience;
    bool only_low;      /* arenas under 25 %, and empty ones */
    uint64_t budget_us; /* of CPU for the others; 0: as long as it takes */
};

/* Goes on where it stopped, until all is read or a limit is reached. */
void types_read(struct types *types, const struct types_limits *limits);

/*
 * The census gets the types and what they hold, how far it came, and estimates
 * of what it did not come to. NULL is a no-op.
 */
void types_finish(struct types *types);

#endif
