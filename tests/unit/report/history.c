/* What an interpreter keeps and has, over time, of recordings of the collector
 * and of recordings from before. */
#include <sqlite3.h>
#include <stdlib.h>

#include "report/query/query.h"
#include "tests/unit/check.h"
#include "tests/unit/report/recorded.h"

static struct scratch scratch;
static struct recorded recorded;

static void
set_up(void)
{
    scratch = scratch_create();
    setenv("TMPDIR", scratch.path, 1);
    recorded = recorded_create(&scratch, "a.rec");
    recorded_process(&recorded, 1, "/a/program");
}

static void
clean_up(void)
{
    scratch_remove(&scratch);
}

TestSuite(history, .init = set_up, .fini = clean_up, .timeout = 20);

static void
put_censuses(unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        recorded_census(&recorded, &(struct recorded_census){
                                       .process = 1,
                                       .kind = CENSUS_periodic,
                                       .after_ms = 1000 * i,
                                       .rss_bytes = 100,
                                   });
}

/* Seals the recording and changes it. */
static void
change(const char *sql)
{
    char *why = NULL;
    recorded_seal(&recorded);
    sqlite3 *file;
    check_eq(sqlite3_open(recorded.path, &file), SQLITE_OK);
    sqlite3_exec(file, sql, NULL, NULL, &why);
    cr_assert(why == NULL, "%s: %s", sql, why);
    sqlite3_close(file);
}

/* ---- what is kept at a moment ------------------------------------------ */

#define BLOCKS "INSERT INTO block27 VALUES (1, 'int', 9, 8928, 480, 349, 8376"

static struct query_blocks27
blocks_of(void)
{
    struct query *query = query_open(recorded.path);
    struct query_never_returned never = query_never_returned(query, 1);
    cr_assert(query_complaint(query) == NULL, "%s", query_complaint(query));
    check_eq(never.n_blocks27, 1);
    const struct query_blocks27 blocks = never.blocks27[0];
    query_free_never_returned(&never);
    query_close(query);
    return blocks;
}

Test(history, blocks_tell_who_keeps_them)
{
    put_censuses(1);
    change(BLOCKS ", 5, 2)");
    const struct query_blocks27 blocks = blocks_of();
    check_eq(blocks.blocks, 9);
    check_eq(blocks.free_bytes, 8376);
    check_eq(blocks.pinned_blocks, 5);
    check_eq(blocks.empty_blocks, 2);
}

Test(history, blocks_of_a_recording_of_before_do_not)
{
    put_censuses(1);
    change("DROP VIEW v_never_returned;"
           "ALTER TABLE block27 DROP COLUMN pinned_blocks;"
           "ALTER TABLE block27 DROP COLUMN empty_blocks;"
           "PRAGMA user_version = 2;" BLOCKS ")");
    const struct query_blocks27 blocks = blocks_of();
    check_eq(blocks.blocks, 9);
    check_eq(blocks.free_bytes, 8376);
    check_eq(blocks.pinned_blocks, QUERY_UNKNOWN);
    check_eq(blocks.empty_blocks, QUERY_UNKNOWN);
}
