/*
 * statements.h - the rows of a recording, as prepared SQL
 *
 * Used by the recording's writing thread alone, inside its transactions. Each
 * function returns false where SQLite refused.
 */
#ifndef COLLECTOR_STATEMENTS_H
#define COLLECTOR_STATEMENTS_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "collector/census/result.h"
#include "collector/rows.h"

struct site_rows;
struct statements;

/* NULL: the schema is not there. */
struct statements *statements_create(sqlite3 *database);
void statements_destroy(struct statements *statements);

struct site_rows *statements_site_rows(const struct statements *statements);

/* After a rollback: what was remembered of the file may not be in it. */
void statements_forget(struct statements *statements);

bool statements_meta(struct statements *statements, const char *key,
                     const char *text);
bool statements_number(struct statements *statements, const char *key,
                       int64_t number);
bool statements_process(struct statements *statements,
                        const struct recording_process *process);
bool statements_tick(struct statements *statements,
                     const struct recording_tick *tick);
bool statements_census(struct statements *statements,
                       const struct recording_moment *moment,
                       const struct census *census, int64_t t_us);
bool statements_gc(struct statements *statements,
                   const struct recording_gc *gc);
bool statements_collection(struct statements *statements,
                           const struct recording_collection *collection);
bool statements_event(struct statements *statements, int64_t t_us,
                      int64_t process, const char *kind, const char *text);
bool statements_clock(struct statements *statements, int64_t t_us,
                      int64_t monotonic_ns, int64_t boot_ns,
                      int64_t wall_unix_ns);

#endif
