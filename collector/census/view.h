/*
 * view.h - which pages a target has at a moment, and in which mappings
 *
 * The first step of a census, and a short one. What the loop learns from the
 * stream after it is newer than these pages: of each of them the stream has
 * told by then who made its mapping.
 */
#ifndef COLLECTOR_CENSUS_VIEW_H
#define COLLECTOR_CENSUS_VIEW_H

#include <stdint.h>

#include "collector/census/hugetlb.h"
#include "collector/census/maps.h"
#include "collector/census/memory.h"

struct view {
    struct maps maps;
    struct memory_runs runs; /* empty: the target could not be looked at */
    struct hugetlb hugetlb;  /* which are not among the runs */
    uint64_t hugetlb_bytes;  /* of their resident pages */
    uint64_t seen_ns;        /* CLOCK_MONOTONIC, before the first look */
    uint64_t cpu_us;
};

/* Never NULL. Destroying NULL is a no-op. */
struct view *view_take(struct memory *memory);
void view_destroy(struct view *view);

#endif
