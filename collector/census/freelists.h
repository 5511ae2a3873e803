/*
 * freelists.h - what the interpreter's free lists hold
 *
 * Every list of the version is taken as the interpreter has it (residents.h),
 * from static variables (statics.h) or from the state of each interpreter,
 * which the runtime leads to. A state is laid out as the version's builds are
 * known to lay it out; where that shows no lists, they are looked for close by,
 * since a later micro version may have put a member before them.
 *
 * A list that is not believed is tried again, and then is unknown: it is not
 * reported, and what it holds stays live. The ledger's cause is known only if
 * every list is.
 */
#ifndef COLLECTOR_CENSUS_FREELISTS_H
#define COLLECTOR_CENSUS_FREELISTS_H

#include "collector/census/maps.h"
#include "collector/census/memory.h"
#include "collector/census/request.h"
#include "collector/census/result.h"
#include "collector/census/typetable.h"

/* Fills in the census' never_returned, once its arenas are read. */
void freelists_read(struct memory *memory, const struct census_request *request,
                    const struct maps *maps, const struct memory_runs *runs,
                    struct typetable *table,
                    const struct census_patience *patience,
                    struct census *census);

/* The index of the first resident at addr or behind. */
size_t freelists_first_resident(const struct census_never_returned *never,
                                uint64_t addr);

/*
 * Moves the residents' bytes in the ledger from python_live to
 * python_never_returned, which is known from then on. Only if all lists are
 * known; and if nothing else of that cause is still to be found.
 */
void freelists_deal(struct census *census);

#endif
