#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/query/query.h"
#include "tests/unit/check.h"
#include "tests/unit/collector/sql.h"
#include "tests/unit/report/recorded.h"

static struct scratch scratch;
static struct recorded recorded;

static void
set_up(void)
{
    scratch = scratch_create();
    recorded = recorded_create(&scratch, "a.rec");
    recorded_seal(&recorded);
}

static void
clean_up(void)
{
    scratch_remove(&scratch);
}

TestSuite(distrust, .init = set_up, .fini = clean_up, .timeout = 50);

static sqlite3 *
open_to_write(void)
{
    sqlite3 *database;
    cr_assert_eq(sqlite3_open(recorded.path, &database), SQLITE_OK);
    sql_run(database, "PRAGMA synchronous=OFF");
    return database;
}

static void
check_looks(const char *table, const char *before, const char *after)
{
    char sql[256];
    sqlite3 *database = open_to_write();
    snprintf(sql, sizeof(sql), before, table, table);
    sql_run(database, sql);
    struct query *query = query_open(recorded.path);
    check_true(query_is_damaged(query));
    cr_assert_not_null(
        strstr(query_complaint(query), "not what they are called"));
    query_close(query);
    snprintf(sql, sizeof(sql), after, table, table);
    sql_run(database, sql);
    sqlite3_close(database);
    query = query_open(recorded.path);
    cr_assert(query_complaint(query) == NULL, "%s", query_complaint(query));
    query_close(query);
}

/* Each that there is: none is read without a look. */
Test(distrust, a_view_in_place_of_a_table_is_damage)
{
    sqlite3 *database = open_to_write();
    char **names;
    int n;
    sqlite3_get_table(database,
                      "SELECT name FROM sqlite_master WHERE type = 'table'"
                      " AND name NOT LIKE 'sqlite%'",
                      &names, &n, NULL, NULL);
    sqlite3_close(database);
    check_true(n > 20);
    for (int i = 1; i <= n; i++)
        check_looks(names[i],
                    "ALTER TABLE %s RENAME TO kept;"
                    "CREATE VIEW %s AS SELECT * FROM kept",
                    "DROP VIEW %s; ALTER TABLE kept RENAME TO %s");
    sqlite3_free_table(names);
}

Test(distrust, a_column_that_is_not_in_the_file_is_damage)
{
    check_looks("event", "ALTER TABLE %s ADD COLUMN more AS (1)",
                "ALTER TABLE %s DROP COLUMN more");
}

Test(distrust, views_of_a_users_own_are_welcome)
{
    sqlite3 *database = open_to_write();
    sql_run(database, "CREATE VIEW mine AS SELECT * FROM v_types");
    sqlite3_close(database);
    struct query *query = query_open(recorded.path);
    check_true(query_complaint(query) == NULL);
    query_close(query);
}

Test(distrust, no_trigger_is_run_by_the_seal)
{
    const struct query_finding finding = {.id = "nothing-held"};
    sqlite3 *database = open_to_write();
    sql_run(database, "CREATE TRIGGER more AFTER INSERT ON finding BEGIN"
                      " INSERT INTO event VALUES (1, 1, 'more', 'more'); END");
    sqlite3_close(database);
    struct query *query = query_open(recorded.path);
    check_true(query_seal(query, &finding, 1));
    check_false(query_has_event(query, 1, "more"));
    query_close(query);
}
