/*
 * recorded.h - a recording made for a test, by the collector's own writer
 */
#ifndef TESTS_UNIT_REPORT_RECORDED_H
#define TESTS_UNIT_REPORT_RECORDED_H

#include <stdbool.h>
#include <stdint.h>

#include "collector/recording.h"
#include "tests/unit/scratch.h"

struct recorded {
    struct recording *recording;
    char path[SCRATCH_PATH_BYTES];
    uint64_t started_us; /* of the monotonic clock, a moment before t_us 0 */
};

/* A new one in the directory, without processes. */
struct recorded recorded_create(const struct scratch *scratch,
                                const char *name);

/* A process that started at once and has not ended. */
void recorded_process(struct recorded *recorded, int64_t id, const char *exe);

/* Figures of a census that most tests leave at 0. */
struct recorded_census {
    int64_t process;
    enum recording_census_kind kind;
    uint64_t after_ms; /* since the recording began, about */
    const char *label;
    uint64_t rss_bytes;
    uint64_t ledger[N_CAUSES]; /* the rest of RSS is put into `file` */
    const char *type;          /* its only one; NULL: no types */
    uint64_t pinned_held;      /* of its only arena, which is pinned; 0: none */
    const struct cgroup_usage *cgroup; /* NULL: unknown */
};

/* Returns the census' own time, in microseconds of the recording. */
int64_t recorded_census(struct recorded *recorded,
                        const struct recorded_census *census);

/* The same, with what its sites add up to. */
int64_t recorded_census_with(struct recorded *recorded,
                             const struct recorded_census *census,
                             const struct recording_use *uses, size_t n);

/* All that was put is in the file; it is still being written. */
void recorded_flush(struct recorded *recorded);

void recorded_seal(struct recorded *recorded);

#endif
