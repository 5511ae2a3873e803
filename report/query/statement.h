/*
 * statement.h - prepared statements, for the files of this folder
 *
 * Errors are sticky (query.h): a statement that cannot be prepared is NULL, and
 * every function takes NULL for one without rows.
 */
#ifndef REPORT_QUERY_STATEMENT_H
#define REPORT_QUERY_STATEMENT_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "include/attrs.h"
#include "report/query/query.h"

struct query {
    char *path;
    char *moment;
    char *copy; /* a private copy that goes with the query, or NULL */
    sqlite3 *database;
    char *complaint;
    bool is_damaged;
    bool is_of_other_version;
    int64_t pid; /* it was opened by, or 0 */
    /* distrust.c's own. */
    bool is_users;                /* what runs, and may run as long */
    uint64_t rounds_left;         /* of SQLite's machine */
    uint64_t rows_most;           /* of one statement */
    uint64_t n_rows;              /* of the one that is stepped */
    const sqlite3_stmt *stepping; /* NULL: none is */
};

/* The first complaint stays: it is the cause of the others. */
PRINTF_LIKE(2, 3)
void query_complain(struct query *query, const char *format, ...);

/* What SQLite said last. */
void query_complain_of_file(struct query *query);

/*
 * For each connection, before anything is read: what the file's schema says is
 * not run, and no more is read than it can hold. False: there is a complaint.
 */
bool query_distrust(struct query *query);

/* One row more. False: the statement cannot have that many, a complaint. */
bool query_counts_row(struct query *query, const sqlite3_stmt *statement);

sqlite3_stmt *statement_of(struct query *query, const char *sql);

/* The same with one parameter. */
sqlite3_stmt *statement_about(struct query *query, const char *sql,
                              int64_t parameter);

/* Whether a table has the column, which recordings of before may not. */
bool statement_has_column(struct query *query, const char *table,
                          const char *column);

/* Whether there is a next row; the statement is gone when there is not. */
bool statement_step(struct query *query, sqlite3_stmt *statement);

/* A column: QUERY_UNKNOWN where it is null. */
int64_t statement_number(sqlite3_stmt *statement, int column);

/* A column: the caller frees it; NULL where it is null. */
char *statement_text(sqlite3_stmt *statement, int column);

/* The same of a column that is null in no sound recording: never NULL. */
char *statement_name(sqlite3_stmt *statement, int column);

#endif
