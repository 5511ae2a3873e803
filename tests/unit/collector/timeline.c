#include "collector/model/timeline.h"

#include "include/recording.h"
#include "tests/unit/check.h"

static struct timeline timeline;
static struct timeline_row done[TIMELINE_TIERS];
static bool is_done[TIMELINE_TIERS];

static void
add(int64_t t_us, int64_t rss)
{
    const struct timeline_values values = {
        .rss = rss, .live = -rss, .arenas = rss / 2, .cgroup = rss * 3};
    timeline_add(&timeline, t_us, &values, done, is_done);
}

Test(timeline, a_row_is_finished_by_the_tick_that_follows_it)
{
    add(0, 10);
    check_false(is_done[0] || is_done[1] || is_done[2]);
    add(RECORDING_TICK_US, 20);
    check_true(is_done[0]);
    check_false(is_done[1] || is_done[2]);
    check_eq(done[0].t_us, 0);
    check_eq(done[0].n, 1);
    check_eq(done[0].last.rss, 10);
}

Test(timeline, a_second_keeps_least_greatest_and_last)
{
    static const int64_t values[] = {50, 70, 20, 90, 60, 40, 55, 65, 75, 30};
    for (unsigned i = 0; i < 10; i++)
        add((int64_t)i * RECORDING_TICK_US, values[i]);
    check_false(is_done[1]);
    add(10 * RECORDING_TICK_US, 1000);
    check_true(is_done[1]);
    check_eq(done[1].t_us, 0);
    check_eq(done[1].n, 10);
    check_eq(done[1].least.rss, 20);
    check_eq(done[1].greatest.rss, 90);
    check_eq(done[1].last.rss, 30);
    check_eq(done[1].least.live, -90);
    check_eq(done[1].greatest.live, -20);
    check_eq(done[1].least.arenas, 10);
    check_eq(done[1].greatest.arenas, 45);
    check_eq(done[1].least.cgroup, 60);
    check_eq(done[1].greatest.cgroup, 270);
    check_eq(done[1].last.cgroup, 90);
}

Test(timeline, every_tick_is_in_one_row_of_each_tier)
{
    int64_t n_ticks[TIMELINE_TIERS] = {0};
    int64_t greatest[TIMELINE_TIERS] = {0};
    enum { TICKS = 12345 };
    for (int64_t i = 0; i < TICKS; i++) {
        add(i * RECORDING_TICK_US + (i * 7919) % 50000, i);
        for (unsigned tier = 0; tier < TIMELINE_TIERS; tier++) {
            if (!is_done[tier])
                continue;
            n_ticks[tier] += done[tier].n;
            check_true(done[tier].greatest.rss > greatest[tier] ||
                       done[tier].t_us == 0);
            greatest[tier] = done[tier].greatest.rss;
        }
    }
    for (unsigned tier = 0; tier < TIMELINE_TIERS; tier++)
        check_eq(n_ticks[tier] + timeline.rows[tier].n, TICKS);
}

Test(timeline, a_gap_makes_no_rows)
{
    add(0, 1);
    add(3600 * (int64_t)1000000, 2);
    check_true(is_done[0] && is_done[1] && is_done[2]);
    check_eq(done[2].n, 1);
    check_eq(timeline.rows[2].t_us, 3600 * (int64_t)1000000);
}
