#include "collector/statements.h"

#include <stdlib.h>

#include "collector/census/census.h"
#include "include/attrs.h"
#include "include/xalloc.h"
#include "tests/unit/check.h"
#include "tests/unit/collector/sql.h"

static sqlite3 *database;
static struct statements *statements;

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
    statements = statements_create(database);
    cr_assert_not_null(statements);
    run("BEGIN");
}

static void
clean_up(void)
{
    statements_destroy(statements);
    check_eq(sqlite3_close(database), SQLITE_OK);
}

TestSuite(statements, .init = set_up, .fini = clean_up, .timeout = 30);

static int64_t
number(const char *sql)
{
    return sql_number(database, sql);
}

static void
check_word(const char *sql, const char *expected)
{
    sqlite3_stmt *statement = NULL;
    check_eq(sqlite3_prepare_v2(database, sql, -1, &statement, NULL),
             SQLITE_OK);
    check_eq(sqlite3_step(statement), SQLITE_ROW);
    check_text((const char *)sqlite3_column_text(statement, 0), expected);
    sqlite3_finalize(statement);
}

/* ---- the schema -------------------------------------------------------- */

static const char *const causes[] = {
#define X(name) #name,
    RECORDING_CAUSES(X)
#undef X
};

Test(statements, the_schema_has_a_column_for_each_cause_and_no_other)
{
    char sql[160];
    const int64_t first = number("SELECT cid FROM pragma_table_info('census')"
                                 " WHERE name = 'profiler'");
    for (unsigned i = 0; i < N_CAUSES; i++) {
        snprintf(sql, sizeof(sql),
                 "SELECT count(*) FROM pragma_table_info('census')"
                 " WHERE name = '%s' AND cid = %lld",
                 causes[i], (long long)first + i);
        cr_assert(number(sql) == 1, "%s is not column %u of the ledger",
                  causes[i], i);
        snprintf(sql, sizeof(sql),
                 "SELECT instr((SELECT sql FROM sqlite_schema"
                 " WHERE name = 'v_ledger'), '''%s'', %s FROM') != 0",
                 causes[i], causes[i]);
        cr_assert(number(sql) == 1, "v_ledger lacks %s", causes[i]);
    }
    check_eq(number("SELECT count(*) FROM (SELECT 1 FROM census UNION ALL"
                    " SELECT 1) x"),
             1);
}

Test(statements, without_the_schema_there_are_none)
{
    sqlite3 *empty;
    sqlite3_open(":memory:", &empty);
    cr_assert_null(statements_create(empty));
    sqlite3_close(empty);
    statements_destroy(NULL);
}

Test(statements, every_view_can_be_read)
{
    static const char *const views[] = {
        "v_processes",      "v_censuses",    "v_ledger",      "v_classes",
        "v_arenas",         "v_types",       "v_heaps",       "v_mappings",
        "v_pages",          "v_gc",          "v_collections", "v_timeline",
        "v_never_returned", "v_sites",       "v_frames",      "v_blocks27",
        "v_singles",        "v_generations", "v_objects",
    };
    char sql[64];
    for (size_t i = 0; i < countof(views); i++) {
        snprintf(sql, sizeof(sql), "SELECT count(*) FROM %s", views[i]);
        check_eq(number(sql), 0);
    }
    check_eq(number("SELECT count(*) FROM sqlite_schema WHERE type = 'view'"),
             countof(views));
}

/* ---- a census ---------------------------------------------------------- */

static struct census *
census_of(enum recording_census_kind kind)
{
    struct census *census = xcalloc(1, sizeof(*census));
    census->kind = kind;
    census->is_read = true;
    census->is_whole = true;
    return census;
}

static struct recording_moment
moment_of(int64_t process)
{
    return (struct recording_moment){
        .process = process,
        .vm_hwm_bytes = 1,
        .births = 2,
        .deaths = 3,
        .live_blocks = -4, /* more deaths than births were seen */
        .live_bytes = -5,
        .collector_rss_bytes = 200,
        .cgroup = {201, CGROUP_UNKNOWN, 203, 204, 205, 206, 207},
        .cgroup_others = 208,
    };
}

/* Everything is another number, so that no column can be mistaken. */
static struct census *
telling_census(void)
{
    struct census *census = census_of(CENSUS_mark);
    census->rss_bytes = 101;
    census->skew_bytes = -102;
    census->swap_bytes = 103;
    census->in_swap_bytes = 104;
    census->anon_huge_bytes = 105;
    census->hugetlb_bytes = 110;
    census->n_torn = 106;
    census->has_types = true;
    census->cpu_us = 107;
    census->took_us = 108;
    census->read_bytes = 109;
    for (unsigned i = 0; i < N_CAUSES; i++)
        census->ledger[i] = 1000 + i;
    census->is_unknown[CAUSE_native_live] = true;
    return census;
}

Test(statements, a_census_is_written_column_by_column)
{
    struct census *census = telling_census();
    struct recording_moment moment = moment_of(3);
    moment.label = "a label";
    check_true(statements_census(statements, &moment, census, 77));
    census_destroy(census);

    static const struct {
        const char *column;
        int64_t is;
    } wanted[] = {
        {"id",              1       },
        {"process",         3       },
        {"t_us",            77      },
        {"ordinal",         SQL_NULL},
        {"rss_bytes",       101     },
        {"skew_bytes",      -102    },
        {"vm_hwm_bytes",    1       },
        {"swap_bytes",      103     },
        {"in_swap_bytes",   104     },
        {"anon_huge_bytes", 105     },
        {"hugetlb_bytes",   110     },
        {"torn",            106     },
        {"has_types",       1       },
        {"has_low_types",   0       },
        {"cpu_us",          107     },
        {"took_us",         108     },
        {"read_bytes",      109     },
        {"births",          2       },
        {"deaths",          3       },
        {"live_blocks",     -4      },
        {"live_bytes",      -5      },
        {"arenas",          0       },
    };
    char sql[64];
    for (size_t i = 0; i < countof(wanted); i++) {
        snprintf(sql, sizeof(sql), "SELECT %s FROM census", wanted[i].column);
        cr_assert(number(sql) == wanted[i].is, "%s is %lld", wanted[i].column,
                  (long long)number(sql));
    }
    for (unsigned i = 0; i < N_CAUSES; i++) {
        snprintf(sql, sizeof(sql), "SELECT %s FROM census", causes[i]);
        cr_assert(number(sql) ==
                      (i == CAUSE_native_live ? SQL_NULL : 1000 + (int64_t)i),
                  "%s is %lld", causes[i], (long long)number(sql));
    }
    check_word("SELECT kind FROM census", "mark");
    check_word("SELECT label FROM census", "a label");
    check_eq(number("SELECT count(*) FROM v_ledger"), N_CAUSES);
    check_eq(number("SELECT bytes FROM v_ledger WHERE cause = 'shmem'"),
             1000 + CAUSE_shmem);
}

Test(statements, a_census_has_what_its_cgroup_said)
{
    static const struct {
        const char *column;
        int64_t is;
    } wanted[] = {
        {"collector_rss_bytes", 200     },
        {"cgroup_current",      201     },
        {"cgroup_max",          SQL_NULL},
        {"cgroup_oom_kills",    203     },
        {"cgroup_anon",         204     },
        {"cgroup_file",         205     },
        {"cgroup_shmem",        206     },
        {"cgroup_kernel",       207     },
        {"cgroup_others",       208     },
    };
    const struct recording_moment moment = moment_of(3);
    struct census *census = telling_census();
    check_true(statements_census(statements, &moment, census, 77));
    census_destroy(census);
    char sql[64];
    for (size_t i = 0; i < countof(wanted); i++) {
        snprintf(sql, sizeof(sql), "SELECT %s FROM census", wanted[i].column);
        cr_assert(number(sql) == wanted[i].is, "%s is %lld", wanted[i].column,
                  (long long)number(sql));
    }
}

Test(statements, every_kind_of_census_has_its_word)
{
    static const char *const words[] = {
#define X(name) [CENSUS_##name] = #name,
        RECORDING_CENSUS_KINDS(X)
#undef X
    };
    const struct recording_moment moment = moment_of(1);
    for (unsigned kind = 0; kind < N_CENSUS_KINDS; kind++) {
        struct census *census = census_of(kind);
        check_true(statements_census(statements, &moment, census, kind));
        census_destroy(census);
        check_word("SELECT kind FROM census ORDER BY id DESC", words[kind]);
    }
}

static struct census *
census_with_arenas(void)
{
    static const struct census_arena arenas[] = {
        {.address = 0x1000,
         .n_bytes = 100,
         .resident_bytes = 90,
         .live_bytes = 20,
         .hole_bytes = 30,
         .n_pools = 5,
         .n_free_pools = 2,
         .n_used_blocks = 4,
         .is_pinned = true},
        {.address = 0x2000,
         .n_bytes = 200,
         .resident_bytes = 180,
         .live_bytes = 170,
         .hole_bytes = 5,
         .n_used_blocks = 40},
        {.address = 0x3000, .n_bytes = 400, .resident_bytes = 390},
    };
    struct census *census = census_of(CENSUS_end);
    census->arenas = xcalloc(countof(arenas), sizeof(arenas[0]));
    census->n_arenas = countof(arenas);
    memcpy(census->arenas, arenas, sizeof(arenas));
    census->classes[3] = (struct census_class){1, 2, 3};  /* 32 bytes */
    census->classes[63] = (struct census_class){4, 5, 6}; /* 512 */
    census->types = xcalloc(1, sizeof(census->types[0]));
    census->types[0] = (struct census_type){
        .name = xstrdup("float"),
        .n_objects = 1,
        .n_bytes = 2,
        .held_exclusive = 3,
        .held_split = 4,
        .exclusive_bytes = 5,
        .pinned_exclusive = 6,
        .pinned_split = 7,
        .pinned_bytes = 8,
        .n_pinned = 9,
    };
    census->n_types = 1;
    return census;
}

Test(statements, arenas_are_summed_up_beside_their_rows)
{
    struct census *census = census_with_arenas();
    const struct recording_moment moment = moment_of(1);
    check_true(statements_census(statements, &moment, census, 0));
    census_destroy(census);
    check_eq(number("SELECT arenas FROM census"), 3);
    check_eq(number("SELECT arena_bytes FROM census"), 700);
    check_eq(number("SELECT arena_resident FROM census"), 660);
    check_eq(number("SELECT arena_live FROM census"), 190);
    check_eq(number("SELECT arena_held FROM census"), 70 + 10);
    check_eq(number("SELECT arenas_pinned FROM census"), 1);
    check_eq(number("SELECT arenas_empty FROM census"), 1);
    check_eq(number("SELECT pinned_held FROM census"), 70);
    check_eq(number("SELECT pinned_resident FROM census"), 90);
    check_eq(number("SELECT pinned_holes FROM census"), 30);
    check_eq(number("SELECT pinned_blocks FROM census"), 4);
    check_eq(number("SELECT pinned_live FROM census"), 20);
    check_eq(number("SELECT count(*) FROM arena"), 3);
    check_eq(number("SELECT held_bytes FROM v_arenas WHERE address = 8192"),
             10);
    check_eq(number("SELECT held_bytes FROM v_arenas WHERE address = 12288"),
             SQL_NULL);
}

Test(statements, classes_and_types_have_rows_of_their_own)
{
    struct census *census = census_with_arenas();
    census->has_types = true;
    const struct recording_moment moment = moment_of(1);
    check_true(statements_census(statements, &moment, census, 0));
    census_destroy(census);
    check_eq(number("SELECT count(*) FROM class"), 2);
    check_eq(number("SELECT pools FROM class WHERE size = 32"), 1);
    check_eq(number("SELECT used FROM class WHERE size = 32"), 2);
    check_eq(number("SELECT free FROM class WHERE size = 32"), 3);
    check_eq(number("SELECT pools FROM class WHERE size = 512"), 4);
    check_eq(number("SELECT count || bytes || held_exclusive || held_split ||"
                    " exclusive_bytes || pinned_exclusive || pinned_split ||"
                    " pinned_bytes || pinned_count = '123456789'"
                    " FROM v_types WHERE name = 'float'"),
             1);
}

/* ---- processes, counters, events --------------------------------------- */

Test(statements, what_is_unknown_is_null_and_never_zero)
{
    const struct recording_process process = {
        .id = 1,
        .pid = 2,
        .ns_pid = RECORDING_UNKNOWN,
        .parent = RECORDING_UNKNOWN,
        .end_us = RECORDING_UNKNOWN,
        .exit_status = RECORDING_UNKNOWN,
        .vm_hwm_bytes = RECORDING_UNKNOWN,
        .live_blocks = -1, /* is known */
        .oom_kills = RECORDING_UNKNOWN,
        .shares_cgroup = RECORDING_UNKNOWN,
        .live_bytes = RECORDING_NOT_COUNTED,
        .level = "inspect",
    };
    check_true(statements_process(statements, &process));
    static const char *const nulls[] = {
        "ns_pid",       "parent",    "end_us",        "exit_status",
        "vm_hwm_bytes", "exe",       "command",       "python",
        "note",         "oom_kills", "shares_cgroup", "live_bytes"};
    char sql[64];
    for (size_t i = 0; i < countof(nulls); i++) {
        snprintf(sql, sizeof(sql), "SELECT %s FROM process", nulls[i]);
        cr_assert(number(sql) == SQL_NULL, "%s is not null", nulls[i]);
    }
    check_eq(number("SELECT live_blocks FROM process"), -1);
    check_eq(number("SELECT ppid FROM process"), 0);
    check_word("SELECT level FROM process", "inspect");
}

Test(statements, a_process_row_is_written_column_by_column)
{
    static const struct recording_process process = {
        .id = 1,
        .pid = 2,
        .ns_pid = 3,
        .ppid = 4,
        .parent = 5,
        .exe = "exe",
        .command = "command",
        .python = "python",
        .note = "note",
        .level = "level",
        .start_us = 6,
        .end_us = 7,
        .exit_status = 8,
        .vm_hwm_bytes = 9,
        .births = 10,
        .deaths = 11,
        .live_blocks = 12,
        .live_bytes = 13,
        .python_births = 14,
        .python_deaths = 15,
        .lost_events = 16,
        .lost_batches = 17,
        .census_cpu_us = 18,
        .census_read_bytes = 19,
    };
    static const char *const columns[] = {
        "id",
        "pid",
        "ns_pid",
        "ppid",
        "parent",
        "start_us",
        "end_us",
        "exit_status",
        "vm_hwm_bytes",
        "births",
        "deaths",
        "live_blocks",
        "live_bytes",
        "python_births",
        "python_deaths",
        "lost_events",
        "lost_batches",
        "census_cpu_us",
        "census_read_bytes",
    };
    check_true(statements_process(statements, &process));
    char sql[64];
    for (size_t i = 0; i < countof(columns); i++) {
        snprintf(sql, sizeof(sql), "SELECT %s FROM process", columns[i]);
        cr_assert(number(sql) == (int64_t)i + 1, "%s is %lld", columns[i],
                  (long long)number(sql));
    }
    check_word("SELECT exe || command || python || level || note FROM process",
               "execommandpythonlevelnote");
}

Test(statements, the_last_row_of_a_process_is_the_one)
{
    struct recording_process process = {.id = 1, .level = "watch", .births = 5};
    check_true(statements_process(statements, &process));
    process.births = 6;
    check_true(statements_process(statements, &process));
    check_eq(number("SELECT count(*) FROM process"), 1);
    check_eq(number("SELECT births FROM process"), 6);
}

Test(statements, a_generation_has_one_row)
{
    for (int64_t i = 0; i < 3; i++) {
        const struct recording_gc gc = {1, i, 2, 3, 4, 5, 6, 7 + i};
        check_true(statements_gc(statements, &gc));
        check_true(statements_gc(statements, &gc));
    }
    check_eq(number("SELECT count(*) FROM gc"), 3);
    check_eq(number("SELECT pauses_since_us FROM gc WHERE generation = 2"), 9);
}

Test(statements, collections_are_a_ring)
{
    for (int64_t i = 0; i < RECORDING_COLLECTION_SLOTS + 10; i++) {
        const struct recording_collection one = {
            .t_us = i,
            .process = 1,
            .arenas_before = 3,
            .arenas_after = 2,
            .rss_before = 5,
            .rss_after = RECORDING_UNKNOWN,
        };
        check_true(statements_collection(statements, &one));
    }
    check_eq(number("SELECT count(*) FROM collection"),
             RECORDING_COLLECTION_SLOTS);
    check_eq(number("SELECT min(t_us) FROM collection"), 10);
    check_eq(number("SELECT count(*) FROM v_collections WHERE"
                    " arenas_before = 3 AND arenas_after = 2"
                    " AND rss_before = 5 AND rss_after IS NULL"),
             RECORDING_COLLECTION_SLOTS);
}

Test(statements, words_of_others_are_no_sql)
{
    check_true(
        statements_event(statements, 1, 1, "mark", "'); DROP TABLE event; --"));
    check_true(statements_meta(statements, "a'b", NULL));
    check_true(statements_number(statements, "n", -5));
    check_true(statements_clock(statements, 1, 2, 3, 4));
    check_word("SELECT text FROM event", "'); DROP TABLE event; --");
    check_eq(number("SELECT value FROM meta WHERE key = 'n'"), -5);
    check_eq(number("SELECT wall_unix_ns FROM clock"), 4);
}

/* ---- rings of ticks ---------------------------------------------------- */

static const struct {
    const char *table;
    int64_t n_slots;
    int64_t period_us;
} tiers[] = {
    {"tick0", RECORDING_TICK0_SLOTS, RECORDING_TICK_US},
    {"tick1", RECORDING_TICK1_SLOTS,
     (int64_t)RECORDING_TICK_US *RECORDING_TICK1_TICKS},
    {"tick2", RECORDING_TICK2_SLOTS,
     (int64_t)RECORDING_TICK_US *RECORDING_TICK2_TICKS},
};

static void
tick(unsigned tier, int64_t process, int64_t at)
{
    const struct recording_tick row = {
        .tier = tier,
        .process = process,
        .t_us = at * tiers[tier].period_us + 17,
        .n = 1,
        .rss = {1,  2,  3 },
        .live = {-1, -2, -3},
        .arenas = {4,  5,  6 },
        .cgroup = {7,  8,  9 },
    };
    check_true(statements_tick(statements, &row));
}

static int64_t
tier_number(unsigned tier, const char *what)
{
    char sql[128];
    snprintf(sql, sizeof(sql), "SELECT %s FROM %s", what, tiers[tier].table);
    return number(sql);
}

Test(statements, a_tick_is_written_column_by_column)
{
    for (unsigned tier = 0; tier < countof(tiers); tier++) {
        tick(tier, 9, 5);
        check_eq(tier_number(tier, "slot"), 5);
        check_eq(tier_number(tier, "process"), 9);
        check_eq(tier_number(tier, "t_us"), 5 * tiers[tier].period_us + 17);
        check_eq(tier_number(tier, "cgroup_min || cgroup_max || cgroup_last"
                                   " = '789'"),
                 1);
        check_eq(tier_number(tier, "rss_min || rss_max || rss_last = '123'"),
                 1);
        check_eq(tier_number(tier, "live_last"), -3);
        check_eq(tier_number(tier, "arenas_max"), 5);
    }
    const struct recording_tick fourth = {.tier = 3};
    check_false(statements_tick(statements, &fourth));
}

Test(statements, a_slot_is_cleared_before_its_reuse)
{
    const int64_t lap = tiers[0].n_slots;
    for (int64_t at = 0; at < lap; at++) {
        tick(0, 1, at);
        if (at < 10)
            tick(0, 2, at); /* dies early */
    }
    check_eq(tier_number(0, "count(*)"), lap + 10);
    tick(0, 1, lap); /* over slot 0: the dead one's row goes too */
    check_eq(tier_number(0, "count(*)"), lap + 9);
    check_eq(tier_number(0, "min(t_us)"), tiers[0].period_us + 17);
    tick(0, 1, lap + 5); /* a gap: the slots between are cleared */
    check_eq(tier_number(0, "count(*)"), lap - 4 + 4);
    check_eq(tier_number(0, "count(*) FILTER (WHERE process = 2)"), 4);
}

Test(statements, processes_share_a_slot)
{
    const int64_t lap = tiers[1].n_slots;
    tick(1, 1, lap + 3);
    tick(1, 2, lap + 3);
    tick(1, 2, lap + 2); /* a little late */
    tick(1, 1, lap + 4);
    check_eq(tier_number(1, "count(*)"), 4);
}

Test(statements, a_gap_longer_than_the_ring_clears_all_of_it)
{
    for (int64_t at = 0; at < 100; at++)
        tick(0, 1, at);
    tick(0, 1, 10 * tiers[0].n_slots);
    check_eq(tier_number(0, "count(*)"), 1);
}

Test(statements, a_ring_never_holds_more_than_its_slots)
{
    uint64_t state = 4;
    int64_t at = 0;
    for (unsigned i = 0; i < 40000; i++) {
        at += (int64_t)(check_random(&state) % 3);
        tick(0, 1, at);
    }
    check_le(tier_number(0, "count(*)"), tiers[0].n_slots);
    check_ge(tier_number(0, "min(t_us)"),
             (at - tiers[0].n_slots) * tiers[0].period_us);
}

Test(statements, after_a_rollback_the_ring_is_still_clean)
{
    const int64_t lap = tiers[0].n_slots;
    for (int64_t at = 0; at < lap + 10; at++)
        tick(0, 1, at);
    run("COMMIT; BEGIN");
    tick(0, 1, lap + 10);
    run("ROLLBACK; BEGIN");
    statements_forget(statements);
    tick(0, 1, lap + 11);
    check_eq(tier_number(0, "count(*)"), lap);
    /* The tick that was rolled back left slot 10 as it was. */
    check_eq(tier_number(0, "count(DISTINCT slot)"), lap);
}

/* ---- thinning ---------------------------------------------------------- */

static void
put_periodic(int64_t process, int64_t t_us)
{
    struct census *census = census_with_arenas();
    const struct recording_moment moment = moment_of(process);
    census->kind = CENSUS_periodic;
    check_true(statements_census(statements, &moment, census, t_us));
    census_destroy(census);
}

Test(statements, only_the_latest_periodic_census_keeps_its_arenas)
{
    for (int64_t i = 0; i < 5; i++)
        put_periodic(1, i);
    check_eq(number("SELECT count(*) FROM census"), 5);
    check_eq(number("SELECT count(*) FROM class"), 10);
    check_eq(number("SELECT count(*) FROM type"), 5);
    check_eq(number("SELECT count(*) FROM arena"), 3);
    check_eq(number("SELECT DISTINCT census FROM arena"), 5);
}

Test(statements, other_censuses_keep_all_they_have)
{
    const struct recording_moment moment = moment_of(1);
    struct census *census = census_with_arenas(); /* an end */
    check_true(statements_census(statements, &moment, census, 0));
    census_destroy(census);
    for (int64_t i = 1; i < 2000; i++)
        put_periodic(1, i);
    check_eq(number("SELECT count(*) FROM census WHERE kind = 'end'"), 1);
    check_eq(number("SELECT count(*) FROM arena WHERE census = 1"), 3);
    check_eq(number("SELECT count(*) FROM type WHERE census = 1"), 1);
}

Test(statements, periodic_censuses_are_thinned_out_evenly)
{
    enum { TAKEN = 10000 };
    for (int64_t i = 0; i < TAKEN; i++) {
        put_periodic(1, i);
        if (i % 1000 == 999)
            check_le(number("SELECT count(*) FROM census"),
                     RECORDING_PERIODIC_KEPT + 1);
    }
    check_ge(number("SELECT count(*) FROM census"),
             RECORDING_PERIODIC_KEPT / 2);
    /* The first, the last, and every 32nd between. */
    check_eq(number("SELECT min(t_us) FROM census"), 0);
    check_eq(number("SELECT max(t_us) FROM census"), TAKEN - 1);
    check_eq(number("SELECT max(gap) FROM (SELECT t_us - lag(t_us) OVER"
                    " (ORDER BY t_us) AS gap FROM census)"),
             32);
    check_eq(number("SELECT count(*) FROM census WHERE t_us % 32 <> 0"
                    " AND t_us <> (SELECT max(t_us) FROM census)"),
             0);
    /* Nothing is left of those that went. */
    static const char *const details[] = {"class", "type", "arena"};
    char sql[128];
    for (size_t i = 0; i < countof(details); i++) {
        snprintf(sql, sizeof(sql),
                 "SELECT count(*) FROM %s WHERE census NOT IN"
                 " (SELECT id FROM census)",
                 details[i]);
        check_eq(number(sql), 0);
    }
}

Test(statements, processes_are_thinned_apart)
{
    for (int64_t i = 0; i < 1500; i++) {
        put_periodic(1, i);
        if (i < 100)
            put_periodic(2, i);
    }
    check_eq(number("SELECT count(*) FROM census WHERE process = 2"), 100);
    check_le(number("SELECT count(*) FROM census WHERE process = 1"),
             RECORDING_PERIODIC_KEPT + 1);
}
