/*
 * budget.h - how much of a core all censuses together may cost
 *
 * 1 % of one core, averaged over a minute. It starts full, so that a short run
 * is read in full; censuses that must be taken are charged afterwards and may
 * leave it in debt.
 */
#ifndef COLLECTOR_BUDGET_H
#define COLLECTOR_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

enum {
    BUDGET_WINDOW_US = 60 * 1000000,
    BUDGET_SHARE = 100, /* one part in so many */
    BUDGET_MOST_US = BUDGET_WINDOW_US / BUDGET_SHARE,
};

struct budget {
    int64_t left_us;
    uint64_t filled_us; /* when it was last added to */
};

void budget_start(struct budget *budget, uint64_t now_us);
bool budget_allows(struct budget *budget, uint64_t cost_us, uint64_t now_us);
void budget_charge(struct budget *budget, uint64_t cost_us);

#endif
