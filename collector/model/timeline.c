#include "collector/model/timeline.h"

#include "include/recording.h"

static const int64_t periods_us[TIMELINE_TIERS] = {
    RECORDING_TICK_US,
    (int64_t)RECORDING_TICK_US *RECORDING_TICK1_TICKS,
    (int64_t)RECORDING_TICK_US *RECORDING_TICK2_TICKS,
};

static int64_t
least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t
greatest(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static void
fold(struct timeline_row *row, const struct timeline_values *values)
{
    row->n++;
    row->least.rss = least(row->least.rss, values->rss);
    row->least.live = least(row->least.live, values->live);
    row->least.arenas = least(row->least.arenas, values->arenas);
    row->least.cgroup = least(row->least.cgroup, values->cgroup);
    row->greatest.rss = greatest(row->greatest.rss, values->rss);
    row->greatest.live = greatest(row->greatest.live, values->live);
    row->greatest.arenas = greatest(row->greatest.arenas, values->arenas);
    row->greatest.cgroup = greatest(row->greatest.cgroup, values->cgroup);
    row->last = *values;
}

void
timeline_add(struct timeline *timeline, int64_t t_us,
             const struct timeline_values *values,
             struct timeline_row done[TIMELINE_TIERS],
             bool is_done[TIMELINE_TIERS])
{
    for (unsigned tier = 0; tier < TIMELINE_TIERS; tier++) {
        struct timeline_row *row = &timeline->rows[tier];
        is_done[tier] = row->n != 0 &&
                        t_us / periods_us[tier] != row->t_us / periods_us[tier];
        if (is_done[tier]) {
            done[tier] = *row;
            row->n = 0;
        }
        if (row->n == 0)
            *row = (struct timeline_row){
                .t_us = t_us,
                .least = *values,
                .greatest = *values,
            };
        fold(row, values);
    }
}
