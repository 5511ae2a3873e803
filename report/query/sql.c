/*
 * A user's own statement: it may read the recording and nothing else.
 */
#include <string.h>

#include "include/xalloc.h"
#include "report/query/statement.h"

/* What a statement may do: look. No other file, no setting, no write. */
static int
authorize(void *context, int action, const char *first, const char *second,
          const char *database, const char *trigger)
{
    (void)context;
    (void)first;
    (void)second;
    (void)database;
    (void)trigger;
    switch (action) {
    case SQLITE_SELECT:
    case SQLITE_READ:
    case SQLITE_FUNCTION:
    case SQLITE_RECURSIVE:
        return SQLITE_OK;
    default:
        return SQLITE_DENY;
    }
}

struct names {
    const char **names;
    const char **values;
};

static void
hand_over(sqlite3_stmt *statement, struct names *names, int n_columns,
          void (*row)(void *context, int n, const char *const *names,
                      const char *const *values),
          void *context)
{
    for (int i = 0; i < n_columns; i++) {
        names->names[i] = sqlite3_column_name(statement, i);
        names->values[i] = (const char *)sqlite3_column_text(statement, i);
    }
    row(context, n_columns, names->names, names->values);
}

static sqlite3_stmt *
prepare(struct query *query, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    const char *rest = NULL;
    const int result =
        sqlite3_prepare_v2(query->database, sql, -1, &statement, &rest);
    if (result == SQLITE_OK && statement == NULL)
        query_complain(query, "there is no statement in the query");
    else if (result == SQLITE_OK && rest[strspn(rest, " \t\n;")] != '\0')
        query_complain(query, "there is more than one statement in the query");
    else if (result == SQLITE_AUTH ||
             (result == SQLITE_OK && !sqlite3_stmt_readonly(statement)))
        query_complain(query, "a query may only SELECT from the recording");
    else if (result != SQLITE_OK)
        query_complain(query, "%s", sqlite3_errmsg(query->database));
    if (query->complaint == NULL)
        return statement;
    sqlite3_finalize(statement);
    return NULL;
}

bool
query_sql(struct query *query, const char *sql,
          void (*row)(void *context, int n, const char *const *names,
                      const char *const *values),
          void *context)
{
    /* Asked while a statement runs, too: some open files only then. */
    sqlite3_set_authorizer(query->database, authorize, NULL);
    query->is_users = true;
    sqlite3_stmt *statement = prepare(query, sql);
    const int n_columns = sqlite3_column_count(statement);
    struct names names = {
        .names = xcalloc((size_t)n_columns, sizeof(const char *)),
        .values = xcalloc((size_t)n_columns, sizeof(const char *)),
    };
    while (statement_step(query, statement))
        hand_over(statement, &names, n_columns, row, context);
    free(names.names);
    free(names.values);
    sqlite3_set_authorizer(query->database, NULL, NULL);
    query->is_users = false;
    return query->complaint == NULL;
}
