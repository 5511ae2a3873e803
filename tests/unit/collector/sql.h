/*
 * sql.h - what tests ask of a database
 */
#ifndef TESTS_UNIT_COLLECTOR_SQL_H
#define TESTS_UNIT_COLLECTOR_SQL_H

#include <sqlite3.h>
#include <stdint.h>

#define SQL_NULL INT64_MIN

void sql_run(sqlite3 *database, const char *sql);

/* The first column of the first row, which there is; SQL_NULL: it is null. */
int64_t sql_number(sqlite3 *database, const char *sql);

#endif
