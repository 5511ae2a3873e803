#include "collector/budget.h"

#include "tests/unit/check.h"

#define SECOND_US ((uint64_t)1000000)

Test(budget, it_starts_full)
{
    struct budget budget;
    budget_start(&budget, 5 * SECOND_US);
    check_true(budget_allows(&budget, BUDGET_MOST_US, 5 * SECOND_US));
    check_false(budget_allows(&budget, BUDGET_MOST_US + 1, 5 * SECOND_US));
    check_eq(BUDGET_MOST_US, 600000);
}

Test(budget, a_hundredth_of_the_time_comes_back)
{
    struct budget budget;
    budget_start(&budget, 0);
    budget_charge(&budget, BUDGET_MOST_US);
    check_false(budget_allows(&budget, 1, 0));
    check_true(budget_allows(&budget, 10000, SECOND_US));
    check_false(budget_allows(&budget, 10001, SECOND_US));
}

Test(budget, it_never_holds_more_than_a_minutes_share)
{
    struct budget budget;
    budget_start(&budget, 0);
    check_false(budget_allows(&budget, BUDGET_MOST_US + 1, 3600 * SECOND_US));
    check_true(budget_allows(&budget, BUDGET_MOST_US, 3600 * SECOND_US));
}

Test(budget, what_must_be_done_may_leave_it_in_debt)
{
    struct budget budget;
    budget_start(&budget, 0);
    budget_charge(&budget, BUDGET_MOST_US + 30000);
    check_false(budget_allows(&budget, 0, SECOND_US));
    check_false(budget_allows(&budget, 1, 3 * SECOND_US));
    check_true(budget_allows(&budget, 0, 3 * SECOND_US));
    check_true(budget_allows(&budget, 10000, 4 * SECOND_US));
}

Test(budget, asking_often_loses_no_time)
{
    struct budget budget;
    budget_start(&budget, 0);
    budget_charge(&budget, BUDGET_MOST_US);
    for (uint64_t now_us = 0; now_us <= SECOND_US; now_us += 7)
        budget_allows(&budget, 1, now_us);
    check_true(budget_allows(&budget, 10000, SECOND_US));
    check_false(budget_allows(&budget, 10001, SECOND_US));
}
