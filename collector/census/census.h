/*
 * census.h - one reading of a target's memory from outside
 *
 * The census thread looks at the target's pages (its view), then the loop says
 * what it knows of the process by then (its request), then the census thread
 * reads the target and says what it found (its result). Neither touches the
 * other's: a request is copied in, a result is handed out.
 */
#ifndef COLLECTOR_CENSUS_CENSUS_H
#define COLLECTOR_CENSUS_CENSUS_H

#include "collector/census/memory.h"
#include "collector/census/request.h"
#include "collector/census/result.h"
#include "collector/census/view.h"

/* Never NULL. View and request stay the caller's. */
struct census *census_take(struct memory *memory, const struct view *view,
                           const struct census_request *request,
                           const struct census_patience *patience);
void census_destroy(struct census *census);

/* The one that leaves less unexplained; the other is destroyed. May be NULL. */
struct census *census_better(struct census *one, struct census *other);

void census_request_finish(struct census_request *request);

#endif
