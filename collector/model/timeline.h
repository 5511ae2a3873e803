/*
 * timeline.h - one process' ticks, folded into coarser ones
 *
 * Three tiers: every tick, a second, ten seconds. A coarser row keeps the
 * least, the greatest and the last value, so that peaks survive.
 */
#ifndef COLLECTOR_MODEL_TIMELINE_H
#define COLLECTOR_MODEL_TIMELINE_H

#include <stdbool.h>
#include <stdint.h>

enum { TIMELINE_TIERS = 3 };

struct timeline_values {
    int64_t rss;
    int64_t live; /* of malloc */
    int64_t arenas;
    int64_t cgroup; /* what its cgroup uses; -1: unknown */
};

/* The least, greatest and last of some ticks. */
struct timeline_row {
    int64_t t_us; /* of the first */
    int64_t n;
    struct timeline_values least;
    struct timeline_values greatest;
    struct timeline_values last;
};

struct timeline {
    struct timeline_row rows[TIMELINE_TIERS]; /* being filled; n 0: empty */
};

/*
 * Adds a tick to every tier. Where it begins a new period the finished row is
 * put into done[tier] and is_done[tier] is set.
 */
void timeline_add(struct timeline *timeline, int64_t t_us,
                  const struct timeline_values *values,
                  struct timeline_row done[TIMELINE_TIERS],
                  bool is_done[TIMELINE_TIERS]);

#endif
