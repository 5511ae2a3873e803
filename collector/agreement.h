/*
 * agreement.h - whether what was told of objects is what a census found
 *
 * The stream and the heap are two witnesses of the object allocator's blocks in
 * use. At a quiet moment they say the same, address by address and size by
 * size.
 */
#ifndef COLLECTOR_AGREEMENT_H
#define COLLECTOR_AGREEMENT_H

#include "collector/census/result.h"
#include "collector/model/livemap.h"
#include "collector/rows.h"

/* What the map knows of objects. */
struct recording_objects agreement_told(const struct livemap *map);

/*
 * Where the census has a list of all its blocks in use: how many, and of how
 * many only one of both knows. A block of another size is one that only the
 * census has, and one that was told only.
 */
void agreement_find(struct recording_objects *objects,
                    const struct livemap *map, const struct census *census);

#endif
