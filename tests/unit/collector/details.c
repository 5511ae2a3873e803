#include "collector/details.h"

#include "collector/census/census.h"
#include "include/attrs.h"
#include "include/recording.h"
#include "include/xalloc.h"
#include "tests/unit/check.h"
#include "tests/unit/collector/sql.h"

static sqlite3 *database;
static struct details *details;

static void
run(const char *sql)
{
    sql_run(database, sql);
}

static void
set_up(void)
{
    check_eq(sqlite3_open(":memory:", &database), SQLITE_OK);
    run(RECORDING_SCHEMA);
    details = details_create(database);
    cr_assert_not_null(details);
}

static void
clean_up(void)
{
    details_destroy(details);
    check_eq(sqlite3_close(database), SQLITE_OK);
}

TestSuite(details, .init = set_up, .fini = clean_up, .timeout = 30);

static int64_t
number(const char *sql)
{
    return sql_number(database, sql);
}

/* "a|b|..." of the first row. */
static void
check_row(const char *sql, const char *expected)
{
    sqlite3_stmt *statement = NULL;
    char row[400] = "";
    size_t n = 0;
    const int result = sqlite3_prepare_v2(database, sql, -1, &statement, NULL);
    cr_assert(result == SQLITE_OK, "%s: %s", sql, sqlite3_errmsg(database));
    check_eq(sqlite3_step(statement), SQLITE_ROW);
    for (int i = 0; i < sqlite3_column_count(statement); i++) {
        const char *text = (const char *)sqlite3_column_text(statement, i);
        n += (size_t)snprintf(row + n, sizeof(row) - n, "%s%s",
                              i == 0 ? "" : "|", text == NULL ? "-" : text);
    }
    sqlite3_finalize(statement);
    check_text(row, expected);
}

/* ---- what a census may have -------------------------------------------- */

/* Everything is another number, so that no column can be mistaken. */
static struct census_heap heaps[] = {
    {HEAP_main,    4096, 2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, false},
    {HEAP_thread,  8192, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, true },
    {HEAP_mmapped, 0,    42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 0,  false},
};

static struct census_module modules[] = {
    {(char *)"libc.so.6",  1, 2, 3},
    {(char *)"it's \"; x", 4, 5, 6},
};

static struct census_proof proofs[] = {
    {0x10000, 0x13000, 0x3000, 0x10000, CAUSE_file,        PROOF_file },
    {0x13000, 0x14000, 100,    0x13010, CAUSE_native_live, PROOF_chunk},
    {0x13000, 0x14000, 3996,   0x13800, CAUSE_native_free, PROOF_chunk},
    {0x20000, 0x21000, 0x1000, 0,       CAUSE_unexplained, N_PROOFS   },
};

static struct census_arena arena = {
    .address = 0x100000,
    .n_bytes = 1,
    .resident_bytes = 2,
    .live_bytes = 3,
    .hole_bytes = 4,
    .n_pools = 5,
    .n_free_pools = 6,
    .n_used_blocks = 7,
    .is_pinned = true,
    .born_us = 8,
};

static void
put(int64_t id)
{
    struct census *census = xcalloc(1, sizeof(*census));
    census->heaps = heaps;
    census->n_heaps = countof(heaps);
    census->modules = modules;
    census->n_modules = countof(modules);
    census->proofs = proofs;
    census->n_proofs = countof(proofs);
    census->arenas = &arena;
    census->n_arenas = 1;
    census->classes[3] = (struct census_class){1, 2, 3};
    check_true(details_put(details, census, id));
    free(census);
}

Test(details, without_the_schema_there_are_none)
{
    sqlite3 *empty;
    sqlite3_open(":memory:", &empty);
    cr_assert_null(details_create(empty));
    sqlite3_close(empty);
    details_destroy(NULL);
}

Test(details, a_heap_is_written_column_by_column)
{
    put(9);
    check_row("SELECT * FROM heap WHERE kind = 'main'",
              "9|4096|main|2|3|4|5|6|7|8|9|10|11|12|13|0");
    check_row("SELECT * FROM heap WHERE kind = 'thread'",
              "9|8192|thread|22|23|24|25|26|27|28|29|30|31|32|33|1");
    check_row("SELECT address, kind, is_torn FROM heap ORDER BY rowid DESC",
              "-|mmapped|0");
    check_eq(number("SELECT count(*) FROM heap"), 3);
}

Test(details, the_view_of_heaps_says_which_census_they_are_of)
{
    run("INSERT INTO census (id, process, t_us, image, kind, label, rss_bytes,"
        " torn, has_types, has_low_types)"
        " VALUES (9, 3, 77, 0, 'mark', 'a mark', 1, 0, 0, 0)");
    put(9);
    check_row("SELECT process, t_us, kind, label, census, heap, bytes,"
              " trim_gain_bytes FROM v_heaps ORDER BY address LIMIT 1 OFFSET 1",
              "3|77|mark|a mark|9|main|2|12");
    check_row("SELECT module, resident_bytes FROM v_mappings"
              " WHERE module = 'libc.so.6'",
              "libc.so.6|3");
}

Test(details, a_module_is_written_whatever_it_is_called)
{
    put(9);
    check_row("SELECT * FROM mapping WHERE count = 4", "9|it's \"; x|4|5|6");
    check_eq(number("SELECT count(*) FROM mapping"), 2);
}

Test(details, a_proof_is_written_and_the_unexplained_has_none)
{
    put(9);
    check_row("SELECT * FROM proof WHERE start = 65536",
              "9|65536|77824|12288|file|file|65536");
    check_row("SELECT * FROM proof WHERE n_bytes = 100",
              "9|77824|81920|100|native_live|chunk|77840");
    check_row("SELECT cause, proof, address FROM proof WHERE start = 131072",
              "unexplained|-|-");
}

Test(details, every_page_of_a_stretch_is_a_row_of_its_own)
{
    put(9);
    check_eq(number("SELECT count(*) FROM v_pages"), 3 + 1 + 1 + 1);
    check_eq(number("SELECT count(*) FROM v_pages WHERE cause = 'file'"
                    " AND page BETWEEN 65536 AND 73728 AND n_bytes = 12288"),
             3);
    check_eq(number("SELECT sum(n_bytes) FROM v_pages WHERE page = 77824"),
             4096);
    check_eq(number("SELECT count(*) FROM v_pages WHERE page = 81920"), 0);
}

Test(details, a_page_of_a_stretch_that_begins_within_it_is_whole)
{
    run("INSERT INTO proof VALUES (1, 4100, 8200, 4100, 'mapped_anon',"
        " 'mapping', 4100)");
    check_eq(number("SELECT group_concat(page) = '4096,8192' FROM v_pages"), 1);
}

static int64_t
rows_of(const char *table, int64_t id)
{
    char sql[100];
    snprintf(sql, sizeof(sql), "SELECT count(*) FROM %s WHERE census = %lld",
             table, (long long)id);
    return number(sql);
}

Test(details, who_is_retired_keeps_all_but_arenas_and_proofs)
{
    put(1);
    put(2);
    check_true(details_retire(details, 1));
    check_eq(rows_of("arena", 1), 0);
    check_eq(rows_of("proof", 1), 0);
    check_eq(rows_of("class", 1), 1);
    check_eq(rows_of("heap", 1), 3);
    check_eq(rows_of("mapping", 1), 2);
    check_eq(rows_of("arena", 2), 1);
    check_eq(rows_of("proof", 2), 4);
}

Test(details, of_who_is_dropped_nothing_is_kept)
{
    static const char *const tables[] = {"class", "arena",   "type",
                                         "heap",  "mapping", "proof"};
    put(1);
    put(2);
    put(3);
    check_false(details_drop(details)); /* nobody says who */
    run("CREATE TEMP TABLE doomed (id INTEGER PRIMARY KEY);"
        "INSERT INTO temp.doomed VALUES (1), (3)");
    check_true(details_drop(details));
    for (size_t i = 0; i < countof(tables); i++) {
        check_eq(rows_of(tables[i], 1), 0);
        check_eq(rows_of(tables[i], 3), 0);
    }
    check_eq(rows_of("heap", 2), 3);
    check_eq(rows_of("proof", 2), 4);
}

Test(details, the_same_row_twice_is_refused)
{
    struct census *census = xcalloc(1, sizeof(*census));
    census->modules = modules;
    census->n_modules = 1;
    check_true(details_put(details, census, 1));
    check_false(details_put(details, census, 1));
    check_true(details_put(details, census, 2));
    free(census);
}

/* ---- types that are not all, and what is never returned ---------------- */

static struct census *
census_with_float(void)
{
    struct census *census = xcalloc(1, sizeof(*census));
    census->types = xcalloc(1, sizeof(census->types[0]));
    census->n_types = 1;
    census->types[0] = (struct census_type){.name = xstrdup("float"),
                                            .n_objects = 1,
                                            .n_bytes = 2,
                                            .objects_error = 3,
                                            .bytes_error = 4,
                                            .held_exclusive = 5,
                                            .n_pinned = 9,
                                            .n_low = 6,
                                            .low_bytes = 7,
                                            .low_held = 8};
    return census;
}

Test(details, only_a_first_look_tells_who_sits_in_low_arenas)
{
    for (int is_first = 0; is_first < 2; is_first++) {
        struct census *census = census_with_float();
        census->is_first_look = is_first != 0;
        check_true(details_put(details, census, is_first));
        census_destroy(census);
    }
    check_eq(number("SELECT count(*) FROM low_type"), 1);
    check_row("SELECT * FROM low_type", "1|float|6|7|8");
}

Test(details, sampled_types_have_errors_and_hold_nothing_known)
{
    for (int is_all = 0; is_all < 2; is_all++) {
        struct census *census = census_with_float();
        census->has_types = is_all != 0;
        check_true(details_put(details, census, is_all));
        census_destroy(census);
    }
    check_row("SELECT count, bytes, count_error, bytes_error, held_exclusive,"
              " pinned_count FROM type WHERE census = 0",
              "1|2|3|4|-|9");
    check_row("SELECT count, bytes, count_error, bytes_error, held_exclusive,"
              " pinned_count FROM type WHERE census = 1",
              "1|2|-|-|5|9");
}

Test(details, what_is_never_returned_has_rows_of_its_own)
{
    struct census *census = xcalloc(1, sizeof(*census));
    struct census_never_returned *never = &census->never_returned;
    never->has_blocks27 = true;
    never->ints = (struct census_blocks27){2, 3, 4, 5, 6, 7};
    never->free_lists = xcalloc(2, sizeof(never->free_lists[0]));
    never->free_lists[0] = (struct census_free_list){"tuple", 7, 8};
    never->free_lists[1] = (struct census_free_list){"dict", 0, 0};
    never->n_free_lists = 2;
    census->singles[SINGLE_interned_str] = (struct census_single){true, 0, 0};
    census->singles[SINGLE_small_int] = (struct census_single){true, 262, 6288};
    check_true(details_put(details, census, 1));
    census_destroy(census);
    check_row("SELECT * FROM block27 WHERE name = 'int'",
              "1|int|2|3|4|5|120|6|7");
    check_eq(number("SELECT count(*) FROM block27"), 2);
    check_row("SELECT * FROM free_list WHERE name = 'tuple'", "1|tuple|7|8");
    check_row("SELECT * FROM free_list WHERE name = 'dict'", "1|dict|0|0");
    check_row("SELECT * FROM single WHERE name = 'small_int'",
              "1|small_int|262|6288");
    check_row("SELECT * FROM single WHERE name = 'interned_str'",
              "1|interned_str|0|0");
    check_eq(number("SELECT count(*) FROM single"), 2);
}

static const struct census_collector collector = {
    .is_known = true,
    .generations = {{700, 3}, {10, 4}, {11, 5}},
    .n_survivors = 6,
    .n_promoted = -1,
};

Test(details, generations_are_rows_where_they_are_known)
{
    struct census *census = xcalloc(1, sizeof(*census));
    check_true(details_put(details, census, 1));
    census->collector = collector;
    check_true(details_put(details, census, 2));
    census_destroy(census);
    check_eq(number("SELECT count(*) FROM generation"), 3);
    check_row("SELECT * FROM generation WHERE generation = 0", "2|0|700|3|-|-");
    check_row("SELECT * FROM generation WHERE generation = 2", "2|2|11|5|6|-");
    run("CREATE TEMP TABLE doomed (id INTEGER PRIMARY KEY);"
        "INSERT INTO temp.doomed VALUES (2)");
    check_true(details_drop(details));
    check_eq(number("SELECT count(*) FROM generation"), 0);
}

Test(details, what_was_told_of_objects_is_beside_its_census)
{
    run("INSERT INTO census (id, process, t_us, image, kind, rss_bytes, torn,"
        " has_types, has_low_types) VALUES (9, 3, 77, 0, 'mark', 1, 0, 1, 0)");
    const struct recording_objects objects = {
        11, 12, 13, 14, 15, 16, RECORDING_UNKNOWN, 18};
    check_true(details_put_objects(details, &objects, 9));
    check_row("SELECT * FROM v_objects",
              "3|77|mark|-|9|11|12|13|14|15|16|-|18");
    run("CREATE TEMP TABLE doomed (id INTEGER PRIMARY KEY);"
        "INSERT INTO temp.doomed VALUES (9)");
    check_true(details_drop(details));
    check_eq(number("SELECT count(*) FROM object"), 0);
}
