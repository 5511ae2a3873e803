/*
 * details.h - the tables that go with a census, as prepared SQL
 *
 * Classes, arenas, types, heaps, modules and proofs: rows whose first column is
 * the census' id. Each function returns false where SQLite refused.
 */
#ifndef COLLECTOR_DETAILS_H
#define COLLECTOR_DETAILS_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "collector/census/result.h"
#include "collector/rows.h"

struct details;

/* NULL: the schema is not there. */
struct details *details_create(sqlite3 *database);
void details_destroy(struct details *details);

/* All of a census. */
bool details_put(struct details *details, const struct census *census,
                 int64_t id);

/* What was told beside it. */
bool details_put_objects(struct details *details,
                         const struct recording_objects *objects, int64_t id);

/* What is kept of the latest periodic census only. */
bool details_retire(struct details *details, int64_t id);

/* Those of the censuses whose ids are in the table temp.doomed. */
bool details_drop(struct details *details);

#endif
