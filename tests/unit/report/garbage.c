/*
 * What waited for the collector of cycles: two censuses around a collection,
 * and what can be wrong with what they say.
 */
#include "report/garbage.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "report/formats/stats_format.h"
#include "report/query/query.h"
#include "tests/unit/check.h"
#include "tests/unit/report/recorded.h"

static struct scratch scratch;
static struct recorded recorded;
static struct query *query;
static struct garbage *all;
static size_t n;

static void
set_up(void)
{
    scratch = scratch_create();
    recorded = recorded_create(&scratch, "recording");
    recorded_process(&recorded, 1, "/a/program");
    recorded_seal(&recorded);
}

static void
clean_up(void)
{
    if (all != NULL)
        garbage_free(all, n);
    if (query != NULL)
        query_close(query);
    scratch_remove(&scratch);
}

TestSuite(garbage, .init = set_up, .fini = clean_up);

static void
change(const char *sql)
{
    sqlite3 *file;
    check_eq(sqlite3_open(recorded.path, &file), SQLITE_OK);
    check_eq(sqlite3_exec(file, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(file);
}

/* At 100 to 110 and at 200; each with all types, whole, of one image. */
#define CENSUS                                                     \
    "INSERT INTO census (id, process, t_us, took_us, image, kind," \
    " rss_bytes, in_swap_bytes, torn, has_types, has_low_types) VALUES"
#define TWO_CENSUSES                                    \
    CENSUS "(1, 1, 100, 10, 0, 'mark', 9, 0, 0, 1, 1)," \
           "(2, 1, 200, 10, 0, 'mark', 9, 0, 0, 1, 1);"
#define TYPE "INSERT INTO type (census, name, count, bytes) VALUES"
#define TYPES                                                  \
    TYPE "(1, 'Node', 3000, 96000), (1, 'dict', 1100, 70400)," \
         "(1, 'str', 9000, 576000), (1, '(raw)', 800, 51200)," \
         "(2, 'Node', 1000, 32000), (2, 'dict', 100, 6400),"   \
         "(2, 'list', 7, 448);"
#define COLLECTION                                           \
    "INSERT INTO collection (slot, process, t_us, pause_us," \
    " generation, collected, uncollectable) VALUES"

static void
look(void)
{
    const struct query_process process = {.id = 1, .lost_events = 0};
    query = query_open(recorded.path);
    all = garbage_of(query, &process, &n);
    cr_assert_null(query_complaint(query));
}

static void
check_type(const struct garbage *garbage, size_t i, const char *name,
           int64_t count, int64_t bytes)
{
    cr_assert(i < garbage->n_types);
    check_text(garbage->types[i].name, name);
    check_eq(garbage->types[i].count, count);
    check_eq(garbage->types[i].bytes, bytes);
}

Test(garbage, what_vanished_is_what_was_collected)
{
    change(TWO_CENSUSES TYPES COLLECTION "(0, 1, 120, 20, 2, 3000, 0)");
    look();
    check_eq(n, 1);
    check_eq(all[0].collection.generation, 2);
    check_eq(all[0].objects, 3000);
    check_eq(all[0].objects_error, 0);
    check_eq(all[0].bytes, 128000);
    check_eq(all[0].bytes_error, 0);
    check_eq(all[0].n_types, 2);
    check_type(&all[0], 0, "Node", 2000, 64000);
    check_type(&all[0], 1, "dict", 1000, 64000);
}

Test(garbage, is_never_more_than_was_collected)
{
    change(TWO_CENSUSES TYPES COLLECTION "(0, 1, 120, 20, 2, 2000, 0)");
    look();
    check_eq(all[0].objects, 2000);
    check_eq(all[0].objects_error, 1000);
    check_type(&all[0], 0, "Node", 1333, 42656);
    check_type(&all[0], 1, "dict", 667, 42688);
    check_eq(all[0].bytes, 42656 + 42688);
    check_eq(all[0].bytes_error, 1000 * 512);
}

Test(garbage, what_is_not_missed_may_be_of_any_type)
{
    change(TWO_CENSUSES TYPES COLLECTION "(0, 1, 120, 20, 2, 3500, 0)");
    look();
    check_eq(all[0].objects, 3000);
    check_eq(all[0].objects_error, 500);
    check_eq(all[0].bytes_error, 500 * 512);
}

Test(garbage, what_other_collections_freed_is_an_error)
{
    change(TWO_CENSUSES TYPES COLLECTION "(0, 1, 120, 20, 2, 2900, 0),"
                                         "(1, 1, 150, 5, 0, 99, 0),"
                                         "(2, 1, 90, 9, 0, 70, 0),"
                                         "(3, 1, 211, 9, 0, 60, 0)");
    look();
    check_eq(n, 1);
    check_eq(all[0].collection.collected, 2900);
    check_eq(all[0].objects, 2900);
    check_eq(all[0].objects_error, 100 + 99);
}

Test(garbage, the_error_is_all_that_was_collected_at_most)
{
    change(TWO_CENSUSES TYPES COLLECTION "(0, 1, 120, 20, 2, 1000, 0)");
    look();
    check_eq(all[0].objects, 1000);
    check_eq(all[0].objects_error, 1000);
}

Test(garbage, what_could_not_be_read_leaves_nothing_to_say)
{
    change(TWO_CENSUSES TYPES COLLECTION
           "(0, 1, 120, 20, 2, 3000, 0);"
           "UPDATE census SET torn = 1 WHERE id = 2");
    look();
    check_eq(all[0].objects_error, 3000);
    check_eq(all[0].bytes_error, QUERY_UNKNOWN);
}

/* The ring is full, and its oldest row is of after the census before. */
Test(garbage, a_lane_that_lost_its_past_leaves_nothing_to_say)
{
    change(TWO_CENSUSES TYPES COLLECTION
           "(0, 1, 120, 20, 2, 3000, 0);"
           "WITH RECURSIVE i (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i"
           " WHERE n < 19999) INSERT INTO collection (slot, process, t_us)"
           " SELECT n, 2, 101 + n FROM i");
    look();
    check_eq(all[0].objects, 3000);
    check_eq(all[0].objects_error, 3000);
    check_eq(all[0].bytes_error, QUERY_UNKNOWN);
}

Test(garbage, events_that_were_lost_leave_nothing_to_say)
{
    const struct query_process process = {.id = 1, .lost_events = 1};
    change(TWO_CENSUSES TYPES COLLECTION "(0, 1, 120, 20, 2, 3000, 0)");
    query = query_open(recorded.path);
    all = garbage_of(query, &process, &n);
    check_eq(all[0].objects_error, 3000);
}

Test(garbage, a_type_that_may_be_added_up_is_not_missed)
{
    change(TWO_CENSUSES TYPES TYPE
           "(1, 'Rare', 50, 1600), (2, '(other)', 60, 1920);" COLLECTION
           "(0, 1, 120, 20, 2, 3050, 0)");
    look();
    check_eq(all[0].n_types, 2);
    check_eq(all[0].objects, 3000);
    check_eq(all[0].objects_error, 3050);
    check_eq(all[0].bytes_error, QUERY_UNKNOWN);
}

Test(garbage, sizes_that_cannot_be_are_the_mean)
{
    change(TWO_CENSUSES TYPE
           "(1, 'tuple', 400, 25600), (2, 'tuple', 200, 25600);" COLLECTION
           "(0, 1, 120, 20, 2, 200, 0)");
    look();
    check_type(&all[0], 0, "tuple", 200, 200 * 64);
    check_eq(all[0].objects_error, 0);
    check_eq(all[0].bytes_error, 200 * 512);
}

/* One runs into the census before it, one into that behind, one is small. */
Test(garbage, needs_a_census_on_either_side)
{
    change(TWO_CENSUSES TYPES COLLECTION "(0, 1, 105, 20, 2, 3000, 0),"
                                         "(1, 1, 190, 20, 2, 3000, 0),"
                                         "(2, 1, 120, 20, 2, 99, 0),"
                                         "(3, 1, 220, 20, 2, 3000, 0)");
    look();
    check_eq(n, 0);
}

Test(garbage, an_execed_program_is_another)
{
    change(TWO_CENSUSES TYPES COLLECTION
           "(0, 1, 120, 20, 2, 3000, 0);"
           "UPDATE census SET image = 1 WHERE id = 2");
    look();
    check_eq(n, 0);
}

Test(garbage, censuses_that_sampled_say_nothing)
{
    change(TWO_CENSUSES TYPES CENSUS
           "(3, 1, 115, 1, 0, 'periodic', 9, 0, 0, 0, 0);" COLLECTION
           "(0, 1, 120, 20, 2, 3000, 0)");
    look();
    check_eq(n, 1);
    check_eq(all[0].before_us, 100);
    check_eq(all[0].after_us, 200);
}

Test(garbage, the_largest_between_two_censuses_stands_for_all)
{
    change(TWO_CENSUSES TYPES COLLECTION "(0, 1, 120, 5, 2, 300, 0),"
                                         "(1, 1, 130, 5, 2, 2500, 0)");
    look();
    check_eq(n, 1);
    check_eq(all[0].collection.collected, 2500);
    check_eq(all[0].objects_error, 500 + 300);
}

Test(garbage, nonsense_is_left_out)
{
    change(TWO_CENSUSES TYPE
           "(1, 'A', 9223372036854775807, 1), (1, 'B', 200, 4611686018427387904"
           "), (1, 'C', 150, -5), (1, 'D', 200, NULL), (1, 'E', 200, "
           "6400);" COLLECTION "(0, 1, 120, 20, 2, 200, 0),"
           "(1, 1, 120, 20, 2, 9223372036854775807, 0)");
    look();
    check_eq(n, 1);
    check_eq(all[0].collection.collected, 200);
    check_eq(all[0].n_types, 1);
    check_type(&all[0], 0, "E", 200, 6400);
}

/* What stats prints of it, once there is a lane. */
static struct text
told(void (*put)(struct text *text, struct query *query,
                 const struct query_process *process))
{
    struct text text = {0};
    const struct query_process process = {.id = 1};
    query = query_open(recorded.path);
    put(&text, query, &process);
    cr_assert_null(query_complaint(query));
    return text;
}

static void
put_json(struct text *text, struct query *from,
         const struct query_process *process)
{
    struct json json = {0};
    stats_garbage(&json, from, process);
    *text = json.text;
}

Test(garbage, is_null_where_no_collection_is_told)
{
    struct text text = told(put_json);
    check_text(text_of(&text), "\"cyclic_garbage\":null");
    text_finish(&text);
}

Test(garbage, is_told_as_json_and_as_a_table)
{
    change(TWO_CENSUSES TYPES COLLECTION "(0, 1, 120, 20, 2, 3000, 0);"
                                         "INSERT INTO gc (process, generation)"
                                         " VALUES (1, 2)");
    struct text text = told(put_json);
    check_text(text_of(&text),
               "\"cyclic_garbage\":[{\"t_us\":120,\"generation\":2,"
               "\"collected\":3000,\"before_t_us\":100,\"after_t_us\":200,"
               "\"objects\":3000,\"objects_error\":0,\"bytes\":128000,"
               "\"bytes_error\":0,\"types\":["
               "{\"name\":\"Node\",\"count\":2000,\"bytes\":64000},"
               "{\"name\":\"dict\",\"count\":1000,\"bytes\":64000}]}]");
    text_finish(&text);
    query_close(query);
    text = told(stats_garbage_text);
    cr_assert_not_null(strstr(text_of(&text), "  3,000       3,000"));
    cr_assert_not_null(strstr(text_of(&text), "  Node\n"));
    text_finish(&text);
}

Test(garbage, a_table_has_no_row_that_says_nothing)
{
    change(TWO_CENSUSES TYPES COLLECTION "(0, 1, 120, 20, 2, 1000, 0)");
    struct text text = told(stats_garbage_text);
    cr_assert_not_null(strstr(text_of(&text), "too much else went on"));
    cr_assert_null(strstr(text_of(&text), "Node"));
    text_finish(&text);
}
