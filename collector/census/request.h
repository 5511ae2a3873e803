/*
 * request.h - what the loop knows of a process, for a census of it
 */
#ifndef COLLECTOR_CENSUS_REQUEST_H
#define COLLECTOR_CENSUS_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "include/recording.h"

/* A mapping the interpreter made: an arena, or a chunk of a data stack. */
struct census_candidate {
    uint64_t start;
    uint64_t n_bytes;
    uint64_t born_us;
    bool has_been_full; /* over 25 %, or a younger one was mapped beside it */
    bool was_low; /* in every census of the last 60 s, and there was one */
};

struct census_range {
    uint64_t start;
    uint64_t n_bytes;
};

/* An anonymous mapping, or what is left of it. */
struct census_mapping {
    uint64_t start;
    uint64_t end;
    uint64_t caller; /* who made it */
};

/* A block of malloc's that was told: a large or an mmapped one. */
struct census_block {
    uint64_t addr;
    uint64_t n_bytes; /* usable */
    bool is_python;   /* the interpreter asked for it */
    bool is_gone;     /* it has died since the view */
};

/* What the kernel tells of a thread. */
struct census_thread {
    uint32_t tid; /* as the target itself knows it */
    bool is_main;
    uint64_t stack_pointer; /* 0: it was running, or is not told */
};

struct census_request {
    enum recording_census_kind kind;
    /*
     * Nobody told of arenas and stacks: they are found by content. Candidates
     * are then those that the census before has found.
     */
    bool is_unprepared;
    uint64_t now_us;       /* when an arena is born that was not there before */
    unsigned python_major; /* 0: no interpreter, or one we do not know */
    unsigned python_minor;
    bool has_python; /* an interpreter, known or not */
    bool had_arenas; /* an earlier census has seen some of this interpreter's */
    uint64_t python_runtime;             /* &_PyRuntime, or 0: not known */
    struct census_range python_text;     /* the interpreter's, or empty */
    struct census_candidate *candidates; /* ascending by start; owned */
    size_t n_candidates;
    uint64_t *control_blocks; /* of threads; owned */
    size_t n_control_blocks;
    struct census_range *stacks; /* that the program supplied; owned */
    size_t n_stacks;
    struct census_mapping *mappings; /* ascending, disjoint; owned */
    size_t n_mappings;
    struct census_block *blocks; /* ascending; owned */
    size_t n_blocks;
    struct census_thread *threads; /* of an unprepared target; owned */
    size_t n_threads;
    struct census_range own[2]; /* the preload's image and private pages */
    uint64_t shared_inode;      /* of its memfd */
    bool wants_types;
    uint64_t types_budget_us; /* of CPU; beyond it they are sampled. 0: none */
    bool wants_proofs;
    bool wants_objects; /* a list of all blocks in use, with types */
};

/*
 * Asked between any two arenas: false, and the census ends here with what it
 * has. The end of a process that stopped waiting, or something more urgent.
 */
struct census_patience {
    bool (*may_go_on)(void *context);
    void *context;
};

#endif
