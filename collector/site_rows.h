/*
 * site_rows.h - the tables of sites, as prepared SQL
 *
 * What the catalogue has, once for all processes, and what each process' sites
 * add up to. Each function returns false where SQLite refused.
 */
#ifndef COLLECTOR_SITE_ROWS_H
#define COLLECTOR_SITE_ROWS_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/rows.h"
#include "collector/site_news.h"

struct site_rows;

/* NULL: the schema is not there. */
struct site_rows *site_rows_create(sqlite3 *database);
void site_rows_destroy(struct site_rows *rows);

bool site_rows_put_news(struct site_rows *rows, const struct site_news *news);

/* The uses beside a census. */
bool site_rows_put(struct site_rows *rows, int64_t census,
                   const struct recording_moment *moment);

/* Those beside a census go. */
bool site_rows_drop(struct site_rows *rows, int64_t census);

/* In place of all that was put last of this process. */
bool site_rows_put_last(struct site_rows *rows, int64_t process,
                        const struct recording_use *uses, size_t n);

#endif
