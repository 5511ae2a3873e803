/*
 * Collections: what is read of a recording, and what stats says of it.
 */
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "report/query/query.h"
#include "tests/unit/check.h"
#include "tests/unit/report/recorded.h"

static struct scratch scratch;
static struct recorded recorded;

static void
set_up(void)
{
    scratch = scratch_create();
    recorded = recorded_create(&scratch, "recording");
    recorded_process(&recorded, 1, "/a/program");
}

static void
clean_up(void)
{
    scratch_remove(&scratch);
}

TestSuite(collections_read, .init = set_up, .fini = clean_up);

/* Of the generations 0, 1 and 0. */
static void
put_three(void)
{
    for (int64_t i = 0; i < 3; i++)
        recording_put_collection(recorded.recording,
                                 &(struct recording_collection){
                                     .t_us = 9 + i,
                                     .process = 1,
                                     .generation = i % 2,
                                     .collected = 20 + i,
                                     .arenas_before = 7 + i,
                                     .arenas_after = 6,
                                     .rss_before = RECORDING_UNKNOWN,
                                     .rss_after = 5,
                                 });
}

static struct query *
open_end(void)
{
    struct query *query = query_open(recorded.path);
    cr_assert_not_null(query);
    return query;
}

static void
change(const char *sql)
{
    sqlite3 *file;
    check_eq(sqlite3_open(recorded.path, &file), SQLITE_OK);
    check_eq(sqlite3_exec(file, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(file);
}

Test(collections_read, each_has_what_it_met_and_left)
{
    put_three();
    recorded_seal(&recorded);
    struct query *query = open_end();
    size_t n;
    struct query_collection *all = query_collections(query, 1, &n);
    check_eq(n, 3);
    check_eq(all[1].t_us, 10);
    check_eq(all[1].generation, 1);
    check_eq(all[1].arenas_before, 8);
    check_eq(all[1].arenas_after, 6);
    check_eq(all[1].rss_before, QUERY_UNKNOWN);
    check_eq(all[1].rss_after, 5);
    free(all);
    query_close(query);
}

Test(collections_read, the_last_is_of_its_generation_and_its_process)
{
    put_three();
    recorded_seal(&recorded);
    struct query *query = open_end();
    struct query_collection last;
    check_true(query_last_collection(query, 1, 0, &last));
    check_eq(last.t_us, 11);
    check_eq(last.collected, 22);
    check_eq(last.arenas_before, 9);
    check_true(query_last_collection(query, 1, 1, &last));
    check_eq(last.t_us, 10);
    check_false(query_last_collection(query, 1, 2, &last));
    check_false(query_last_collection(query, 2, 0, &last));
    query_close(query);
}

Test(collections_read, those_of_an_older_recording_say_less)
{
    put_three();
    recorded_seal(&recorded);
    change("ALTER TABLE collection DROP COLUMN arenas_before;"
           "ALTER TABLE collection DROP COLUMN arenas_after;"
           "ALTER TABLE collection DROP COLUMN rss_before;"
           "ALTER TABLE collection DROP COLUMN rss_after;");
    struct query *query = open_end();
    size_t n;
    struct query_collection last;
    struct query_collection *all = query_collections(query, 1, &n);
    check_eq(n, 3);
    check_eq(all[0].t_us, 9);
    check_eq(all[0].arenas_before, QUERY_UNKNOWN);
    check_eq(all[0].rss_after, QUERY_UNKNOWN);
    free(all);
    check_true(query_last_collection(query, 1, 0, &last));
    check_eq(last.t_us, 11);
    check_eq(last.rss_after, QUERY_UNKNOWN);
    query_close(query);
}

Test(collections_read, generations_are_those_of_a_census)
{
    recorded_seal(&recorded);
    change("INSERT INTO generation VALUES (4, 1, 10, 3, NULL, NULL),"
           " (4, 0, 700, 2, NULL, NULL), (4, 2, 11, 1, 30000, 0),"
           " (5, 0, 1, 1, NULL, NULL)");
    struct query *query = open_end();
    size_t n;
    struct query_generation *all = query_generations(query, 4, &n);
    check_eq(n, 3);
    check_eq(all[0].threshold, 700);
    check_eq(all[1].count, 3);
    check_eq(all[1].survivors, QUERY_UNKNOWN);
    check_eq(all[2].survivors, 30000);
    check_eq(all[2].promoted, 0);
    free(all);
    free(query_generations(query, 6, &n));
    check_eq(n, 0);
    query_close(query);
}

Test(collections_read, generations_of_an_older_recording_are_not_known)
{
    recorded_seal(&recorded);
    change("DROP VIEW v_generations; DROP TABLE generation");
    struct query *query = open_end();
    size_t n = 1;
    cr_assert_null(query_generations(query, 1, &n));
    check_eq(n, 0);
    query_close(query);
}

/* ---- objects, of which a census tells as well -------------------------- */

Test(collections_read, objects_are_those_of_a_census)
{
    recorded_seal(&recorded);
    change("INSERT INTO object VALUES (4, 1, 2, 3, 4, 5, NULL, NULL, NULL),"
           " (5, 10, 20, 30, 40, 50, 60, 70, 80)");
    struct query *query = open_end();
    struct query_objects objects = query_objects(query, 4);
    check_eq(objects.births, 1);
    check_eq(objects.orphans, 5);
    check_eq(objects.found_blocks, QUERY_UNKNOWN);
    objects = query_objects(query, 5);
    check_eq(objects.deaths, 20);
    check_eq(objects.live_blocks, 30);
    check_eq(objects.live_bytes, 40);
    check_eq(objects.only_told, 70);
    check_eq(objects.only_found, 80);
    objects = query_objects(query, 6);
    check_eq(objects.births, QUERY_UNKNOWN);
    query_close(query);
}

Test(collections_read, objects_of_an_older_recording_are_not_known)
{
    recorded_seal(&recorded);
    change("DROP VIEW v_objects; DROP TABLE object");
    struct query *query = open_end();
    const struct query_objects objects = query_objects(query, 1);
    check_eq(objects.births, QUERY_UNKNOWN);
    check_eq(objects.only_found, QUERY_UNKNOWN);
    query_close(query);
}
