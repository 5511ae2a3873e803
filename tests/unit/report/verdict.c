#include "report/verdict/verdict.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/formats/stats_format.h"
#include "tests/unit/check.h"
#include "tests/unit/report/recorded.h"

#define MIB ((uint64_t)1024 * 1024)

static struct scratch scratch;
static struct recorded recorded;
static struct query *query;
static struct verdict verdict;

static void
set_up(void)
{
    scratch = scratch_create();
    setenv("TMPDIR", scratch.path, 1);
    recorded = recorded_create(&scratch, "a.rec");
}

static void
clean_up(void)
{
    verdict_finish(&verdict);
    query_close(query);
    scratch_remove(&scratch);
}

TestSuite(verdict, .init = set_up, .fini = clean_up, .timeout = 20);

static void
reach(void)
{
    recorded_seal(&recorded);
    query = query_open(recorded.path);
    verdict = verdict_reach(query);
    cr_assert(query_complaint(query) == NULL, "%s", query_complaint(query));
    check_ge(verdict.n_findings, 0);
    cr_assert_not_null(verdict.headline);
}

static void
put(int64_t process, uint64_t rss, uint64_t pinned_held, uint64_t holes)
{
    struct recorded_census census = {
        .process = process,
        .kind = CENSUS_end,
        .rss_bytes = rss,
        .type = "float",
        .pinned_held = pinned_held,
    };
    census.ledger[CAUSE_python_holes] = holes;
    recorded_census(&recorded, &census);
}

Test(verdict, what_is_pinned_is_told_with_its_owner)
{
    recorded_process(&recorded, 1, "/a/program");
    put(1, 100 * MIB, 79 * MIB, 0);
    reach();
    check_eq(verdict.n_findings, 1);
    const struct finding *finding = &verdict.findings[0];
    check_text(finding->id, "arena-pinning");
    check_eq(finding->process, 1);
    check_eq(finding->bytes, 79 * MIB);
    check_eq(finding->score, 79);
    check_text(finding->owner, "float");
    check_text(finding->confidence, "high");
}

Test(verdict, what_is_worth_less_than_its_threshold_is_not_told)
{
    recorded_process(&recorded, 1, "/a/program");
    put(1, 1000 * MIB, 50 * MIB - 1, 50 * MIB);
    reach();
    check_eq(verdict.n_findings, 1);
    check_text(verdict.findings[0].id, "pool-holes");
}

Test(verdict, the_worst_stands_first)
{
    recorded_process(&recorded, 1, "/a/program");
    recorded_process(&recorded, 2, "/another");
    put(1, 100 * MIB, 10 * MIB, 20 * MIB);
    put(2, 100 * MIB, 30 * MIB, 0);
    reach();
    check_eq(verdict.n_findings, 3);
    check_eq(verdict.findings[0].process, 2);
    check_text(verdict.findings[1].id, "pool-holes");
    check_text(verdict.findings[2].id, "arena-pinning");
    check_eq(verdict.findings[2].process, 1);
}

Test(verdict, doubts_stand_last)
{
    struct recorded_census census = {
        .process = 1, .kind = CENSUS_end, .rss_bytes = 100 * MIB};
    census.ledger[CAUSE_unexplained] = 60 * MIB;
    census.ledger[CAUSE_python_holes] = 10 * MIB;
    recorded_process(&recorded, 1, "/a/program");
    recorded_census(&recorded, &census);
    reach();
    check_eq(verdict.n_findings, 2);
    check_text(verdict.findings[0].id, "pool-holes");
    check_text(verdict.findings[1].id, "not-enough-evidence");
}

Test(verdict, where_nothing_is_held_that_is_said)
{
    recorded_process(&recorded, 1, "/a/program");
    put(1, 100 * MIB, 0, MIB);
    reach();
    check_eq(verdict.n_findings, 1);
    check_text(verdict.findings[0].id, "nothing-held");
    check_eq(verdict.findings[0].bytes, MIB);
    cr_assert_not_null(strstr(verdict.headline, "RSS 100"));
    cr_assert_not_null(strstr(verdict.headline, "1.0 MiB are free but held"));
}

Test(verdict, of_what_python_holds_unseen_nothing_is_sure)
{
    sqlite3 *database;
    recorded_process(&recorded, 1, "/a/program");
    put(1, 100 * MIB, 0, MIB);
    recorded_flush(&recorded);
    sqlite3_open(recorded.path, &database);
    check_eq(sqlite3_exec(database,
                          "UPDATE census SET python_live = NULL;"
                          "UPDATE process SET note = 'it is so'",
                          NULL, NULL, NULL),
             SQLITE_OK);
    sqlite3_close(database);
    reach();
    check_text(verdict.findings[0].id, "nothing-held");
    check_text(verdict.findings[0].confidence, "medium");
    check_text(verdict.findings[0].evidence,
               "What Python itself holds is not known: it is so.");
}

Test(verdict, without_a_census_the_first_process_is_told_of)
{
    recorded_process(&recorded, 1, "/a/program");
    recorded_process(&recorded, 2, "/helper");
    reach();
    check_eq(verdict.n_findings, 1);
    check_text(verdict.findings[0].id, "not-enough-evidence");
    check_eq(verdict.findings[0].process, 1);
    check_text(verdict.headline, "No census was taken.");
}

Test(verdict, the_headline_is_of_the_process_that_matters)
{
    recorded_process(&recorded, 1, "/bin/sh");
    recorded_process(&recorded, 2, "/a/server");
    put(1, 2 * MIB, 0, 0);
    put(2, 200 * MIB, 0, 0);
    reach();
    check_eq(verdict.findings[0].process, 2); /* the largest */
    cr_assert_not_null(strstr(verdict.headline, "server, pid "));
    cr_assert_not_null(strstr(verdict.headline, "RSS 200.0 MiB"));
    cr_assert_null(verdict.caveat);
}

Test(verdict, an_end_that_was_not_read_is_told_with_its_age)
{
    recorded_process(&recorded, 1, "/a/program");
    recorded_census(&recorded, &(struct recorded_census){
                                   .process = 1,
                                   .kind = CENSUS_periodic,
                                   .rss_bytes = 50 * MIB,
                               });
    recorded_flush(&recorded);
    sqlite3 *database;
    sqlite3_open(recorded.path, &database);
    check_eq(sqlite3_exec(database, "UPDATE process SET end_us = 7000000", NULL,
                          NULL, NULL),
             SQLITE_OK);
    sqlite3_close(database);
    reach();
    cr_assert_not_null(verdict.caveat);
    cr_assert_not_null(strstr(verdict.caveat, "before"));
    check_text(verdict.findings[0].confidence, "medium");
}

Test(verdict, what_was_lost_stands_beside_it)
{
    recorded_process(&recorded, 1, "/a/program");
    recorded_process(&recorded, 2, "/a/child");
    put(1, 50 * MIB, 0, 0);
    recorded_flush(&recorded);
    sqlite3 *database;
    sqlite3_open(recorded.path, &database);
    check_eq(sqlite3_exec(database,
                          "UPDATE process SET lost_events = 1000 * id,"
                          " lost_batches = id - 1",
                          NULL, NULL, NULL),
             SQLITE_OK);
    sqlite3_close(database);
    reach();
    check_eq(verdict.loss.events, 3000);
    check_eq(verdict.loss.batches, 1);
    cr_assert_not_null(verdict.caveat);
    cr_assert_not_null(
        strstr(verdict.caveat, "3,000 events in 1 batch were lost"));
}

Test(verdict, without_a_process_there_is_a_word_for_it)
{
    reach();
    check_text(verdict.headline, "No process introduced itself.");
}

Test(verdict, a_verdict_is_of_the_querys_moment)
{
    struct recorded_census census = {.process = 1,
                                     .kind = CENSUS_mark,
                                     .label = "then",
                                     .rss_bytes = 100 * MIB};
    char target[2 * SCRATCH_PATH_BYTES];
    recorded_process(&recorded, 1, "/a/program");
    census.ledger[CAUSE_python_holes] = 50 * MIB;
    recorded_census(&recorded, &census);
    census.kind = CENSUS_end;
    census.label = NULL;
    census.after_ms = 1000;
    census.ledger[CAUSE_python_holes] = 0;
    recorded_census(&recorded, &census);
    recorded_seal(&recorded);
    snprintf(target, sizeof(target), "%s@then", recorded.path);
    query = query_open(target);
    verdict = verdict_reach(query);
    check_text(verdict.findings[0].id, "pool-holes");
}

Test(verdict, its_rows_are_the_findings)
{
    recorded_process(&recorded, 1, "/a/program");
    put(1, 100 * MIB, 79 * MIB, 0);
    reach();
    struct query_finding *rows = verdict_rows(&verdict);
    check_text(rows[0].id, "arena-pinning");
    check_eq(rows[0].returns_bytes, 79 * MIB + 4096);
    check_text(rows[0].sentence, verdict.findings[0].sentence);
    check_true(query_seal(query, rows, verdict.n_findings));
    free(rows);
}

/* ---- as JSON (DESIGN 8) ------------------------------------------------ */

static sqlite3 *judge;
static char *stats;

/* What a path of the JSON says, as text; the caller frees it. */
static char *
at(const char *path)
{
    sqlite3_stmt *statement;
    char *is = NULL;
    check_eq(sqlite3_prepare_v2(judge, "SELECT json_extract(?, ?)", -1,
                                &statement, NULL),
             SQLITE_OK);
    sqlite3_bind_text(statement, 1, stats, -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 2, path, -1, SQLITE_STATIC);
    check_eq(sqlite3_step(statement), SQLITE_ROW);
    if (sqlite3_column_text(statement, 0) != NULL)
        is = strdup((const char *)sqlite3_column_text(statement, 0));
    sqlite3_finalize(statement);
    return is;
}

static void
check_at(const char *path, const char *expected)
{
    char *is = at(path);
    if (expected == NULL)
        cr_assert(is == NULL, "%s is %s, not null", path, is);
    else
        cr_assert(is != NULL && strcmp(is, expected) == 0, "%s is %s, not %s",
                  path, is == NULL ? "null" : is, expected);
    free(is);
}

Test(verdict, stats_say_all_keys_and_null_where_nothing_is_known)
{
    recorded_process(&recorded, 1, "/a/program");
    recorded_process(&recorded, 2, "/helper");
    put(1, 100 * MIB, 79 * MIB, 0);
    reach();
    struct json json = {0};
    stats_json(&json, query, &verdict);
    stats = text_take(&json.text);
    check_eq(sqlite3_open(":memory:", &judge), SQLITE_OK);

    check_at("$.schema", "residue.stats/1");
    check_at("$.processes[0].id", "1");
    check_at("$.processes[0].pid", "1001");
    check_at("$.processes[0].exe", "/a/program");
    check_at("$.processes[0].python", "3.11.7");
    check_at("$.processes[0].level", "watch");
    check_at("$.processes[0].exit", NULL);
    check_at("$.processes[0].rss_bytes", "104857600");
    check_at("$.processes[0].vm_hwm_bytes", NULL);
    check_at("$.processes[0].census.kind", "end");
    check_at("$.processes[0].census.torn", "0");
    check_at("$.processes[0].ledger.python_holes", "0");
    check_at("$.processes[0].arenas.count", "1");
    check_at("$.processes[0].arenas.pinned", "1");
    check_at("$.processes[0].types[0].name", "float");
    check_at("$.processes[0].types[0].count", "80");
    check_at("$.processes[0].malloc.allocs", "0");
    check_at("$.processes[0].loss.events", "0");
    check_at("$.processes[0].gc", NULL);
    check_at("$.processes[0].sites", NULL);
    check_at("$.processes[1].census", NULL);
    check_at("$.processes[1].ledger", NULL);
    check_at("$.processes[1].rss_bytes", NULL);
    check_at("$.verdict[0].id", "arena-pinning");
    check_at("$.verdict[0].owner", "float");
    check_at("$.verdict[0].score", "79");
    sqlite3_close(judge);
    free(stats);
}

/* A census of 30 MiB in a group that may use 50. */
static void
put_in_group(int64_t process)
{
    static const struct cgroup_usage cgroup = {
        .current = 40 * MIB,
        .max = 50 * MIB,
        .oom_kills = 0,
        .anon = 31 * MIB,
        .file = 5 * MIB,
        .shmem = CGROUP_UNKNOWN,
        .kernel = 2 * MIB,
    };
    recorded_census(&recorded, &(struct recorded_census){
                                   .process = process,
                                   .kind = CENSUS_peak,
                                   .rss_bytes = 30 * MIB,
                                   .cgroup = &cgroup,
                               });
}

/* Another process, with a finding that is worth more. */
static void
put_killed_beside(int64_t other)
{
    recorded_process(&recorded, other, "/large");
    put(other, 1000 * MIB, 790 * MIB, 0);
    put_in_group(other + 1);
    recording_put_process(recorded.recording, &(struct recording_process){
                                                  .level = "watch",
                                                  .id = other + 1,
                                                  .pid = 7,
                                                  .end_us = 2000000,
                                                  .exit_status = 137,
                                                  .oom_kills = 1,
                                                  .shares_cgroup = 1,
                                              });
    recording_put_event(recorded.recording, other + 1, "oom-kill", "it was");
}

Test(verdict, how_it_was_killed_stands_first_however_small)
{
    put_killed_beside(1);
    reach();
    check_text(verdict.findings[0].id, "cgroup-killed");
    check_eq(verdict.findings[0].process, 2);
    check_eq(verdict.findings[0].bytes, 30 * MIB);
    check_text(verdict.findings[1].id, "arena-pinning");
    cr_assert_not_null(strstr(verdict.headline, "30.0 MiB"));
}

Test(verdict, a_kill_is_of_the_end_and_of_one_without_a_census_too)
{
    recorded_process(&recorded, 1, "/large");
    put(1, 1000 * MIB, 790 * MIB, 0);
    recorded_process(&recorded, 2, "/killed/at/once");
    recording_put_event(recorded.recording, 2, "oom-kill", "it was");
    reach();
    check_text(verdict.findings[0].id, "cgroup-killed");
    check_eq(verdict.findings[0].process, 2);
    verdict_finish(&verdict);
    query_close(query);
    char target[SCRATCH_PATH_BYTES + 8];
    snprintf(target, sizeof(target), "%s@start", recorded.path);
    query = query_open(target);
    verdict = verdict_reach(query);
    check_text(verdict.findings[0].id, "arena-pinning");
}

Test(verdict, stats_have_the_cgroup_and_the_collectors_share)
{
    put_killed_beside(1);
    reach();
    struct json json = {0};
    stats_json(&json, query, &verdict);
    stats = text_take(&json.text);
    check_eq(sqlite3_open(":memory:", &judge), SQLITE_OK);
    check_at("$.processes[0].cgroup", NULL);
    check_at("$.processes[0].collector.rss_bytes", NULL);
    check_at("$.processes[0].collector.shares_cgroup", NULL);
    check_at("$.processes[1].cgroup.current", "41943040");
    check_at("$.processes[1].cgroup.max", "52428800");
    check_at("$.processes[1].cgroup.oom_kills", "1"); /* at its end */
    check_at("$.processes[1].cgroup.file", "5242880");
    check_at("$.processes[1].cgroup.shmem", NULL);
    check_at("$.processes[1].cgroup.others", NULL);
    check_at("$.processes[1].collector.shares_cgroup", "1");
    sqlite3_close(judge);
    free(stats);
}

Test(verdict, stats_as_text_have_a_line_of_the_cgroup)
{
    recorded_process(&recorded, 1, "/a/program");
    put_in_group(1);
    reach();
    struct text text = {0};
    stats_text(&text, query, &verdict);
    cr_assert_not_null(
        strstr(text_of(&text), "cgroup: 40.0 MiB used of 50.0 MiB"));
    cr_assert_not_null(strstr(text_of(&text), "page cache 5.0 MiB"));
    cr_assert_not_null(strstr(text_of(&text), "shared memory -"));
    text_finish(&text);
}

Test(verdict, every_cause_has_a_word_and_a_meaning)
{
    for (unsigned cause = 0; cause < N_CAUSES; cause++) {
        cr_assert_not_null(stats_cause_word(cause));
        cr_assert_not_null(stats_cause_meaning(cause));
    }
    check_text(stats_cause_word(CAUSE_unexplained), "unexplained");
}

Test(verdict, stats_as_text_say_what_there_is)
{
    recorded_process(&recorded, 1, "/a/program");
    put(1, 100 * MIB, 79 * MIB, 0);
    reach();
    struct text text = {0};
    stats_text(&text, query, &verdict);
    cr_assert_not_null(strstr(text_of(&text), "float"));
    cr_assert_not_null(strstr(text_of(&text), "100"));
    text_finish(&text);
}

/* A census whose types were not read, and one whose free lists were not. */
static void
put_rough(int64_t error, int64_t never_returned)
{
    sqlite3 *database;
    char *sql = sqlite3_mprintf(
        "UPDATE census SET native_live = 9437184, python_large_error = %lld,"
        " python_never_returned = nullif(%lld, -1)",
        (long long)error, (long long)never_returned);
    recorded_flush(&recorded);
    sqlite3_open(recorded.path, &database);
    check_eq(sqlite3_exec(database, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(database);
    sqlite3_free(sql);
}

static char *
as_text(void)
{
    struct text text = {0};
    reach();
    stats_text(&text, query, &verdict);
    return text_take(&text);
}

Test(verdict, stats_as_text_say_how_rough_a_cause_is)
{
    recorded_process(&recorded, 1, "/a/program");
    put(1, 100 * MIB, 0, 0);
    put_rough(2 * (int64_t)MIB, 0);
    char *text = as_text();
    cr_assert_not_null(strstr(text, "large Python objects, ± 2.0 MiB\n"));
    cr_assert_not_null(strstr(text, "malloc: in use, ± 2.0 MiB\n"));
    cr_assert_not_null(strstr(text, "may be python_large"));
    cr_assert_null(strstr(text, "is not known here"));
    free(text);
}

Test(verdict, stats_as_text_say_why_a_cause_is_not_known)
{
    recorded_process(&recorded, 1, "/a/program");
    put(1, 100 * MIB, 0, 0);
    put_rough(0, -1);
    char *text = as_text();
    cr_assert_not_null(strstr(text, "python_never_returned is not known here"));
    cr_assert_not_null(strstr(text, "What they keep"));
    cr_assert_null(strstr(text, "±"));
    free(text);
}

Test(verdict, stats_as_text_fit_into_eighty_columns)
{
    recorded_process(&recorded, 1, "/a/program");
    put(1, 100 * MIB, 79 * MIB, 0);
    put_in_group(1);
    put_rough(2 * (int64_t)MIB, -1);
    char *text = as_text();
    for (char *line = strtok(text, "\n"); line != NULL;
         line = strtok(NULL, "\n"))
        cr_assert(strlen(line) <= 84, "%zu columns: %s", strlen(line), line);
    free(text);
}
