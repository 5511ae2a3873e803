#include "report/difference.h"

#include <math.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "include/xalloc.h"
#include "tests/unit/check.h"
#include "tests/unit/report/recorded.h"

static struct scratch scratch;
static struct recorded recorded;
static struct query *query;
static struct query_process *processes;
static size_t n_processes;

static void
set_up(void)
{
    scratch = scratch_create();
    recorded = recorded_create(&scratch, "it.rec");
    recorded_process(&recorded, 1, "/bin/a");
}

static void
clean_up(void)
{
    query_free_processes(processes, n_processes);
    query_close(query);
    scratch_remove(&scratch);
}

TestSuite(difference, .init = set_up, .fini = clean_up, .timeout = 40);

/* A mark; uses may be NULL. */
static void
put_mark(const char *label, uint64_t after_ms, const char *type,
         const struct recording_use *uses, size_t n)
{
    recorded_census_with(&recorded,
                         &(struct recorded_census){.process = 1,
                                                   .kind = CENSUS_mark,
                                                   .after_ms = after_ms,
                                                   .label = label,
                                                   .type = type,
                                                   .rss_bytes = 100000},
                         uses, n);
}

static struct difference_side
side_at(const char *moment)
{
    return (struct difference_side){
        .query = query,
        .process = &processes[0],
        .census = query_census_at(query, 1, moment),
    };
}

static void
read_back_sealed(struct difference_side sides[2])
{
    query = query_open(recorded.path);
    processes = query_processes(query, &n_processes);
    sides[0] = side_at("one");
    sides[1] = side_at("two");
    cr_assert(query_complaint(query) == NULL, "%s", query_complaint(query));
}

/* The recording's sides at "one" and "two". */
static void
read_back(struct difference_side sides[2])
{
    recorded_seal(&recorded);
    read_back_sealed(sides);
}

static struct recording_use
use(int64_t site, int64_t blocks, int64_t blocks_error, int64_t bytes,
    int64_t bytes_error)
{
    return (struct recording_use){
        .site = site,
        .live_blocks = blocks,
        .live_bytes = bytes,
        .live_blocks_error = blocks_error,
        .live_bytes_error = bytes_error,
    };
}

/* ---- tables ------------------------------------------------------------ */

Test(difference, rows_are_joined_and_the_greatest_change_is_first)
{
    const struct recording_use before[] = {
        use(RECORDING_SITE_UNKNOWN, 10, 1, 1000, 30),
        use(RECORDING_SITE_OTHER, 5, 0, 500, 0),
    };
    const struct recording_use after[] = {
        use(RECORDING_SITE_UNKNOWN, 20, 2, 1900, 40),
    };
    struct difference_side sides[2];
    put_mark("one", 100, NULL, before, 2);
    put_mark("two", 200, NULL, after, 1);
    read_back(sides);
    struct difference_table table = difference_sites(&sides[0], &sides[1]);
    check_true(table.is_known);
    check_eq(table.n, 2);
    const struct difference_row *first = &table.rows[0];
    check_text(first->name, "(their stack is not known)");
    check_eq(difference_change(first->count), 10);
    check_eq(difference_change(first->bytes), 900);
    check_eq(first->bytes_error, 50);
    cr_assert(fabs(first->count_error - sqrt(5)) < 1e-9);
    check_eq(difference_change(table.rows[1].bytes), -500);
    check_eq(table.rows[1].bytes_error, 0);
    difference_free(&table);
}

Test(difference, what_did_not_change_is_left_out)
{
    const struct recording_use uses[] = {
        {RECORDING_SITE_UNKNOWN, 10, 1000, 10, 1000},
    };
    struct difference_side sides[2];
    put_mark("one", 100, "dict", uses, 1);
    put_mark("two", 200, "dict", uses, 1);
    read_back(sides);
    struct difference_table table = difference_sites(&sides[0], &sides[1]);
    check_true(table.is_known);
    check_eq(table.n, 0);
    difference_free(&table);
    table = difference_types(&sides[0], &sides[1]);
    check_true(table.is_known);
    check_eq(table.n, 0);
    difference_free(&table);
}

Test(difference, another_type_comes_and_goes)
{
    struct difference_side sides[2];
    put_mark("one", 100, "dict", NULL, 0);
    put_mark("two", 200, "Node", NULL, 0);
    read_back(sides);
    struct difference_table table = difference_types(&sides[0], &sides[1]);
    check_eq(table.n, 2);
    for (size_t i = 0; i < 2; i++) {
        const bool is_new = strcmp(table.rows[i].name, "Node") == 0;
        check_eq(table.rows[i].bytes[is_new ? 0 : 1], 0);
        check_ge(table.rows[i].bytes[is_new ? 1 : 0], 1);
    }
    difference_free(&table);
}

/* The first census has added up its least types, the second has not. */
Test(difference, what_may_be_in_a_sum_is_not_known)
{
    struct difference_side sides[2];
    put_mark("one", 100, "dict", NULL, 0);
    put_mark("two", 200, "Node", NULL, 0);
    recorded_seal(&recorded);
    sqlite3 *file;
    check_eq(sqlite3_open(recorded.path, &file), SQLITE_OK);
    check_eq(sqlite3_exec(file,
                          "INSERT INTO type (census, name, count, bytes)"
                          " VALUES (1, '(other)', 5, 100)",
                          NULL, NULL, NULL),
             SQLITE_OK);
    sqlite3_close(file);
    read_back_sealed(sides);
    struct difference_table table = difference_types(&sides[0], &sides[1]);
    check_eq(table.n, 3);
    for (size_t i = 0; i < table.n; i++) {
        const struct difference_row *row = &table.rows[i];
        const bool is_new = strcmp(row->name, "Node") == 0;
        check_eq(row->count[0] == QUERY_UNKNOWN, is_new);
        check_eq(row->bytes[0] == QUERY_UNKNOWN, is_new);
        check_eq(difference_change(row->count) == QUERY_UNKNOWN, is_new);
        check_eq(row->count[1], is_new ? 80 : 0);
        check_eq(i == 2, strcmp(row->name, "(other)") == 0); /* 100 bytes */
    }
    difference_free(&table);
}

Test(difference, where_one_side_knows_nothing_nothing_is_said)
{
    const struct recording_use uses[] = {
        {RECORDING_SITE_UNKNOWN, 10, 1000, 10, 1000},
    };
    struct difference_side sides[2];
    put_mark("one", 100, NULL, NULL, 0);
    put_mark("two", 200, NULL, uses, 1);
    read_back(sides);
    struct difference_table table = difference_sites(&sides[0], &sides[1]);
    check_false(table.is_known);
    check_eq(table.n, 0);
    difference_free(&table);
    table = difference_types(&sides[0], &sides[1]);
    check_false(table.is_known);
    difference_free(&table);
}

Test(difference, of_what_is_not_known_there_is_no_change)
{
    const int64_t half[] = {QUERY_UNKNOWN, 3};
    const int64_t extreme[] = {INT64_MAX, -2};
    check_eq(difference_change(half), QUERY_UNKNOWN);
    (void)difference_change(extreme); /* hostile, but defined */
}

/* ---- processes --------------------------------------------------------- */

static struct query_process
process(int64_t id, const char *exe)
{
    return (struct query_process){.id = id, .exe = (char *)(uintptr_t)exe};
}

static void
check_pairs(bool is_same_recording, const char *expected)
{
    const struct query_process before[] = {
        process(1, "/bin/sh"), process(2, "/bin/py"), process(3, "/bin/py"),
        process(4, NULL)};
    const struct query_process after[] = {
        process(1, "/opt/py"), process(2, "/bin/sh"), process(3, "/bin/py"),
        process(5, "/bin/py"), process(6, NULL)};
    size_t n;
    struct difference_pair *pairs = difference_pairs(
        &(struct difference_processes){before, 4},
        &(struct difference_processes){after, 5}, is_same_recording, &n);
    char said[64] = "";
    for (size_t i = 0; i < n; i++)
        snprintf(said + strlen(said), sizeof(said) - strlen(said), "%d-%d ",
                 (int)pairs[i].before->id, (int)pairs[i].after->id);
    check_text(said, expected);
    free(pairs);
}

Test(difference, of_one_recording_processes_are_the_same_rows)
{
    recorded_seal(&recorded);
    check_pairs(true, "1-1 2-2 3-3 ");
}

Test(difference, of_two_they_are_the_same_programs_in_their_order)
{
    recorded_seal(&recorded);
    check_pairs(false, "1-2 2-1 3-3 4-6 ");
}
