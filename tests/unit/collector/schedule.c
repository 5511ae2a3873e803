#include "collector/schedule.h"

#include "tests/unit/check.h"

#define SECOND_US ((uint64_t)1000000)
#define MIB ((uint64_t)1024 * 1024)

static struct schedule schedule;
static struct budget budget;

static void
begin(void)
{
    budget_start(&budget, 0);
}

TestSuite(schedule, .init = begin);

static struct schedule_due
ask(uint64_t rss_bytes, uint64_t now_us)
{
    return schedule_ask(&schedule, &budget, rss_bytes, now_us);
}

/* The first one is filed, and back, with what it saw. */
static void
start(uint64_t rss_bytes)
{
    const struct census census = {
        .rss_bytes = rss_bytes,
        .has_types = true,
        .cpu_us = 1000,
        .ledger_cpu_us = 100,
    };
    ask(rss_bytes, 0);
    schedule_came_back(&schedule);
    schedule_learn(&schedule, &census);
}

Test(schedule, the_first_census_is_due_at_once_whatever_it_costs)
{
    budget_charge(&budget, 10 * BUDGET_MOST_US);
    const struct schedule_due due = ask(100 * MIB, 0);
    check_true(due.is_due);
    check_eq(due.kind, CENSUS_start);
    check_true(due.wants_types);
}

Test(schedule, nothing_is_due_while_one_is_filed)
{
    check_true(ask(MIB, 0).is_due);
    check_false(ask(100 * MIB, 5 * SECOND_US).is_due);
    schedule_came_back(&schedule);
    check_true(ask(100 * MIB, 5 * SECOND_US).is_due);
}

Test(schedule, one_is_due_a_second)
{
    start(10 * MIB);
    check_false(ask(10 * MIB, SECOND_US - 1).is_due);
    const struct schedule_due due = ask(10 * MIB, SECOND_US);
    check_true(due.is_due);
    check_eq(due.kind, CENSUS_periodic);
    schedule_came_back(&schedule);
    check_false(ask(10 * MIB, 2 * SECOND_US - 1).is_due);
    check_true(ask(10 * MIB, 2 * SECOND_US).is_due);
}

Test(schedule, a_new_maximum_is_due_before_its_time)
{
    start(200 * MIB);
    check_false(ask(210 * MIB, 1000).is_due);
    const struct schedule_due due = ask(210 * MIB + 4096, 1000);
    check_true(due.is_due);
    check_eq(due.kind, CENSUS_peak);
}

Test(schedule, a_small_program_has_no_maximum_for_each_megabyte)
{
    start(10 * MIB);
    check_false(ask(14 * MIB, 1000).is_due);
    check_true(ask(14 * MIB + 4096, 1000).is_due);
}

Test(schedule, types_are_sampled_before_the_census_is_left_out)
{
    start(10 * MIB);
    budget_charge(&budget, BUDGET_MOST_US - 2200);
    /* 2125 us with a sample; 1250 with all types would do, had it 1250. */
    struct schedule_due due = ask(50 * MIB, 1000);
    check_true(due.is_due);
    check_eq(due.types_budget_us, 0);
    schedule_came_back(&schedule);
    budget_charge(&budget, 2200);
    check_false(ask(90 * MIB, 1000).is_due);
    due = ask(90 * MIB, 2 * SECOND_US);
    check_true(due.is_due);
    check_true(due.wants_types);
}

Test(schedule, before_there_is_a_cost_it_is_guessed_by_size)
{
    ask(10 * MIB, 0);
    schedule_came_back(&schedule);
    /* A GiB: 655 ms with types is over the whole budget, 65 ms is not. */
    const struct schedule_due due = ask(1024 * MIB, 2 * SECOND_US);
    check_true(due.is_due);
    check_true(due.wants_types);
    check_true(due.types_budget_us != 0);
    check_true(due.types_budget_us < 100000);
}

Test(schedule, what_costs_more_than_all_comes_when_the_budget_is_full)
{
    const struct census census = {
        .rss_bytes = 50 * 1024 * MIB,
        .cpu_us = 3 * SECOND_US,
        .ledger_cpu_us = 3 * SECOND_US,
    };
    ask(census.rss_bytes, 0);
    schedule_came_back(&schedule);
    schedule_learn(&schedule, &census);
    check_true(ask(census.rss_bytes, SECOND_US).is_due);
    schedule_came_back(&schedule);
    budget_charge(&budget, census.cpu_us);
    /* 3 s at 1 % are five minutes. */
    check_false(ask(census.rss_bytes, 299 * SECOND_US).is_due);
    check_true(ask(census.rss_bytes, 302 * SECOND_US).is_due);
}

Test(schedule, after_an_end_there_is_silence)
{
    start(10 * MIB);
    schedule_end(&schedule, 3 * SECOND_US);
    check_false(ask(100 * MIB, 4 * SECOND_US - 1).is_due);
    check_true(ask(100 * MIB, 4 * SECOND_US).is_due);
}

Test(schedule, another_image_starts_from_nothing)
{
    start(100 * MIB);
    schedule_end(&schedule, 3 * SECOND_US);
    schedule_restart(&schedule);
    const struct schedule_due due = ask(20 * MIB, 3 * SECOND_US + 1);
    check_true(due.is_due);
    check_eq(due.kind, CENSUS_peak);
}

Test(schedule, doubt_that_is_new_is_worth_another_look)
{
    struct census census = {
        .kind = CENSUS_periodic,
        .is_read = true,
        .is_whole = true,
        .rss_bytes = 200 * MIB,
    };
    census.ledger[CAUSE_unexplained] = 10 * MIB;
    check_true(schedule_wants_another(&census, 0, 0));
    check_true(schedule_wants_another(&census, 8 * MIB, 3));
    check_false(schedule_wants_another(&census, 10 * MIB, 0));
    check_false(schedule_wants_another(&census, 9 * MIB + 1, 0));
    check_false(schedule_wants_another(&census, 0, 6));
    census.ledger_cpu_us = SECOND_US;
    check_false(schedule_wants_another(&census, 0, 0));
    census.ledger_cpu_us = 0;
    census.kind = CENSUS_end;
    check_false(schedule_wants_another(&census, 0, 0));
}
