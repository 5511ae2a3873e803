/*
 * inspection.h - one process that nobody prepared, read from outside
 *
 * It has no stream, no counters and no ticks: only censuses, taken with the
 * rights that this collector has over it. Arenas, stacks and the interpreter
 * are found by content; what was seen before is remembered between censuses.
 *
 * Belongs to the loop's thread, save the memory while a census is filed.
 */
#ifndef COLLECTOR_INSPECTION_H
#define COLLECTOR_INSPECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "collector/recording.h"
#include "collector/survey.h"

struct inspection;

struct inspection_plan {
    pid_t pid;
    uint64_t period_us; /* 0: one census */
    uint64_t n_times;   /* 0: until the process ends, or the user says so */
    /* A census that was not asked for by a mark is on its way to the file. */
    void (*taken)(void *context);
    void *context;
};

/*
 * Opens the process and files the first census. Survey and recording outlive
 * it. NULL: `why` (of n_bytes) says why not.
 */
struct inspection *inspection_create(const struct inspection_plan *plan,
                                     struct survey *survey,
                                     struct recording *recording, char *why,
                                     size_t n_bytes);
void inspection_destroy(struct inspection *inspection);

/* Every 100 ms. */
void inspection_tick(struct inspection *inspection);

/* A census has come back. */
void inspection_fetch(struct inspection *inspection);

/*
 * Files a labelled census if pid is the process', or 0; `done` is called with
 * mark when it has reached the recording. Returns how many were filed.
 */
unsigned inspection_mark(struct inspection *inspection, pid_t pid,
                         const char *label, void (*done)(void *mark),
                         void *mark);

/* No census more than those that are filed. */
void inspection_stop(struct inspection *inspection);

/* Whether all that was asked for is recorded, or the process is gone. */
bool inspection_is_over(const struct inspection *inspection);

/* The last row. */
void inspection_finish(struct inspection *inspection);

#endif
