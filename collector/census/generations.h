/*
 * generations.h - the collector of cycles, as the interpreter keeps it
 *
 * Of each generation the threshold and the count, and how many objects have
 * survived the last full collection. They are believed where the lists of
 * objects beside them lead back to where they began, as they do unless a
 * collection is under way; else nothing is said. Of several interpreters it is
 * the first one.
 */
#ifndef COLLECTOR_CENSUS_GENERATIONS_H
#define COLLECTOR_CENSUS_GENERATIONS_H

#include "collector/census/memory.h"
#include "collector/census/request.h"
#include "collector/census/result.h"

/* Fills in the census' collector. */
void generations_read(struct memory *memory,
                      const struct census_request *request,
                      const struct memory_runs *runs, struct census *census);

#endif
