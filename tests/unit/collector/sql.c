#include "tests/unit/collector/sql.h"

#include "tests/unit/check.h"

void
sql_run(sqlite3 *database, const char *sql)
{
    char *why = NULL;
    const int result = sqlite3_exec(database, sql, NULL, NULL, &why);
    cr_assert(result == SQLITE_OK, "%s: %s", sql, why);
}

int64_t
sql_number(sqlite3 *database, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    const int result = sqlite3_prepare_v2(database, sql, -1, &statement, NULL);
    cr_assert(result == SQLITE_OK, "%s: %s", sql, sqlite3_errmsg(database));
    cr_assert(sqlite3_step(statement) == SQLITE_ROW, "%s: no row", sql);
    const int64_t is = sqlite3_column_type(statement, 0) == SQLITE_NULL
                           ? SQL_NULL
                           : sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return is;
}
