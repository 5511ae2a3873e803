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
    change("DROP VIEW v_never_returned; DROP VIEW v_blocks27;"
           "ALTER TABLE block27 DROP COLUMN pinned_blocks;"
           "ALTER TABLE block27 DROP COLUMN empty_blocks;"
           "PRAGMA user_version = 2;" BLOCKS ")");
    const struct query_blocks27 blocks = blocks_of();
    check_eq(blocks.blocks, 9);
    check_eq(blocks.free_bytes, 8376);
    check_eq(blocks.pinned_blocks, QUERY_UNKNOWN);
    check_eq(blocks.empty_blocks, QUERY_UNKNOWN);
}

/* ---- what there is once ------------------------------------------------ */

static struct query_singles
singles_of(void)
{
    struct query *query = query_open(recorded.path);
    const struct query_singles singles = query_singles(query, 1);
    cr_assert(query_complaint(query) == NULL, "%s", query_complaint(query));
    query_close(query);
    return singles;
}

Test(history, singles_that_were_not_counted_are_not_known)
{
    put_censuses(1);
    change("INSERT INTO single VALUES (1, 'small_int', 262, 6288),"
           " (1, 'of another time', 1, 1), (2, 'interned_str', 5, 5)");
    const struct query_singles singles = singles_of();
    check_eq(singles.all[SINGLE_small_int].count, 262);
    check_eq(singles.all[SINGLE_small_int].bytes, 6288);
    check_eq(singles.all[SINGLE_interned_str].count, QUERY_UNKNOWN);
    check_eq(singles.all[SINGLE_immortal_str].bytes, QUERY_UNKNOWN);
}

Test(history, a_recording_from_before_singles_has_none)
{
    put_censuses(1);
    change("DROP VIEW v_singles; DROP TABLE single");
    check_eq(singles_of().all[SINGLE_small_int].count, QUERY_UNKNOWN);
}

/* ---- blocks over time -------------------------------------------------- */

Test(history, what_became_fewer_was_given_back)
{
    static const int64_t wanted[] = {QUERY_UNKNOWN, 20, 0, QUERY_UNKNOWN,
                                     QUERY_UNKNOWN, 7};
    put_censuses(4);
    change("INSERT INTO block27 (census, name, blocks) VALUES"
           " (1, 'int', 100), (2, 'int', 80), (3, 'int', 300), (4, 'int', 9),"
           " (1, 'float', 50), (4, 'float', 43);"
           "UPDATE census SET image = 1 WHERE id = 4;" /* it executed */
           "UPDATE block27 SET name = 'late' WHERE census = 1 AND"
           " name = 'float';"
           "INSERT INTO block27 (census, name, blocks) VALUES"
           " (2, 'late', 43)");
    struct query *query = query_open(recorded.path);
    size_t n;
    struct query_kept *kept = query_kept(query, 1, &n);
    cr_assert(query_complaint(query) == NULL, "%s", query_complaint(query));
    /* float; int, int, int, int; late, late. */
    check_eq(n, 7);
    check_eq(kept[0].given_back, QUERY_UNKNOWN);
    for (size_t i = 0; i < 4; i++) {
        check_text(kept[1 + i].blocks.name, "int");
        check_eq(kept[1 + i].given_back, wanted[i]);
    }
    check_eq(kept[5].given_back, wanted[4]);
    check_eq(kept[6].given_back, wanted[5]);
    query_free_kept(kept, n);
    query_close(query);
    sqlite3 *file;
    sqlite3_stmt *row;
    check_eq(sqlite3_open(recorded.path, &file), SQLITE_OK);
    check_eq(sqlite3_prepare_v2(file,
                                "SELECT given_back_blocks FROM v_blocks27"
                                " WHERE name = 'int' ORDER BY t_us",
                                -1, &row, NULL),
             SQLITE_OK);
    for (size_t i = 0; i < 4; i++) {
        check_eq(sqlite3_step(row), SQLITE_ROW);
        check_eq(sqlite3_column_type(row, 0) == SQLITE_NULL,
                 wanted[i] == QUERY_UNKNOWN);
        check_eq(sqlite3_column_int64(row, 0),
                 wanted[i] == QUERY_UNKNOWN ? 0 : wanted[i]);
    }
    sqlite3_finalize(row);
    sqlite3_close(file);
}

/* ---- populations ------------------------------------------------------- */

static struct query_population *
population_of(const char *type, const char *python, size_t *n)
{
    const struct query_process process = {.id = 1, .python = (char *)python};
    struct query *query = query_open(recorded.path);
    struct query_population *population =
        query_population(query, &process, type, n);
    cr_assert(query_complaint(query) == NULL, "%s", query_complaint(query));
    query_close(query);
    return population;
}

static void
check_counts(const char *type, const char *python, const int64_t *counts,
             size_t n_counts)
{
    size_t n;
    struct query_population *population = population_of(type, python, &n);
    check_eq(n, n_counts);
    for (size_t i = 0; i < n; i++)
        check_eq(population[i].count, counts[i]);
    free(population);
}

/* Five censuses: whole, whole, with a sum, a sample, without types. */
#define FIVE                                                     \
    "UPDATE census SET has_types = id < 4, has_low_types = 1,"   \
    " types_part = CASE WHEN id < 5 THEN 0.5 END, took_us = 7;"  \
    "INSERT INTO type (census, name, count, bytes, count_error," \
    " bytes_error) VALUES (1, 'Node', 10, 640, NULL, NULL),"     \
    " (3, '(other)', 5, 100, NULL, NULL), (4, 'Node', 30, 1920, 3, 192);"

Test(history, a_type_has_a_count_at_each_census_that_tells_of_it)
{
    put_censuses(5);
    change(FIVE);
    check_counts("Node", "3.11.7", (const int64_t[]){10, 0, QUERY_UNKNOWN, 30},
                 4);
    check_counts("Leaf", "3.11.7",
                 (const int64_t[]){0, 0, QUERY_UNKNOWN, QUERY_UNKNOWN}, 4);
    size_t n;
    struct query_population *population = population_of("Node", "3.11.7", &n);
    check_eq(population[0].count_error, QUERY_UNKNOWN);
    check_eq(population[0].bytes, 640);
    check_eq(population[0].took_us, 7);
    check_text(population[0].kind, "periodic");
    check_eq(population[3].count_error, 3);
    check_eq(population[3].bytes_error, 192);
    free(population);
}

Test(history, ints_and_floats_of_2_7_are_those_in_its_blocks)
{
    put_censuses(5);
    change(FIVE "INSERT INTO block27 (census, name, live_bytes)"
                " VALUES (1, 'int', 240), (3, 'int', 480);"
                "INSERT INTO type (census, name, count, bytes)"
                " VALUES (1, 'int', 2, 64), (2, 'int', 2, 64)");
    check_counts(
        "int", "2.7.18",
        (const int64_t[]){12, QUERY_UNKNOWN, QUERY_UNKNOWN, QUERY_UNKNOWN}, 4);
    check_counts("int", "3.11.7",
                 (const int64_t[]){2, 2, QUERY_UNKNOWN, QUERY_UNKNOWN}, 4);
    check_counts("Node", "2.7.18", (const int64_t[]){10, 0, QUERY_UNKNOWN, 30},
                 4);
}
