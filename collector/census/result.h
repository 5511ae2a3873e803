/*
 * result.h - what a census found
 */
#ifndef COLLECTOR_CENSUS_RESULT_H
#define COLLECTOR_CENSUS_RESULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "include/cpython.h"
#include "include/recording.h"

/* The most pools that an arena of any version has. */
enum { CENSUS_MOST_POOLS = CPYTHON_HUGE_ARENA / CPYTHON_LARGE_POOL };

struct census_arena {
    uint64_t address;
    uint64_t n_bytes;
    uint64_t born_us;
    uint64_t resident_bytes;
    uint64_t live_bytes; /* of blocks in use, on resident pages */
    uint64_t used_bytes; /* of blocks in use, all of them */
    uint64_t hole_bytes; /* resident, of free blocks in used pools */
    uint32_t pool_bytes;
    uint32_t n_pools;      /* that fit */
    uint32_t n_free_pools; /* without a block in use, carved or not */
    uint32_t n_used_blocks;
    bool is_used[CENSUS_MOST_POOLS]; /* pools with a block in use */
    bool is_low;                     /* not empty, and occupancy under 25 % */
    bool is_pinned; /* low, has been full, and has long been low */
};

struct census_class {
    uint64_t n_pools;
    uint64_t n_used;
    uint64_t n_free;
};

struct census_type {
    char *name; /* owned; "(raw)" and "(free list)" are no types */
    uint64_t n_objects;
    uint64_t n_bytes; /* of their blocks */
    uint64_t held_exclusive;
    uint64_t held_split;
    uint64_t exclusive_bytes;  /* of its blocks in arenas that it holds alone */
    uint64_t pinned_exclusive; /* the part of the former in pinned arenas */
    uint64_t pinned_split;
    uint64_t pinned_bytes; /* of its blocks there */
    uint64_t n_pinned;
};

struct census {
    enum recording_census_kind kind;
    bool is_read;       /* false: the target could not be read, all else is 0 */
    bool is_whole;      /* the ledger and the classes: patience held */
    bool has_types;     /* and so are the types */
    bool has_low_types; /* or at least those of the low arenas */
    uint64_t ledger[N_CAUSES];
    bool is_unknown[N_CAUSES]; /* not implemented: null, and unexplained */
    uint64_t rss_bytes;
    int64_t skew_bytes;
    uint64_t swap_bytes;
    uint64_t anon_huge_bytes;
    uint64_t in_swap_bytes; /* of arenas */
    uint64_t n_torn;        /* pools */
    struct census_arena *arenas;
    size_t n_arenas;
    struct census_class classes[CPYTHON_N_CLASSES]; /* by size / 8 - 1 */
    struct census_type *types;                      /* most bytes first */
    size_t n_types;
    uint64_t started_us; /* CLOCK_MONOTONIC */
    uint64_t took_us;
    uint64_t cpu_us;
    uint64_t ledger_cpu_us; /* of it, before the types were read */
    uint64_t read_bytes;
};

#endif
