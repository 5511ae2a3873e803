/*
 * The one place that writes: a recording that nobody writes any more becomes
 * one self-contained file with its findings in it.
 */
#include <string.h>

#include "include/xalloc.h"
#include "report/query/statement.h"

static bool
run(struct query *query, const char *sql)
{
    if (query->complaint != NULL)
        return false;
    if (sqlite3_exec(query->database, sql, NULL, NULL, NULL) != SQLITE_OK)
        query_complain_of_file(query);
    return query->complaint == NULL;
}

static void
bind(sqlite3_stmt *row, int at, int64_t number)
{
    if (number == QUERY_UNKNOWN)
        sqlite3_bind_null(row, at);
    else
        sqlite3_bind_int64(row, at, number);
}

static void
write_finding(struct query *query, int64_t rank,
              const struct query_finding *finding)
{
    sqlite3_stmt *row = statement_of(
        query, "INSERT OR REPLACE INTO finding VALUES (?,?,?,?,?,?,?,?,?,?,?)");
    if (row == NULL)
        return;
    bind(row, 1, rank);
    bind(row, 2, finding->process);
    sqlite3_bind_text(row, 3, finding->id, -1, SQLITE_STATIC);
    bind(row, 4, finding->bytes);
    bind(row, 5, finding->returns_bytes);
    sqlite3_bind_text(row, 6, finding->owner, -1, SQLITE_STATIC);
    bind(row, 7, finding->score);
    sqlite3_bind_text(row, 8, finding->confidence, -1, SQLITE_STATIC);
    sqlite3_bind_text(row, 9, finding->sentence, -1, SQLITE_STATIC);
    sqlite3_bind_text(row, 10, finding->evidence, -1, SQLITE_STATIC);
    sqlite3_bind_text(row, 11, finding->action, -1, SQLITE_STATIC);
    statement_step(query, row);
}

bool
query_seal(struct query *query, const struct query_finding *findings, size_t n)
{
    /* The reader's connection may not write; one that may takes its place. */
    sqlite3_close(query->database);
    query->database = NULL;
    if (sqlite3_open_v2(query->path, &query->database, SQLITE_OPEN_READWRITE,
                        NULL) != SQLITE_OK) {
        query_complain_of_file(query);
        return false;
    }
    sqlite3_busy_timeout(query->database, 2000);
    query_distrust(query);
    run(query, "BEGIN IMMEDIATE");
    run(query, "DELETE FROM finding");
    for (size_t i = 0; i < n; i++)
        write_finding(query, (int64_t)i + 1, &findings[i]);
    /* Left by a collector that was killed: nobody else closes it. */
    run(query, "INSERT INTO event SELECT coalesce((SELECT max(t_us) FROM "
               "census), 0), NULL, 'sealed',"
               " 'the collector ended before it could seal the recording'"
               " FROM meta WHERE key = 'sealed' AND value = 0");
    run(query, "UPDATE meta SET value = 1 WHERE key = 'sealed'");
    run(query, "UPDATE meta SET value = NULL WHERE key = 'socket'");
    run(query, "COMMIT");
    run(query, "PRAGMA journal_mode=DELETE");
    return query->complaint == NULL;
}
