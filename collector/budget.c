#include "collector/budget.h"

void
budget_start(struct budget *budget, uint64_t now_us)
{
    budget->left_us = BUDGET_MOST_US;
    budget->filled_us = now_us;
}

static void
fill(struct budget *budget, uint64_t now_us)
{
    const uint64_t more = (now_us - budget->filled_us) / BUDGET_SHARE;
    budget->filled_us += more * BUDGET_SHARE;
    budget->left_us += (int64_t)more;
    if (budget->left_us > BUDGET_MOST_US)
        budget->left_us = BUDGET_MOST_US;
}

bool
budget_allows(struct budget *budget, uint64_t cost_us, uint64_t now_us)
{
    fill(budget, now_us);
    return budget->left_us >= (int64_t)cost_us;
}

void
budget_charge(struct budget *budget, uint64_t cost_us)
{
    budget->left_us -= (int64_t)cost_us;
}
