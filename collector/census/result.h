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

/*
 * Where types were sampled, objects and bytes are estimates; their errors are
 * one standard error. What is said of low and pinned arenas is always exact.
 */
struct census_type {
    char *name; /* owned; what is in parentheses is no type */
    uint64_t n_objects;
    uint64_t n_bytes; /* of their blocks */
    uint64_t objects_error;
    uint64_t bytes_error;
    uint64_t held_exclusive;
    uint64_t held_split;
    uint64_t exclusive_bytes;  /* of its blocks in arenas that it holds alone */
    uint64_t pinned_exclusive; /* the part of the former in pinned arenas */
    uint64_t pinned_split;
    uint64_t pinned_bytes; /* of its blocks there */
    uint64_t n_pinned;
    uint64_t low_held; /* the same in low arenas, pinned or not */
    uint64_t low_bytes;
    uint64_t n_low;
};

/*
 * A heap of glibc's malloc, or all mmapped chunks. Bytes of chunks are those of
 * their blocks, resident or not; what is held is resident.
 */
struct census_heap {
    enum recording_heap_kind kind;
    uint64_t address; /* 0: mmapped chunks */
    uint64_t n_bytes; /* of its memory, without what it may grow into */
    uint64_t resident_bytes;
    uint64_t n_chunks; /* in use */
    uint64_t live_bytes;
    uint64_t n_free; /* on bins, and the top */
    uint64_t free_bytes;
    uint64_t n_cached; /* in tcaches and fastbins */
    uint64_t cached_bytes;
    uint64_t trimmable_bytes;   /* resident free pages */
    uint64_t page_pinned_bytes; /* resident free bytes beside live ones */
    uint64_t trim_gain_bytes;   /* what malloc_trim(0) would give back */
    uint64_t n_torn;
    bool is_torn; /* what follows the last chunk is unexplained */
};

/* Anonymous mappings that one module made. */
struct census_module {
    char *name; /* owned */
    uint64_t n_mappings;
    uint64_t n_bytes;
    uint64_t resident_bytes;
};

/* A piece of the ledger: n_bytes of [start, end) have this cause. */
struct census_proof {
    uint64_t start;
    uint64_t end;
    uint64_t n_bytes;
    uint64_t address;
    enum recording_cause cause;
    enum recording_proof proof; /* N_PROOFS: unexplained has none */
    uint32_t block_bytes;       /* of a pool's blocks; 0: of none */
};

/* Blocks of 2.7's ints or floats. */
struct census_blocks27 {
    uint64_t n_blocks;
    uint64_t reserved_bytes; /* of the blocks, their links too */
    uint64_t live_bytes;     /* of the objects in them */
    uint64_t n_free;         /* slots without an object */
    uint64_t n_pinned;       /* blocks that one object alone keeps */
    uint64_t n_empty;        /* without any: what a full collection frees */
};

/* The residents of the free lists of one type. */
struct census_free_list {
    const char *name; /* static */
    uint64_t n_residents;
    uint64_t n_bytes; /* of their blocks */
};

/* Objects that are there once (RECORDING_SINGLES). */
struct census_single {
    bool is_known;
    uint64_t n_objects;
    uint64_t n_bytes;
};

/* What the interpreter keeps for reuse, and does not give back. */
struct census_never_returned {
    bool has_blocks27; /* by design there are none in 3.x */
    struct census_blocks27 ints;
    struct census_blocks27 floats;
    bool has_free_lists; /* each list that this version has was accounted for */
    struct census_free_list *free_lists;
    size_t n_free_lists;
    uint64_t *residents; /* addresses of their blocks, ascending */
    size_t n_residents;
    uint64_t dealt_bytes; /* of those that the arenas' reading took for live */
};

struct census_generation {
    int64_t threshold;
    int64_t count;
};

enum { CENSUS_GENERATIONS = 3 };

/* A block in use of the object allocator: there may be many. */
struct census_object {
    uint64_t addr : 48;
    uint64_t n_bytes : 16; /* its size class */
};

/* The collector of cycles. */
struct census_collector {
    bool is_known;
    struct census_generation generations[CENSUS_GENERATIONS];
    int64_t n_survivors; /* of the last full collection; -1: not known */
    int64_t n_promoted;  /* to the oldest generation since; likewise */
};

struct census {
    enum recording_census_kind kind;
    bool is_read;       /* false: the target could not be read, all else is 0 */
    bool is_whole;      /* the ledger and the classes: patience held */
    bool is_cut;        /* an end's heaps: patience did not hold for them */
    bool has_types;     /* and so are the types */
    bool has_low_types; /* or at least those of the low arenas */
    double types_part;  /* of the arenas that were to be sampled; 1: all */
    bool is_first_look; /* at a target without a history: nothing is pinned */
    uint64_t ledger[N_CAUSES];
    bool is_unknown[N_CAUSES]; /* null; what they had is dealt otherwise */
    /*
     * There is an interpreter whose memory cannot be told from native one: its
     * version is not known, or it has not had an arena. All of Python's causes
     * are unknown then.
     */
    bool is_native;
    uint64_t rss_bytes;
    int64_t skew_bytes;
    uint64_t swap_bytes;
    uint64_t anon_huge_bytes;
    uint64_t hugetlb_bytes; /* besides RSS */
    uint64_t in_swap_bytes; /* of arenas, and of what may be one */
    uint64_t n_torn;        /* pools */
    /* Chunks in use that may be the interpreter's, or not: their bytes. */
    uint64_t python_large_error;
    struct census_proof *proofs; /* where they were wanted */
    size_t n_proofs;
    size_t proof_capacity;
    bool wants_proofs;
    struct census_heap *heaps; /* ascending; the mmapped chunks last */
    size_t n_heaps;
    struct census_module *modules; /* most resident bytes first */
    size_t n_modules;
    uint64_t n_inferred; /* arenas found by content, without a proof */
    struct census_arena *arenas;
    size_t n_arenas;
    bool lists_objects; /* where they were wanted, and types were read */
    struct census_object *objects;
    size_t n_objects;
    size_t object_capacity;
    struct census_class classes[CPYTHON_N_CLASSES]; /* by size / 8 - 1 */
    struct census_type *types;                      /* most bytes first */
    size_t n_types;
    struct census_never_returned never_returned;
    struct census_single singles[N_SINGLES];
    struct census_collector collector;
    uint64_t started_us; /* CLOCK_MONOTONIC */
    uint64_t took_us;
    uint64_t cpu_us;
    uint64_t ledger_cpu_us; /* of it, without the types */
    uint64_t read_bytes;
};

#endif
