#include "report/query/statement.h"

#include <string.h>

#include "include/xalloc.h"

void
query_complain(struct query *query, const char *format, ...)
{
    if (query->complaint != NULL)
        return;
    va_list args;
    va_start(args, format);
    if (vasprintf(&query->complaint, format, args) < 0)
        errx(125, "out of memory while formatting a text");
    va_end(args);
}

void
query_complain_of_file(struct query *query)
{
    if (query->complaint != NULL)
        return;
    const int code = sqlite3_errcode(query->database);
    query->is_damaged = code == SQLITE_CORRUPT || code == SQLITE_NOTADB;
    if (query->is_damaged)
        query_complain(
            query,
            "%s: the recording is damaged (%s); what was committed may "
            "still be read by `sqlite3 FILE .recover`",
            query->path, sqlite3_errmsg(query->database));
    else
        query_complain(query, "%s: %s", query->path,
                       sqlite3_errmsg(query->database));
}

sqlite3_stmt *
statement_of(struct query *query, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    if (query->complaint != NULL)
        return NULL;
    if (sqlite3_prepare_v2(query->database, sql, -1, &statement, NULL) !=
        SQLITE_OK) {
        query_complain_of_file(query);
        return NULL;
    }
    return statement;
}

sqlite3_stmt *
statement_about(struct query *query, const char *sql, int64_t parameter)
{
    sqlite3_stmt *statement = statement_of(query, sql);
    if (statement != NULL)
        sqlite3_bind_int64(statement, 1, parameter);
    return statement;
}

bool
statement_has_column(struct query *query, const char *table, const char *column)
{
    bool has = false;
    sqlite3_stmt *row = statement_of(
        query, "SELECT 1 FROM pragma_table_info(?) WHERE name = ?");
    if (row != NULL) {
        sqlite3_bind_text(row, 1, table, -1, SQLITE_STATIC);
        sqlite3_bind_text(row, 2, column, -1, SQLITE_STATIC);
    }
    while (statement_step(query, row))
        has = true;
    return has;
}

bool
statement_step(struct query *query, sqlite3_stmt *statement)
{
    if (statement == NULL)
        return false;
    const int result = sqlite3_step(statement);
    if (result == SQLITE_ROW && query_counts_row(query, statement))
        return true;
    if (result != SQLITE_DONE)
        query_complain_of_file(query);
    sqlite3_finalize(statement);
    query->stepping = NULL;
    return false;
}

int64_t
statement_number(sqlite3_stmt *statement, int column)
{
    return sqlite3_column_type(statement, column) == SQLITE_NULL
               ? QUERY_UNKNOWN
               : sqlite3_column_int64(statement, column);
}

char *
statement_text(sqlite3_stmt *statement, int column)
{
    const char *bytes = (const char *)sqlite3_column_text(statement, column);
    return bytes == NULL ? NULL : xstrdup(bytes);
}

char *
statement_name(sqlite3_stmt *statement, int column)
{
    char *name = statement_text(statement, column);
    return name != NULL ? name : xstrdup("?");
}
