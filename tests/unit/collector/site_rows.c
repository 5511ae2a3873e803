#include "collector/site_rows.h"

#include <stdlib.h>
#include <string.h>

#include "collector/recording.h"
#include "collector/statements.h"
#include "include/attrs.h"
#include "include/recording.h"
#include "include/xalloc.h"
#include "tests/unit/check.h"
#include "tests/unit/collector/sql.h"
#include "tests/unit/scratch.h"

static sqlite3 *database;
static struct statements *statements;
static struct site_rows *rows;
static struct catalogue *catalogue;
static struct site_news_cursor cursor;

static void
set_up(void)
{
    check_eq(sqlite3_open(":memory:", &database), SQLITE_OK);
    sql_run(database, RECORDING_SCHEMA);
    statements = statements_create(database);
    cr_assert_not_null(statements);
    rows = statements_site_rows(statements);
    catalogue = catalogue_create();
    cursor = (struct site_news_cursor){0};
}

static void
clean_up(void)
{
    catalogue_destroy(catalogue);
    statements_destroy(statements);
    check_eq(sqlite3_close(database), SQLITE_OK);
}

TestSuite(site_rows, .init = set_up, .fini = clean_up, .timeout = 40);

static int64_t
number(const char *sql)
{
    return sql_number(database, sql);
}

/* ---- the catalogue ----------------------------------------------------- */

/* A stack of two frames in a module. */
static uint32_t
add_site(const char *path, uint64_t offset, bool is_cut)
{
    const uint32_t module = catalogue_module(
        catalogue,
        &(struct catalogue_module){
            .path = path, .build_id = {0xab, 0x01},
                 .build_id_bytes = 2
    });
    const uint32_t frames[] = {
        catalogue_frame(catalogue, &(struct catalogue_frame){offset, module}),
        catalogue_frame(catalogue, &(struct catalogue_frame){99, 0}),
    };
    return catalogue_site(catalogue,
                          &(struct catalogue_site){frames, 2, is_cut});
}

static void
put_news(void)
{
    struct site_news *news = site_news_take(catalogue, &cursor);
    cr_assert_not_null(news);
    check_true(site_rows_put_news(rows, news));
    site_news_destroy(news);
}

Test(site_rows, a_site_is_its_frames_in_their_modules)
{
    check_eq(add_site("/lib/a", 0x10, true), 1);
    put_news();
    check_eq(number("SELECT count(*) FROM v_frames"), 2);
    check_eq(number("SELECT count(*) FROM v_frames WHERE site = 1"
                    " AND depth = 0 AND inline = 0 AND module = '/lib/a'"
                    " AND build_id = 'ab01' AND offset = 16"
                    " AND function IS NULL AND file IS NULL AND line IS NULL"),
             1);
    check_eq(number("SELECT count(*) FROM v_frames WHERE site = 1"
                    " AND depth = 1 AND module IS NULL AND offset = 99"),
             1);
    check_eq(number("SELECT is_cut FROM site"), 1);
    check_eq(number("SELECT kind = 'native' FROM site"), 1);
}

Test(site_rows, news_are_told_once)
{
    add_site("/lib/a", 0x10, false);
    put_news();
    check_true(site_news_take(catalogue, &cursor) == NULL);
    add_site("/lib/a", 0x20, false);
    struct site_news *news = site_news_take(catalogue, &cursor);
    check_eq(news->n_modules, 0);
    check_eq(news->n_frames, 1);
    check_eq(news->n_sites, 1);
    check_eq(news->sites[0].id, 2);
    check_true(site_rows_put_news(rows, news));
    site_news_destroy(news);
    check_eq(number("SELECT count(*) FROM site"), 2);
    check_eq(number("SELECT count(*) FROM v_frames WHERE site = 2"
                    " AND depth = 0 AND module = '/lib/a' AND offset = 32"),
             1);
}

Test(site_rows, names_come_afterwards_the_inlined_first)
{
    add_site("/lib/a", 0x10, false);
    put_news();
    struct site_news *news = site_news_create();
    char function[] = "inner";
    site_news_add_name(news,
                       &(struct site_news_name){1, 0, function, "a.c", 7});
    site_news_add_name(news, &(struct site_news_name){1, 1, "outer", NULL, -1});
    function[0] = 'x'; /* it was copied */
    check_true(site_rows_put_news(rows, news));
    site_news_destroy(news);
    site_news_destroy(NULL);
    check_eq(number("SELECT count(*) FROM v_frames"), 3);
    check_eq(number("SELECT count(*) FROM v_frames WHERE depth = 0 AND"
                    " inline = 0 AND function = 'inner' AND file = 'a.c' AND"
                    " line = 7 AND module = '/lib/a' AND offset = 16"),
             1);
    check_eq(number("SELECT count(*) FROM v_frames WHERE depth = 0 AND"
                    " inline = 1 AND function = 'outer' AND file IS NULL AND"
                    " line IS NULL"),
             1);
}

Test(site_rows, a_frame_that_had_no_room_is_not_known)
{
    const uint32_t frames[] = {0};
    catalogue_site(catalogue, &(struct catalogue_site){frames, 1, false});
    put_news();
    check_eq(number("SELECT count(*) FROM v_frames WHERE site = 1 AND"
                    " depth = 0 AND module IS NULL AND offset IS NULL"),
             1);
}

/* ---- uses -------------------------------------------------------------- */

static const struct recording_use two[] = {
    {1,                      2, 300, 4, 500},
    {RECORDING_SITE_UNKNOWN, 1, 24,  1, 24 },
};

/* Returns the census' id. */
static int64_t
put_census(enum recording_census_kind kind, uint64_t rss_bytes, size_t n_uses)
{
    struct census census = {.kind = kind, .rss_bytes = rss_bytes};
    const struct recording_moment moment = {
        .process = 1, .uses = two, .n_uses = n_uses};
    check_true(statements_census(statements, &moment, &census, 1000));
    return number("SELECT max(id) FROM census");
}

Test(site_rows, uses_are_of_a_census)
{
    add_site("/lib/a", 0x10, true);
    put_news();
    put_census(CENSUS_mark, 1000, 2);
    check_eq(number("SELECT count(*) FROM v_sites"), 2);
    check_eq(number("SELECT count(*) FROM v_sites WHERE process = 1 AND"
                    " t_us = 1000 AND kind = 'mark' AND site = 1 AND"
                    " site_kind = 'native' AND is_cut = 1 AND"
                    " live_blocks = 2 AND live_bytes = 300 AND"
                    " alloc_blocks = 4 AND alloc_bytes = 500"),
             1);
    check_eq(number("SELECT live_bytes FROM v_sites WHERE site = 0"), 24);
    put_census(CENSUS_mark, 1000, 0);
    check_eq(number("SELECT count(*) FROM v_sites"), 2);
}

Test(site_rows, the_last_uses_replace_those_before)
{
    check_true(site_rows_put_last(rows, 1, two, 2));
    check_true(site_rows_put_last(rows, 2, two, 2));
    put_census(CENSUS_end, 1000, 2);
    check_true(site_rows_put_last(rows, 1, &two[1], 1));
    check_eq(number("SELECT count(*) FROM v_sites WHERE kind = 'drained' AND"
                    " process = 1"),
             1);
    check_eq(number("SELECT count(*) FROM v_sites WHERE process = 2"), 2);
    check_eq(number("SELECT count(*) FROM v_sites WHERE kind = 'end'"), 2);
    check_true(site_rows_put_last(rows, 1, NULL, 0));
    check_eq(number("SELECT count(*) FROM site_use WHERE census = 0 AND"
                    " process = 1"),
             0);
}

Test(site_rows, of_the_peaks_the_highest_keeps_its_uses)
{
    put_census(CENSUS_peak, 1000, 2);
    const int64_t mark = put_census(CENSUS_mark, 1500, 2);
    const int64_t highest = put_census(CENSUS_peak, 2000, 2);
    put_census(CENSUS_peak, 1900, 2); /* of another image */
    check_eq(number("SELECT count(*) FROM site_use"), 4);
    check_eq(number("SELECT count(*) FROM v_sites WHERE kind = 'mark'"), 2);
    check_eq(number("SELECT min(census) FROM v_sites"), mark);
    check_eq(number("SELECT max(census) FROM v_sites"), highest);
}

Test(site_rows, uses_go_with_their_census)
{
    put_census(CENSUS_periodic, 1000, 2);
    const int64_t first = number("SELECT max(id) FROM census");
    for (unsigned i = 0; i < 2 * RECORDING_PERIODIC_KEPT; i++)
        put_census(CENSUS_periodic, 1000, i == 0 ? 2 : 0);
    check_eq(number("SELECT count(*) FROM census WHERE id = 2"), 0);
    check_eq(number("SELECT count(*) FROM site_use"), 2);
    check_eq(number("SELECT max(census) FROM site_use"), first);
}

/* ---- through the recording --------------------------------------------- */

Test(site_rows, what_is_put_reaches_the_file)
{
    char path[SCRATCH_PATH_BYTES];
    char why[200];
    struct scratch scratch = scratch_create();
    scratch_path(&scratch, "a.rec", path);
    struct recording *recording = recording_open(path, "", why, sizeof(why));
    cr_assert_not_null(recording);
    add_site("/lib/a", 0x10, false);
    struct recording_use uses[] = {two[0], two[1]};
    struct census *census = xcalloc(1, sizeof(*census));
    census->kind = CENSUS_mark;
    const struct recording_moment moment = {
        .process = 1, .uses = uses, .n_uses = 2};
    recording_put_sites(recording, site_news_take(catalogue, &cursor));
    recording_put_census(recording, &moment, census);
    recording_put_uses(recording, 1, uses, 1);
    memset(uses, 0xff, sizeof(uses)); /* they were copied */
    check_true(recording_seal(recording));
    sqlite3 *file;
    check_eq(sqlite3_open(path, &file), SQLITE_OK);
    check_eq(sql_number(file, "SELECT count(*) FROM v_frames"), 2);
    check_eq(sql_number(file, "SELECT sum(live_bytes) FROM v_sites"
                              " WHERE kind = 'mark'"),
             324);
    check_eq(sql_number(file, "SELECT sum(live_bytes) FROM v_sites"
                              " WHERE kind = 'drained'"),
             300);
    sqlite3_close(file);
    scratch_remove(&scratch);
}

Test(site_rows, an_error_is_kept_and_none_is_null)
{
    const struct recording_use uses[] = {
        {1,   2, 300, 4, 500, 1, 20, 2, 30},
        {2, 2, 300,  4,   500     },
    };
    check_true(site_rows_put_last(rows, 1, uses, 2));
    check_eq(number("SELECT count(*) FROM v_sites WHERE site = 1 AND"
                    " live_blocks_error = 1 AND live_bytes_error = 20 AND"
                    " alloc_blocks_error = 2 AND alloc_bytes_error = 30"),
             1);
    check_eq(number("SELECT count(*) FROM v_sites WHERE site = 2 AND"
                    " live_blocks_error IS NULL AND live_bytes_error IS NULL"
                    " AND alloc_blocks_error IS NULL"
                    " AND alloc_bytes_error IS NULL"),
             1);
}
