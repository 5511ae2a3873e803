/*
 * census.h - one reading of a target's memory from outside
 *
 * The loop says what it knows of a process (its request), the census thread
 * reads the target and says what it found (its result). Neither touches the
 * other's: a request is copied in, a result is handed out.
 */
#ifndef COLLECTOR_CENSUS_CENSUS_H
#define COLLECTOR_CENSUS_CENSUS_H

#include "collector/census/memory.h"
#include "collector/census/request.h"
#include "collector/census/result.h"

/* Never NULL. The request stays the caller's. */
struct census *census_take(struct memory *memory,
                           const struct census_request *request,
                           const struct census_patience *patience);
void census_destroy(struct census *census);

void census_request_finish(struct census_request *request);

#endif
