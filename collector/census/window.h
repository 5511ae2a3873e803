/*
 * window.h - a target's memory, read forwards
 *
 * For walks that look at a few bytes here and there and mostly go on nearby: a
 * window grows while they do and shrinks when they jump. Only resident pages
 * are read, those that became so since the runs were taken among them. What is
 * read of one window is of one moment, as nearly as a target that runs allows.
 */
#ifndef COLLECTOR_CENSUS_WINDOW_H
#define COLLECTOR_CENSUS_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/census/memory.h"

struct window {
    struct memory *memory;
    const struct memory_runs *runs;
    char *bytes;
    uint64_t start;
    uint64_t end;
    size_t ahead; /* how far to read next time */
};

/* Memory and runs must outlive it. */
void window_init(struct window *window, struct memory *memory,
                 const struct memory_runs *runs);
void window_finish(struct window *window);

/*
 * n_bytes, a page's at most, at addr; valid until the next call. NULL: they are
 * not resident, or could not be read.
 */
const char *window_at(struct window *window, uint64_t addr, size_t n_bytes);

/* As many of them as the window holds beyond what window_at was asked for. */
size_t window_left(const struct window *window, uint64_t addr);

/* What was read is not to be trusted any more. */
void window_forget(struct window *window);

#endif
