/*
 * statics.h - where an interpreter's image keeps the heads of its free lists
 *
 * To 3.9 heads and counts are static variables, which a stripped image does not
 * name. But a list that is not empty has its head somewhere in the image's
 * written data, and that word points to a dead object of the list's type; its
 * count stands close by. So each word is looked at: a list to whose residents
 * none points is empty, and one is found where head and count agree.
 */
#ifndef COLLECTOR_CENSUS_STATICS_H
#define COLLECTOR_CENSUS_STATICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/census/maps.h"
#include "collector/census/memory.h"
#include "collector/census/residents.h"

enum statics_verdict {
    STATICS_UNKNOWN, /* none of the places, or more than one, makes sense */
    STATICS_EMPTY,
    STATICS_FOUND,
};

struct statics_place {
    enum statics_verdict verdict;
    uint64_t head; /* the first */
    uint64_t count;
};

/*
 * Where each of the version's lists is, in the image whose text holds addr. All
 * are unknown if a page of its data is in swap.
 */
void statics_find(struct residents *residents, struct memory *memory,
                  const struct maps *maps, const struct memory_runs *runs,
                  uint64_t addr, struct statics_place *places);

#endif
