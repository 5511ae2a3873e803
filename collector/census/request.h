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

struct census_request {
    enum recording_census_kind kind;
    unsigned python_major; /* 0: no interpreter, or one we do not know */
    unsigned python_minor;
    struct census_candidate *candidates; /* ascending by start; owned */
    size_t n_candidates;
    uint64_t *control_blocks; /* of threads; owned */
    size_t n_control_blocks;
    struct census_range *stacks; /* that the program supplied; owned */
    size_t n_stacks;
    struct census_range own[2]; /* the preload's image and private pages */
    uint64_t shared_inode;      /* of its memfd */
    bool wants_types;
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
