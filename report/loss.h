/*
 * loss.h - what was lost on the way from the programs, in words
 *
 * Beside every number that it weakens: births, deaths and live blocks of
 * malloc's, mappings and who made them, and what is concluded from them.
 */
#ifndef REPORT_LOSS_H
#define REPORT_LOSS_H

#include <stdbool.h>
#include <stdint.h>

#include "include/text.h"
#include "report/query/query.h"

struct loss {
    int64_t events;
    int64_t batches;
};

/* One process' more; of one that was inspected nothing is known, nor lost. */
void loss_add(struct loss *loss, const struct query_process *process);

bool loss_is_any(const struct loss *loss);

/* "1,234 events in 12 batches were lost" */
void loss_put(struct text *text, const struct loss *loss);

#endif
