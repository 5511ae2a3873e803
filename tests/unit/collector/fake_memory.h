/*
 * fake_memory.h - a memory with no target behind it
 *
 * Regions of bytes at any addresses, each page of which is resident, swapped or
 * absent. For tests that must lay out every byte, and change some between two
 * reads. It defines the functions of collector/census/memory.h itself: a test
 * that links it has no other memory.
 */
#ifndef TESTS_UNIT_COLLECTOR_FAKE_MEMORY_H
#define TESTS_UNIT_COLLECTOR_FAKE_MEMORY_H

#include "collector/census/memory.h"

enum fake_page { FAKE_RESIDENT, FAKE_SWAPPED, FAKE_ABSENT, FAKE_HUGE };

enum { FAKE_MOST_REGIONS = 8 };

struct fake_region {
    uint64_t start;
    uint64_t n_bytes;
    char *bytes;
    enum fake_page *pages;
};

struct memory {
    struct fake_region regions[FAKE_MOST_REGIONS];
    size_t n_regions;
    uint64_t bytes_read;
    unsigned n_reads;
    unsigned n_scans;
    unsigned n_bad_reads; /* of pages that are not resident */
    const char *maps;     /* as the kernel would list them; NULL: not at all */
    /* Called behind each scan, if set. */
    void (*on_scan)(struct memory *memory);
    /* Called before each read, if set. */
    void (*on_read)(struct memory *memory, uint64_t addr, size_t n_bytes);
    void *context;
};

/*
 * Zeroed bytes at a multiple of MEMORY_PAGE, all resident, above the regions
 * that are there. The caller frees the memory by fake_memory_finish alone.
 */
char *fake_memory_add(struct memory *memory, uint64_t start, uint64_t n_bytes);
void fake_memory_finish(struct memory *memory);

/* What the pages of [start, end) are from now on. */
void fake_memory_set(struct memory *memory, uint64_t start, uint64_t end,
                     enum fake_page is);

/* Its bytes at an address that it has. */
char *fake_memory_at(const struct memory *memory, uint64_t addr);
void fake_memory_put(struct memory *memory, uint64_t addr, uint64_t word);

/* A scan of all of it. */
struct memory_runs fake_memory_runs(struct memory *memory);

#endif
