#include "collector/schedule.h"

#include "collector/census/memory.h"

enum {
    PERIOD_US = 1000000,
    AFTER_END_US = 1000000,
    PEAK_PART = 20, /* 5 % above the last peak's census is a new one */
    LEAST_PEAK_BYTES = 4 * 1024 * 1024,
    GUESS_TYPED_NS = 2000, /* a page, before a census with types was taken */
    GUESS_PLAIN_NS = 200,  /* and without */
};

/* What the last one cost and some more; a guess by RSS before there is one. */
static uint64_t
expected_cost_us(const struct schedule *schedule, uint64_t rss_bytes,
                 bool wants_types)
{
    const uint64_t pages = rss_bytes / MEMORY_PAGE;
    uint64_t cost_us =
        wants_types ? schedule->typed_cost_us : schedule->plain_cost_us;
    if (cost_us == 0)
        cost_us =
            pages * (wants_types ? GUESS_TYPED_NS : GUESS_PLAIN_NS) / 1000;
    return cost_us + cost_us / 4;
}

static bool
is_new_peak(const struct schedule *schedule, uint64_t rss_bytes)
{
    const uint64_t peak = schedule->peak_bytes;
    return rss_bytes > peak + peak / PEAK_PART &&
           rss_bytes > peak + LEAST_PEAK_BYTES;
}

static struct schedule_due
choose(const struct schedule *schedule, struct budget *budget,
       uint64_t rss_bytes, uint64_t now_us)
{
    const struct schedule_due nothing = {.is_due = false};
    if (schedule->is_filed || now_us < schedule->quiet_until_us)
        return nothing;
    if (!schedule->has_started)
        return (struct schedule_due){true, CENSUS_start, true};
    const bool is_peak = is_new_peak(schedule, rss_bytes);
    if (!is_peak && now_us < schedule->next_us)
        return nothing;
    const enum recording_census_kind kind =
        is_peak ? CENSUS_peak : CENSUS_periodic;
    if (budget_allows(budget, expected_cost_us(schedule, rss_bytes, true),
                      now_us))
        return (struct schedule_due){true, kind, true};
    if (budget_allows(budget, expected_cost_us(schedule, rss_bytes, false),
                      now_us))
        return (struct schedule_due){true, kind, false};
    return nothing;
}

struct schedule_due
schedule_ask(struct schedule *schedule, struct budget *budget,
             uint64_t rss_bytes, uint64_t now_us)
{
    const struct schedule_due due = choose(schedule, budget, rss_bytes, now_us);
    if (due.is_due) {
        schedule->has_started = true;
        schedule->is_filed = true;
        schedule->next_us = now_us + PERIOD_US;
    }
    return due;
}

void
schedule_came_back(struct schedule *schedule)
{
    schedule->is_filed = false;
}

void
schedule_learn(struct schedule *schedule, const struct census *census)
{
    if (census->has_types)
        schedule->typed_cost_us = census->cpu_us;
    schedule->plain_cost_us = census->ledger_cpu_us;
    if (census->rss_bytes > schedule->peak_bytes)
        schedule->peak_bytes = census->rss_bytes;
}

void
schedule_end(struct schedule *schedule, uint64_t now_us)
{
    schedule->quiet_until_us = now_us + AFTER_END_US;
}

void
schedule_restart(struct schedule *schedule)
{
    schedule->quiet_until_us = 0;
    schedule->peak_bytes = 0;
    schedule->typed_cost_us = 0;
    schedule->plain_cost_us = 0;
}
