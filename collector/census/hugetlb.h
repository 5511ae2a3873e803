/*
 * hugetlb.h - memory that is taken from the kernel's pool of huge pages
 *
 * Such pages are in no process' RSS, yet a scan reports them as it does any
 * others. Only smaps tells them apart for certain, and that is dear: it is read
 * only where a mapping looks like one of theirs.
 */
#ifndef COLLECTOR_CENSUS_HUGETLB_H
#define COLLECTOR_CENSUS_HUGETLB_H

#include <stddef.h>
#include <stdint.h>

#include "collector/census/maps.h"
#include "collector/census/memory.h"

struct hugetlb_range {
    uint64_t start;
    uint64_t end;
};

struct hugetlb {
    struct hugetlb_range *ranges; /* ascending */
    size_t n_ranges;
    size_t capacity;
};

/* Those of a target; hugetlb_finish frees them. */
struct hugetlb hugetlb_find(struct memory *memory, const struct maps *maps,
                            const struct memory_runs *runs);
void hugetlb_finish(struct hugetlb *hugetlb);

/* The mappings that smaps' text says are of the pool. */
struct hugetlb hugetlb_parse(char *smaps);

/* Takes their pages out of the runs; returns the resident bytes of these. */
uint64_t hugetlb_leave_out(const struct hugetlb *hugetlb,
                           struct memory_runs *runs);

#endif
