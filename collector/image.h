/*
 * image.h - one image of a traced process: its stream, its memory, its models
 *
 * From a hello to the end of the pipe that came with it. An exec makes a new
 * image of the same process; a fork makes one that starts as a clone.
 */
#ifndef COLLECTOR_IMAGE_H
#define COLLECTOR_IMAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "collector/census/census.h"
#include "collector/census/memory.h"
#include "collector/model/arenas.h"
#include "collector/model/blocks.h"
#include "collector/model/collections.h"
#include "collector/model/gc.h"
#include "collector/model/mappings.h"
#include "collector/model/samples.h"
#include "collector/model/sites.h"
#include "collector/model/turns.h"
#include "collector/python.h"
#include "collector/source.h"
#include "include/wire.h"

/* A hello that was found to be sound, with its descriptors. */
struct introduction {
    struct wire_hello hello;
    const char *exe;     /* exe_bytes, not terminated */
    const char *command; /* command_bytes */
    int fds[WIRE_N_FDS];
    pid_t pid;             /* as we see it */
    enum wire_level level; /* at which it was welcomed */
    uint64_t sample_bytes; /* at level watch; 0: there is no sample */
};

/* What is told further, as it is drained. */
struct image_listener {
    void (*collected)(void *context, const struct collection *collection);
    void (*spawned)(void *context, pid_t child);
    void (*mapped)(void *context, const struct sites_image *told);
    void *context;
};

struct image {
    struct wire_hello hello;
    struct source *source; /* NULL once it was shed */
    struct memory *memory; /* likewise */
    struct arenas *arenas;
    struct mappings *mappings;
    struct blocks *blocks;
    struct turns *turns;     /* with its heap; NULL at level watch */
    struct sites *sites;     /* NULL: no stacks are told */
    struct samples *samples; /* NULL: at level watch, what was told */
    struct gc gc;
    struct collections collections; /* that are not handed on yet */
    unsigned python_major;          /* 0: none, or one that is not known */
    unsigned python_minor;
    bool is_python_found; /* by looking: nothing was told of it */
    bool had_arenas;      /* a census has seen some */
    bool is_native;       /* the last one told no more of its interpreter */
    /*
     * While there is none: who has mapped what may be an arena, unless it lies
     * in the image that was looked at last and is none.
     */
    uint64_t arena_caller; /* 0: nobody */
    struct wire_range stranger;
    unsigned n_looks;
    unsigned n_strange; /* mappings that were kept before it was known */
    /*
     * Events of one buffer come in their order, so that how many arenas there
     * were at a moment is only known while one buffer tells of arenas.
     */
    bool has_arena_buffer;
    bool has_more_arena_buffers;
    uint32_t arena_buffer;
    bool tells_objects;  /* each block of its object allocator */
    bool is_open;        /* somebody holds the pipe's other end */
    uint32_t end_ticket; /* of a census the target waits for; 0: none */
    int64_t exit_status; /* as the target told it, or -1 */
    unsigned n_jobs;     /* censuses that are filed and not yet back */
    /* image.c's own. */
    struct image_listener listener;
    char *exe;                /* the program's path */
    uint64_t *control_blocks; /* of threads */
    size_t n_control_blocks;
    size_t control_capacity;
    struct census_range *stacks; /* that the program supplied */
    size_t n_stacks;
    size_t stack_capacity;
    struct wire_counters told[WIRE_N_CALLERS]; /* by events of one word */
    uint64_t n_told; /* births and deaths of malloc's, in words and records */
    struct source_totals last_totals;
    uint64_t now_us; /* while draining */
};

/*
 * Takes the introduction's descriptors; forked_from may be NULL. The catalogue
 * outlives the image. NULL, and they are closed: they are not what they should
 * be.
 */
struct image *image_create(const struct introduction *introduction,
                           const struct image *forked_from,
                           struct catalogue *catalogue,
                           const struct image_listener *listener);
void image_destroy(struct image *image);

/* Closes everything; models and totals stay, for children that come late. */
void image_shed(struct image *image);

/* An interpreter that the target did not tell of: it was opened later. */
void image_take_python(struct image *image, const struct python *python);

/*
 * Takes what there is; is_open and end_ticket tell the rest. Collections are
 * told with one of the next, or when the image is closed.
 */
void image_drain(struct image *image, uint64_t now_us);

/* Nothing is drained any more: tells what waited. */
void image_close(struct image *image);

/* Whether its stream made sense so far. */
bool image_is_sound(const struct image *image);

struct source_totals image_totals(struct image *image);

/* What its sites add up to, which the caller frees; NULL: it has none. */
struct sites_use *image_uses(const struct image *image, size_t *n);

/* Takes what there is, until nothing is held back any more. */
void image_settle(struct image *image, uint64_t now_us);

#endif
