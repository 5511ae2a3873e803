/*
 * rows.h - the rows of a recording, as the loop hands them to its writer
 */
#ifndef COLLECTOR_ROWS_H
#define COLLECTOR_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "collector/cgroup.h"

enum { RECORDING_UNKNOWN = -1 }; /* in a number that may be null */

/* The same in a number that may be negative: of live blocks and bytes. */
#define RECORDING_NOT_COUNTED INT64_MIN

struct recording_process {
    int64_t id;
    int64_t pid;
    int64_t ns_pid;
    int64_t ppid;
    int64_t parent;
    const char *exe;     /* may be NULL, like the next three */
    const char *command; /* a JSON array */
    const char *python;
    const char *note;
    const char *level; /* a constant; never NULL */
    int64_t start_us;
    int64_t end_us;
    int64_t exit_status;
    int64_t vm_hwm_bytes;
    int64_t births;
    int64_t deaths;
    int64_t live_blocks;
    int64_t live_bytes;
    int64_t python_births;
    int64_t python_deaths;
    int64_t lost_events;
    int64_t lost_batches;
    int64_t census_cpu_us;
    int64_t census_read_bytes;
    int64_t oom_kills;     /* in its cgroup */
    int64_t shares_cgroup; /* whether the collector is in it */
};

/* One row of a tier of ticks: 0, 1 or 2. */
struct recording_tick {
    unsigned tier;
    int64_t process;
    int64_t t_us;
    int64_t n;
    int64_t rss[3]; /* min, max, last */
    int64_t live[3];
    int64_t arenas[3];
    int64_t cgroup[3];
};

/* What a site's blocks add up to, in one process. */
struct recording_use {
    int64_t site;
    int64_t live_blocks;
    int64_t live_bytes;
    int64_t alloc_blocks;
    int64_t alloc_bytes;
    /* One standard error of each; 0: it is exact. */
    int64_t live_blocks_error;
    int64_t live_bytes_error;
    int64_t alloc_blocks_error;
    int64_t alloc_bytes_error;
};

/* What was told of the object allocator's blocks, beside what was found. */
struct recording_objects {
    int64_t births; /* by this image, as deaths are */
    int64_t deaths;
    int64_t live_blocks;
    int64_t live_bytes;
    int64_t orphans;      /* deaths of what nobody told of */
    int64_t found_blocks; /* in use, by the census; negative: unknown, also: */
    int64_t only_told;
    int64_t only_found;
};

/* The figures beside a census. */
struct recording_moment {
    int64_t process;
    int64_t image;
    int64_t vm_hwm_bytes;
    int64_t births;
    int64_t deaths;
    int64_t live_blocks;
    int64_t live_bytes;
    int64_t collector_rss_bytes;
    struct cgroup_usage cgroup;
    int64_t cgroup_others;
    const char *label; /* may be NULL */
    const struct recording_use *uses;
    size_t n_uses;
    bool has_objects; /* they were told */
    struct recording_objects objects;
};

struct recording_gc {
    int64_t process;
    int64_t generation;
    int64_t collections;
    int64_t collected;
    int64_t uncollectable;
    int64_t pause_us_total;
    int64_t pause_us_max;
    int64_t pauses_since_us;
};

struct recording_collection {
    int64_t t_us;
    int64_t process;
    int64_t generation;
    int64_t pause_us;
    int64_t collected;
    int64_t uncollectable;
    int64_t arenas_before; /* negative: unknown, as the next three */
    int64_t arenas_after;
    int64_t rss_before;
    int64_t rss_after;
};

#endif
