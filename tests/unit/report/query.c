#include "report/query/query.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "include/attrs.h"
#include "include/rendezvous.h"
#include "tests/unit/check.h"
#include "tests/unit/report/recorded.h"

static struct scratch scratch;
static struct recorded recorded;

static void
set_up(void)
{
    scratch = scratch_create();
    setenv("TMPDIR", scratch.path, 1);
    setenv("XDG_RUNTIME_DIR", scratch.path, 1);
    recorded = recorded_create(&scratch, "a.rec");
}

static void
clean_up(void)
{
    scratch_remove(&scratch);
}

TestSuite(query, .init = set_up, .fini = clean_up, .timeout = 20);

static struct query *
open_at(const char *moment)
{
    char target[2 * SCRATCH_PATH_BYTES];
    snprintf(target, sizeof(target), "%s%s%s", recorded.path,
             moment == NULL ? "" : "@", moment == NULL ? "" : moment);
    return query_open(target);
}

/* The time of the census of process 1 at a moment; -1: it has none. */
static int64_t
time_at(const char *moment)
{
    struct query *query = open_at(NULL);
    cr_assert(query_complaint(query) == NULL, "%s", query_complaint(query));
    const struct query_census census = query_census_at(query, 1, moment);
    cr_assert(query_complaint(query) == NULL, "%s", query_complaint(query));
    query_close(query);
    return census.id == 0 ? -1 : census.t_us;
}

/* What is complained of when this target is opened; the caller frees it. */
static char *
complaint_of(const char *target, bool *is_damaged)
{
    struct query *query = query_open(target);
    char *complaint =
        query_complaint(query) == NULL ? NULL : strdup(query_complaint(query));
    *is_damaged = query_is_damaged(query);
    query_close(query);
    return complaint;
}

static void
check_complaint(const char *target, const char *part, bool wants_damaged)
{
    bool is_damaged;
    char *complaint = complaint_of(target, &is_damaged);
    cr_assert(complaint != NULL && strstr(complaint, part) != NULL,
              "%s: \"%s\" does not say \"%s\"", target,
              complaint == NULL ? "" : complaint, part);
    check_eq(is_damaged, wants_damaged);
    free(complaint);
}

/* ---- moments ----------------------------------------------------------- */

static struct {
    int64_t start;
    int64_t low;
    int64_t peak;
    int64_t mark;
    int64_t end;
    int64_t after;
} times;

static int64_t
put(enum recording_census_kind kind, uint64_t after_ms, uint64_t rss,
    const char *label)
{
    return recorded_census(&recorded, &(struct recorded_census){
                                          .process = 1,
                                          .kind = kind,
                                          .after_ms = after_ms,
                                          .rss_bytes = rss,
                                          .label = label,
                                      });
}

static void
put_a_life(void)
{
    recorded_process(&recorded, 1, "/a/program");
    times.start = put(CENSUS_start, 0, 100, NULL);
    times.low = put(CENSUS_periodic, 1000, 50, NULL);
    times.peak = put(CENSUS_peak, 2000, 900, NULL);
    times.mark = put(CENSUS_mark, 3000, 400, "a mark");
    times.end = put(CENSUS_end, 4000, 300, NULL);
    times.after = put(CENSUS_periodic, 5000, 200, NULL); /* it lived on */
}

Test(query, a_moment_is_start_peak_end_mark_or_time)
{
    put_a_life();
    recorded_seal(&recorded);
    check_eq(time_at("start"), times.start);
    check_eq(time_at("peak"), times.peak);
    check_eq(time_at("end"), times.end);
    check_eq(time_at("a mark"), times.mark);
    check_eq(time_at("00:02.5"), times.peak);
    check_eq(time_at("2.5"), times.peak);
    check_eq(time_at("0:00:03.5"), times.mark);
    check_eq(time_at("99:59:59"), times.after);
    check_eq(time_at("no such mark"), -1);
}

Test(query, a_census_is_of_a_time_from_its_microsecond_on)
{
    enum { N = 200 };
    int64_t at[N];
    recorded_process(&recorded, 1, "/a/program");
    for (unsigned i = 0; i < N; i++)
        at[i] = put(CENSUS_periodic, 37 * i, 100, NULL);
    recorded_seal(&recorded);
    for (unsigned i = 2; i < 2 * N; i++) {
        char moment[48];
        const int64_t time = at[i / 2] - 1 + i % 2;
        snprintf(moment, sizeof(moment), "%" PRId64 ".%06" PRId64 "9",
                 time / 1000000, time % 1000000);
        check_eq(time_at(moment), at[(i - 1) / 2]);
    }
}

Test(query, without_an_end_the_last_census_is_the_end)
{
    recorded_process(&recorded, 1, "/a/program");
    put(CENSUS_start, 0, 100, NULL);
    const int64_t last = put(CENSUS_periodic, 1000, 100, NULL);
    recorded_seal(&recorded);
    check_eq(time_at("end"), last);
    check_eq(time_at("peak"), time_at("start")); /* the first of equals */
}

Test(query, of_two_marks_of_one_text_the_later_one_counts)
{
    recorded_process(&recorded, 1, "/a/program");
    put(CENSUS_mark, 0, 100, "again");
    const int64_t later = put(CENSUS_mark, 1000, 100, "again");
    recorded_seal(&recorded);
    check_eq(time_at("again"), later);
}

Test(query, a_mark_may_look_like_a_time_or_be_sql)
{
    recorded_process(&recorded, 1, "/a/program");
    const int64_t first = put(CENSUS_mark, 0, 100, "10");
    const int64_t second = put(CENSUS_mark, 1000, 100, "' OR 1=1 --");
    put(CENSUS_periodic, 2000, 100, NULL);
    recorded_seal(&recorded);
    check_eq(time_at("10"), first);
    check_eq(time_at("' OR 1=1 --"), second);
}

Test(query, before_the_first_census_there_is_none)
{
    recorded_process(&recorded, 1, "/a/program");
    put(CENSUS_start, 5000, 100, NULL);
    recorded_seal(&recorded);
    check_eq(time_at("00:01"), -1);
    check_eq(time_at("start") > 0, 1);
}

Test(query, a_process_without_a_census_has_no_moment)
{
    recorded_process(&recorded, 1, "/a/program");
    recorded_seal(&recorded);
    static const char *const moments[] = {"start", "peak", "end", "1:00"};
    for (size_t i = 0; i < countof(moments); i++)
        check_eq(time_at(moments[i]), -1);
}

Test(query, words_that_are_no_moment_are_told)
{
    static const char *const words[] = {
        "",   "begin", "1:",   ":1",  "1:2:3:4", "-1",   "1:-2", "x1",
        "1x", "1..2",  "1:2x", "0x1", "1e5",     "1.5.", ".5",   "999999999"};
    put_a_life();
    recorded_seal(&recorded);
    struct query *query = open_at(NULL);
    for (size_t i = 0; i < countof(words); i++)
        cr_assert(!query_is_moment(query, words[i]), "\"%s\" is a moment",
                  words[i]);
    check_true(query_is_moment(query, "1:02:03.5"));
    query_close(query);

    query = open_at("begin");
    cr_assert_not_null(query_complaint(query));
    cr_assert_not_null(strstr(query_complaint(query), "begin"));
    check_false(query_is_damaged(query));
    query_close(query);
}

Test(query, the_moment_stands_behind_the_last_at_sign)
{
    struct recorded other = recorded_create(&scratch, "b@2.rec");
    recorded_process(&other, 1, "/a/program");
    recorded_seal(&other);
    put_a_life();
    recorded_seal(&recorded);
    struct query *query = open_at("a mark");
    check_text(query_moment(query), "a mark");
    check_text(query_path(query), recorded.path);
    query_close(query);
    query = query_open(other.path);
    cr_assert_null(query_complaint(query));
    check_text(query_path(query), other.path);
    check_text(query_moment(query), "end");
    query_close(query);
}

Test(query, types_come_from_the_latest_census_that_has_them_all)
{
    struct recorded_census census = {.process = 1,
                                     .kind = CENSUS_periodic,
                                     .rss_bytes = 10,
                                     .type = "float"};
    recorded_process(&recorded, 1, "/a/program");
    recorded_census(&recorded, &census);
    census.after_ms = 1000;
    census.kind = CENSUS_mark;
    const int64_t typed = recorded_census(&recorded, &census);
    put(CENSUS_end, 2000, 10, NULL);
    recorded_seal(&recorded);
    struct query *query = open_at(NULL);
    const struct query_census end = query_census_at(query, 1, "end");
    check_eq(end.has_types, 0);
    check_eq(query_census_with_types(query, &end).t_us, typed);
    const struct query_census mark = query_census_with_types(query, &end);
    check_eq(query_census_with_types(query, &mark).t_us, typed);
    query_close(query);
}

/* ---- tables ------------------------------------------------------------ */

Test(query, a_census_is_read_as_it_was_written)
{
    struct recorded_census wanted = {
        .process = 1,
        .kind = CENSUS_end,
        .rss_bytes = 100000,
        .type = "float",
        .pinned_held = 5000,
    };
    for (unsigned i = 0; i < N_CAUSES; i++)
        wanted.ledger[i] = 1000 + i;
    recorded_process(&recorded, 1, "/a/program");
    recorded_census(&recorded, &wanted);
    recorded_seal(&recorded);
    struct query *query = open_at(NULL);
    const struct query_census census = query_census_at(query, 1, "end");
    int64_t sum = 0;
    for (unsigned i = 0; i < N_CAUSES; i++) {
        sum += census.ledger[i];
        if (i != CAUSE_file)
            check_eq(census.ledger[i], 1000 + i);
    }
    check_eq(sum, census.rss_bytes);
    check_text(census.kind, "end");
    check_eq(census.process, 1);
    check_eq(census.vm_hwm_bytes, QUERY_UNKNOWN);
    check_eq(census.arenas, 1);
    check_eq(census.arenas_pinned, 1);
    check_eq(census.pinned_held, 5000);
    check_eq(census.pinned_resident, 9096);
    check_eq(census.has_low_types, 1);
    size_t n;
    struct query_type *types = query_types(query, census.id, &n);
    check_eq(n, 1);
    check_text(types[0].name, "float");
    check_eq(types[0].count, 80);
    check_eq(types[0].pinned_exclusive, 5000);
    check_eq(types[0].pinned_count, 80);
    query_free_types(types, n);
    struct query_census *all = query_censuses(query, 1, &n);
    check_eq(n, 1);
    free(all);
    all = query_censuses(query, 2, &n);
    check_eq(n, 0);
    free(all);
    query_close(query);
}

Test(query, processes_come_in_order_of_their_start)
{
    recorded_process(&recorded, 2, "/second");
    recorded_process(&recorded, 1, "/first");
    recorded_process(&recorded, 3, NULL);
    recorded_seal(&recorded);
    struct query *query = open_at(NULL);
    size_t n;
    struct query_process *processes = query_processes(query, &n);
    check_eq(n, 3);
    check_text(processes[0].exe, "/first");
    check_text(processes[1].exe, "/second");
    cr_assert_null(processes[2].exe);
    check_eq(processes[0].pid, 1001);
    check_eq(processes[0].end_us, QUERY_UNKNOWN);
    check_text(processes[0].python, "3.11.7");
    check_text(processes[0].level, "watch");
    query_free_processes(processes, n);
    query_close(query);
}

Test(query, collections_counters_and_events_are_read)
{
    recorded_process(&recorded, 1, "/a/program");
    for (int64_t i = 2; i >= 0; i--)
        recording_put_gc(recorded.recording,
                         &(struct recording_gc){1, i, 2, 3, 4, 5, 6, 7});
    recording_put_collection(recorded.recording, &(struct recording_collection){
                                                     .t_us = 9, .process = 1});
    recording_put_event(recorded.recording, RECORDING_UNKNOWN, "mark", "text");
    recorded_seal(&recorded);
    struct query *query = open_at(NULL);
    size_t n;
    struct query_gc *generations = query_gc(query, 1, &n);
    check_eq(n, 3);
    check_eq(generations[2].generation, 2);
    check_eq(generations[0].pauses_since_us, 7);
    free(generations);
    struct query_collection *collections = query_collections(query, 1, &n);
    check_eq(n, 1);
    check_eq(collections[0].t_us, 9);
    free(collections);
    struct query_event *events = query_events(query, &n);
    check_eq(n, 1);
    check_text(events[0].kind, "mark");
    check_text(events[0].text, "text");
    check_eq(events[0].process, QUERY_UNKNOWN);
    query_free_events(events, n);
    check_false(query_has_event(query, 1, "mark")); /* it is nobody's */
    check_false(query_has_event(query, 1, "oom-kill"));
    query_close(query);
}

Test(query, an_event_is_of_its_kind_and_its_process)
{
    recording_put_event(recorded.recording, 2, "oom-kill", "text");
    recorded_seal(&recorded);
    struct query *query = open_at(NULL);
    check_true(query_has_event(query, 2, "oom-kill"));
    check_false(query_has_event(query, 2, "oom"));
    check_false(query_has_event(query, 1, "oom-kill"));
    query_close(query);
}

static void
put_tick(unsigned tier, int64_t t_us)
{
    recording_put_tick(recorded.recording, &(struct recording_tick){
                                               .tier = tier,
                                               .process = 1,
                                               .t_us = t_us,
                                               .n = 1,
                                               .rss = {t_us, t_us, t_us    },
                                               .cgroup = {-1,   1,    t_us + 1},
    });
}

Test(query, the_finest_ticks_of_each_part_make_the_timeline)
{
    const int64_t second = 1000000;
    for (int64_t t = 0; t < 100; t += 10)
        put_tick(2, t * second);
    for (int64_t t = 50; t < 100; t++)
        put_tick(1, t * second);
    for (int64_t t = 900; t < 1000; t++)
        put_tick(0, t * second / 10);
    recorded_seal(&recorded);
    struct query *query = open_at(NULL);
    size_t n;
    struct query_tick *ticks = query_ticks(query, 1, &n);
    check_eq(n, 5 + 40 + 100);
    for (size_t i = 1; i < n; i++)
        check_true(ticks[i - 1].t_us < ticks[i].t_us);
    check_eq(ticks[0].t_us, 0);
    check_eq(ticks[5].t_us, 50 * second);
    check_eq(ticks[45].t_us, 90 * second);
    check_eq(ticks[45].cgroup_last, 90 * second + 1);
    free(ticks);
    const struct query_tick last = query_last_tick(query, 1);
    check_eq(last.t_us, 999 * second / 10);
    check_eq(last.cgroup_last, 999 * second / 10 + 1);
    check_eq(query_last_tick(query, 2).t_us, QUERY_UNKNOWN);
    query_close(query);
}

/* ---- a recording that is being written --------------------------------- */

Test(query, a_live_recording_reads_as_a_finished_one)
{
    put_a_life();
    recorded_flush(&recorded);
    check_eq(time_at("peak"), times.peak);
    struct query *query = open_at(NULL);
    check_false(query_is_sealed(query));
    char *socket = query_meta(query, "socket");
    check_text(socket, "/a/socket");
    free(socket);
    query_close(query);
    recorded_seal(&recorded);
    query = open_at(NULL);
    check_true(query_is_sealed(query));
    cr_assert_null(query_meta(query, "socket"));
    cr_assert_null(query_meta(query, "no such key"));
    check_eq(query_meta_number(query, "no such key"), QUERY_UNKNOWN);
    check_eq(query_meta_number(query, "collector_pid"), getpid());
    query_close(query);
}

Test(query, a_pid_is_found_by_the_registry)
{
    char directory[RENDEZVOUS_PATH_BYTES];
    char link[RENDEZVOUS_PATH_BYTES + 16];
    put_a_life();
    recorded_seal(&recorded);
    check_true(rendezvous_make_directory(directory));
    snprintf(link, sizeof(link), "%s/pid.4711", directory);
    check_eq(symlink(recorded.path, link), 0);
    struct query *query = query_open("4711@peak");
    cr_assert_null(query_complaint(query));
    check_text(query_path(query), recorded.path);
    check_text(query_moment(query), "peak");
    query_close(query);
    check_complaint("4712", "no traced process has pid 4712", false);
}

/* ---- files that are none ----------------------------------------------- */

Test(query, what_is_no_recording_is_told_from_what_is_damaged)
{
    char path[SCRATCH_PATH_BYTES];
    scratch_file(&scratch, "text", "hello", 5, 0600, path);
    check_complaint(path, "not a recording", false);
    scratch_file(&scratch, "empty", "", 0, 0600, path);
    check_complaint(path, "not a recording", false);
    check_complaint(scratch.path, "not a file", false);
    check_complaint(scratch_path(&scratch, "nothing", path), "No such file",
                    false);
    check_eq(mkfifo(scratch_path(&scratch, "pipe", path), 0600), 0);
    check_complaint(path, "not a file", false);
}

static void
patch(off_t at, const void *bytes, size_t n_bytes)
{
    const int fd = open(recorded.path, O_WRONLY);
    check_eq(pwrite(fd, bytes, n_bytes, at), n_bytes);
    close(fd);
}

Test(query, another_programs_database_is_no_recording)
{
    recorded_seal(&recorded);
    patch(68, "abcd", 4); /* the application's id */
    check_complaint(recorded.path, "not a recording", false);
}

Test(query, another_version_is_refused)
{
    recorded_seal(&recorded);
    patch(60, "\0\0\1\0", 4);
    check_complaint(recorded.path, "version 256", false);
    patch(60, "\0\0\0\0", 4);
    check_complaint(recorded.path, "version 0", false);
}

Test(query, a_damaged_recording_is_told_and_does_no_harm)
{
    put_a_life();
    recorded_seal(&recorded);
    char garbage[8192];
    memset(garbage, 0xa5, sizeof(garbage));
    patch(100, garbage, 4000); /* the schema's page */
    bool is_damaged;
    char *complaint = complaint_of(recorded.path, &is_damaged);
    cr_assert_not_null(complaint);
    check_true(is_damaged);
    free(complaint);
}

Test(query, a_recording_damaged_anywhere_never_crashes)
{
    uint64_t state = 33;
    put_a_life();
    recorded_seal(&recorded);
    struct stat is;
    check_eq(stat(recorded.path, &is), 0);
    for (unsigned round = 0; round < 200; round++) {
        char bytes[64];
        char before[64];
        const off_t at =
            (off_t)(100 + check_random(&state) % (uint64_t)(is.st_size - 200));
        const int fd = open(recorded.path, O_RDONLY);
        check_eq(pread(fd, before, sizeof(before), at), sizeof(before));
        close(fd);
        for (size_t i = 0; i < sizeof(bytes); i++)
            bytes[i] = (char)check_random(&state);
        patch(at, bytes, sizeof(bytes));
        struct query *query = open_at(NULL);
        size_t n;
        struct query_process *processes = query_processes(query, &n);
        query_free_processes(processes, n);
        free(query_censuses(query, 1, &n));
        query_census_at(query, 1, "peak");
        query_close(query);
        patch(at, before, sizeof(before));
    }
}

Test(query, after_a_complaint_everything_is_empty)
{
    struct query *query = query_open("/no/such/file");
    size_t n = 77;
    cr_assert_not_null(query_complaint(query));
    cr_assert_null(query_processes(query, &n));
    check_eq(n, 0);
    cr_assert_null(query_types(query, 1, &n));
    cr_assert_null(query_ticks(query, 1, &n));
    check_eq(query_census_at(query, 1, "end").id, 0);
    cr_assert_null(query_meta(query, "sealed"));
    query_close(query);
    query_close(NULL);
}

/* ---- sealing ----------------------------------------------------------- */

static int64_t
number(const char *sql)
{
    sqlite3 *database;
    sqlite3_stmt *statement = NULL;
    check_eq(
        sqlite3_open_v2(recorded.path, &database, SQLITE_OPEN_READONLY, NULL),
        SQLITE_OK);
    check_eq(sqlite3_prepare_v2(database, sql, -1, &statement, NULL),
             SQLITE_OK);
    check_eq(sqlite3_step(statement), SQLITE_ROW);
    const int64_t is = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(database);
    return is;
}

static const struct query_finding findings[] = {
    {.process = 1,
     .id = "arena-pinning",
     .bytes = 5,
     .returns_bytes = QUERY_UNKNOWN,
     .owner = "float",
     .confidence = "high",
     .sentence = "It is so."},
    {.process = 2, .id = "pool-holes"     },
};

Test(query, findings_are_written_when_it_is_sealed)
{
    put_a_life();
    recorded_seal(&recorded);
    struct query *query = open_at(NULL);
    check_true(query_seal(query, findings, countof(findings)));
    check_true(query_seal(query, findings, 1)); /* again: they are replaced */
    query_close(query);
    check_eq(number("SELECT count(*) FROM finding"), 1);
    check_eq(number("SELECT bytes FROM finding WHERE rank = 1"), 5);
    check_eq(number("SELECT returns_bytes IS NULL FROM finding"), 1);
    check_eq(number("SELECT count(*) FROM event WHERE kind = 'sealed'"), 0);
}

Test(query, a_killed_collectors_recording_is_sealed_with_a_word)
{
    recorded_seal(&recorded);
    scratch_path(&scratch, "killed.rec", recorded.path);
    const pid_t pid = fork();
    if (pid == 0) {
        struct recorded other = recorded_create(&scratch, "killed.rec");
        recorded_process(&other, 1, "/a/program");
        recorded_flush(&other);
        _exit(0); /* and seals nothing */
    }
    waitpid(pid, NULL, 0);
    struct query *query = open_at(NULL);
    check_false(query_is_sealed(query));
    check_true(query_seal(query, findings, countof(findings)));
    query_close(query);
    check_eq(number("SELECT value FROM meta WHERE key = 'sealed'"), 1);
    check_eq(number("SELECT count(*) FROM event WHERE kind = 'sealed'"), 1);
    char wal[SCRATCH_PATH_BYTES + 8];
    snprintf(wal, sizeof(wal), "%s-wal", recorded.path);
    check_true(access(wal, F_OK) != 0);
}

/* ---- anything else ----------------------------------------------------- */

/* No statement may make this file. */
static char elsewhere[SCRATCH_PATH_BYTES];

static void
count_rows(void *context, int n, const char *const *names,
           const char *const *values)
{
    (void)values;
    check_eq(n, 2);
    check_text(names[0], "id");
    *(unsigned *)context += 1;
}

Test(query, a_users_select_is_run)
{
    unsigned n = 0;
    put_a_life();
    recorded_seal(&recorded);
    struct query *query = open_at(NULL);
    check_true(
        query_sql(query, "SELECT id, kind FROM census; ", count_rows, &n));
    check_eq(n, 6);
    query_close(query);
}

static bool
is_refused(const char *sql)
{
    unsigned n = 0;
    struct query *query = open_at(NULL);
    const bool is = !query_sql(query, sql, count_rows, &n) && n == 0 &&
                    query_complaint(query) != NULL;
    query_close(query);
    return is;
}

Test(query, a_users_statement_may_only_read)
{
    static const char *const refused[] = {
        "DELETE FROM census",
        "UPDATE meta SET value = 1",
        "INSERT INTO event VALUES (1, 1, 'a', 'b')",
        "DROP TABLE census",
        "CREATE TABLE other (a)",
        "CREATE TEMP TABLE other (a)",
        "PRAGMA journal_mode = DELETE",
        "ATTACH ':memory:' AS other",
        "VACUUM",
        "BEGIN",
        "",
        "   -- nothing",
        "SELECT FROM",
        "SELECT * FROM no_such_table",
    };
    put_a_life();
    recorded_seal(&recorded);
    for (size_t i = 0; i < countof(refused); i++)
        cr_assert(is_refused(refused[i]), "\"%s\" is run", refused[i]);
    check_eq(number("SELECT count(*) FROM census"), 6);
}

/*
 * Fails while the authorizer is asked when a statement is prepared and not when
 * it runs: VACUUM attaches its file only then, and writes it.
 */
Test(query, a_users_statement_writes_no_other_file)
{
    char sql[2 * SCRATCH_PATH_BYTES];
    put_a_life();
    recorded_seal(&recorded);
    scratch_path(&scratch, "elsewhere", elsewhere);
    snprintf(sql, sizeof(sql), "VACUUM INTO '%s'", elsewhere);
    const bool is = is_refused(sql);
    cr_assert(access(elsewhere, F_OK) != 0, "a query wrote a file");
    check_true(is);
    snprintf(sql, sizeof(sql), "ATTACH '%s' AS other", elsewhere);
    check_true(is_refused(sql));
    check_true(access(elsewhere, F_OK) != 0);
}
