/*
 * asking.h - censuses of a target, as the tests ask for them
 */
#ifndef TESTS_UNIT_COLLECTOR_ASKING_H
#define TESTS_UNIT_COLLECTOR_ASKING_H

#include "collector/census/census.h"
#include "tests/unit/collector/target.h"

/* An arena that has been full, and has long been low since. */
struct census_candidate asking_candidate(const char *start, uint64_t n_bytes);

/* Of a 3.11. */
struct census_request asking_request(struct census_candidate *candidates,
                                     size_t n);

/* So many questions, an int, are answered with yes. */
bool asking_go_on(void *context);

/* The view, and then the census. */
struct census *asking_all(struct memory *memory,
                          const struct census_request *request,
                          const struct census_patience *patience);

struct census *asking_with_patience(const struct target *target,
                                    const struct census_request *request,
                                    int questions);

/* A census that must add up. */
struct census *asking_take(const struct target *target,
                           const struct census_request *request);

/* What a census adds to the ledger of one that knows of no candidates. */
struct census *asking_difference(const struct target *target,
                                 const struct census_request *request,
                                 int64_t *difference);

#endif
