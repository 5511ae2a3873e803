/*
 * difference.h - what two moments of a process differ in, name by name
 *
 * Two censuses of one recording, or of two. What both sides have is joined by
 * what it is called: a type's name, a site's frames. What one side lacks it has
 * none of, unless the side as a whole is not known; then nothing is said. A
 * side that adds up its least types to one row may have some of those that it
 * does not name: that is not known.
 */
#ifndef REPORT_DIFFERENCE_H
#define REPORT_DIFFERENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "report/query/query.h"

/* One moment of one process. */
struct difference_side {
    struct query *query;
    const struct query_process *process;
    struct query_census census; /* id 0: it has none then */
};

/* Before at 0, after at 1. */
struct difference_row {
    char *name; /* owned */
    int64_t count[2];
    int64_t bytes[2];
    /* One standard error of the change; 0: it is exact. */
    double count_error;
    double bytes_error;
};

/* What changed, most bytes first, whatever their sign. */
struct difference_table {
    struct difference_row *rows;
    size_t n;
    bool is_known;   /* of both sides */
    int64_t t_us[2]; /* of the censuses that say so; unknown: all was drained */
};

/* Objects by type. */
struct difference_table difference_types(const struct difference_side *before,
                                         const struct difference_side *after);

/* Live blocks by site, which is called by its functions, innermost first. */
struct difference_table difference_sites(const struct difference_side *before,
                                         const struct difference_side *after);

/* Dead objects that the interpreter keeps; 2.7's room for ints and floats. */
struct difference_table difference_kept(const struct difference_side *before,
                                        const struct difference_side *after);

void difference_free(struct difference_table *table);

int64_t difference_change(const int64_t figures[2]);

struct difference_processes {
    const struct query_process *processes;
    size_t n;
};

/* Processes that are the same one, as far as can be said. */
struct difference_pair {
    const struct query_process *before;
    const struct query_process *after;
};

/*
 * Of one recording the same rows; of two the first of a program and the first
 * of the same program, and so on. The caller frees them.
 */
struct difference_pair *
difference_pairs(const struct difference_processes *before,
                 const struct difference_processes *after,
                 bool is_same_recording, size_t *n);

#endif
