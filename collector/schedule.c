#include "collector/schedule.h"

#include "collector/census/memory.h"

enum {
    PERIOD_US = 1000000,
    AFTER_END_US = 1000000,
    PEAK_PART = 20, /* 5 % above the last peak's census is a new one */
    LEAST_PEAK_BYTES = 4 * 1024 * 1024,
    /* A census is repeated where 1 part in 200 more is unexplained. */
    DOUBT_PART = 200,
    MOST_REPEATS = 6,
    DEAREST_REPEAT_US = 200000,
    LEAST_SAMPLE_US = 2000, /* of types */
    GUESS_TYPED_NS = 2000,  /* a page, before a census with types was taken */
    GUESS_PLAIN_NS = 200,   /* and without */
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

/* Nothing is ever more than a full budget allows. */
static bool
can_afford(struct budget *budget, uint64_t cost_us, uint64_t now_us)
{
    return budget_allows(
        budget, cost_us < BUDGET_MOST_US ? cost_us : BUDGET_MOST_US, now_us);
}

/* What is left of the budget for types, but no more than for the rest. */
static uint64_t
sample_us(const struct budget *budget, uint64_t plain_us)
{
    const int64_t left_us = budget->left_us - (int64_t)plain_us;
    if (left_us < LEAST_SAMPLE_US || plain_us < LEAST_SAMPLE_US)
        return LEAST_SAMPLE_US;
    return (uint64_t)left_us < plain_us ? (uint64_t)left_us : plain_us;
}

static struct schedule_due
choose(const struct schedule *schedule, struct budget *budget,
       uint64_t rss_bytes, uint64_t now_us)
{
    struct schedule_due due = {.kind = CENSUS_start, .wants_types = true};
    if (schedule->is_filed || now_us < schedule->quiet_until_us)
        return due;
    const bool is_peak = is_new_peak(schedule, rss_bytes);
    if (schedule->has_started && !is_peak && now_us < schedule->next_us)
        return due;
    if (schedule->has_started)
        due.kind = is_peak ? CENSUS_peak : CENSUS_periodic;

    const uint64_t plain_us = expected_cost_us(schedule, rss_bytes, false);
    const uint64_t typed_us = expected_cost_us(schedule, rss_bytes, true);
    due.is_due = !schedule->has_started ||
                 can_afford(budget, plain_us + LEAST_SAMPLE_US, now_us);
    if (!budget_allows(budget, typed_us, now_us))
        due.types_budget_us = sample_us(budget, plain_us);
    return due;
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

bool
schedule_wants_another(const struct census *census,
                       uint64_t usually_unexplained, unsigned n_repeats)
{
    const uint64_t doubt = census->ledger[CAUSE_unexplained];
    return census->is_read && census->is_whole && census->kind != CENSUS_end &&
           n_repeats < MOST_REPEATS &&
           census->ledger_cpu_us < DEAREST_REPEAT_US &&
           doubt > usually_unexplained &&
           (doubt - usually_unexplained) * DOUBT_PART > census->rss_bytes;
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
