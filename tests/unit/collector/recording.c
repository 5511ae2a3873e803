#include "collector/recording.h"

#include <poll.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "include/attrs.h"
#include "include/xalloc.h"
#include "tests/unit/check.h"
#include "tests/unit/collector/sql.h"
#include "tests/unit/scratch.h"

static struct scratch scratch;
static char path[SCRATCH_PATH_BYTES];
static char why[256];

static void
set_up(void)
{
    scratch = scratch_create();
    scratch_path(&scratch, "a.rec", path);
}

static void
clean_up(void)
{
    scratch_remove(&scratch);
}

TestSuite(recording, .init = set_up, .fini = clean_up, .timeout = 40);

static struct recording *
open_new(void)
{
    struct recording *recording =
        recording_open(path, "/a/socket", why, sizeof(why));
    cr_assert(recording != NULL, "%s: %s", path, why);
    return recording;
}

/* ---- reading it -------------------------------------------------------- */

/* A number of the file, as another program reads it; INT64_MIN: null. */
static int64_t
number(const char *sql)
{
    sqlite3 *database;
    check_eq(sqlite3_open_v2(path, &database, SQLITE_OPEN_READONLY, NULL),
             SQLITE_OK);
    sqlite3_busy_timeout(database, 5000);
    const int64_t is = sql_number(database, sql);
    sqlite3_close(database);
    return is;
}

static bool
exists(const char *ending)
{
    char name[SCRATCH_PATH_BYTES + 8];
    snprintf(name, sizeof(name), "%s%s", path, ending);
    return access(name, F_OK) == 0;
}

/* Waits until the token is back, and says whether it was. */
static bool
wait_for(struct recording *recording, const void *token)
{
    struct pollfd ready = {.fd = recording_fd(recording), .events = POLLIN};
    for (;;) {
        const void *came = recording_fetch(recording);
        if (came != NULL)
            return came == token;
        if (poll(&ready, 1, 20000) != 1)
            return false;
    }
}

static void
sync_all(struct recording *recording)
{
    static char token;
    recording_put_sync(recording, &token);
    check_true(wait_for(recording, &token));
}

static void
put_event(struct recording *recording, int64_t process)
{
    recording_put_event(recording, process, "word", "text");
}

/* ---- life -------------------------------------------------------------- */

Test(recording, a_sealed_one_is_one_file_of_its_users_own)
{
    struct recording *recording = open_new();
    put_event(recording, 1);
    check_true(recording_seal(recording));
    struct stat is;
    check_eq(stat(path, &is), 0);
    check_eq(is.st_mode & 0777, 0600);
    check_false(exists("-wal") || exists("-shm") || exists("-journal"));
    check_eq(number("PRAGMA application_id"), RECORDING_APPLICATION_ID);
    check_eq(number("PRAGMA user_version"), RECORDING_VERSION);
    check_eq(number("SELECT value FROM meta WHERE key = 'sealed'"), 1);
    check_eq(number("SELECT value FROM meta WHERE key = 'socket'"), INT64_MIN);
    check_ge(number("SELECT value FROM meta WHERE key = 'ended_us'"), 0);
    check_eq(number("SELECT value FROM meta WHERE key = 'collector_pid'"),
             getpid());
    check_eq(number("SELECT count(*) FROM clock"), 1);
    check_eq(number("SELECT count(*) FROM event"), 1);
}

Test(recording, a_live_one_can_be_read)
{
    struct recording *recording = open_new();
    for (int64_t i = 1; i <= 20; i++) {
        put_event(recording, i);
        sync_all(recording);
        check_eq(number("SELECT count(*) FROM event"), i);
    }
    check_eq(number("SELECT value FROM meta WHERE key = 'sealed'"), 0);
    check_eq(number("SELECT value = '/a/socket' FROM meta"
                    " WHERE key = 'socket'"),
             1);
    check_true(recording_seal(recording));
}

Test(recording, an_empty_one_is_one_too)
{
    check_true(recording_seal(open_new()));
    check_eq(number("SELECT count(*) FROM process"), 0);
}

Test(recording, what_cannot_be_made_is_refused_with_a_reason)
{
    strcpy(path, "/no/such/directory/a.rec");
    cr_assert_null(recording_open(path, "", why, sizeof(why)));
    check_true(why[0] != '\0');
}

Test(recording, a_recording_that_is_there_is_never_written_over)
{
    struct recording *recording = open_new();
    put_event(recording, 1);
    check_true(recording_seal(recording));
    cr_assert_null(recording_open(path, "", why, sizeof(why)));
    check_true(why[0] != '\0');
    check_eq(number("SELECT count(*) FROM event"), 1);
    check_eq(number("SELECT value FROM meta WHERE key = 'sealed'"), 1);
}

Test(recording, times_count_from_its_beginning)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    const uint64_t now_ns =
        (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    struct recording *recording = open_new();
    check_eq(recording_us(recording, 0), 0);
    check_eq(recording_us(recording, now_ns), 0);
    check_le(recording_us(recording, now_ns + 5000000000u), 5000000);
    check_ge(recording_us(recording, now_ns + 5000000000u), 1);
    check_le(recording_now_us(recording), 10000000);
    check_true(recording_seal(recording));
}

/* ---- what is put ------------------------------------------------------- */

static struct census *
census_of(uint64_t rss_bytes)
{
    struct census *census = xcalloc(1, sizeof(*census));
    census->kind = CENSUS_mark;
    census->rss_bytes = rss_bytes;
    census->ledger[CAUSE_unexplained] = rss_bytes;
    census->types = xcalloc(1, sizeof(census->types[0]));
    census->types[0].name = xstrdup("float");
    census->n_types = 1;
    return census;
}

Test(recording, texts_are_copied_and_censuses_taken_over)
{
    struct recording *recording = open_new();
    char text[32] = "a text";
    struct recording_process process = {
        .id = 1,
        .exe = text,
        .command = text,
        .python = text,
        .level = "watch",
        .note = text,
    };
    const struct recording_moment moment = {.process = 1, .label = text};
    recording_put_process(recording, &process);
    recording_put_census(recording, &moment, census_of(42));
    recording_put_meta(recording, text, text);
    recording_put_event(recording, 1, text, text);
    memset(text, 'x', sizeof(text) - 1);
    check_true(recording_seal(recording));
    check_eq(number("SELECT count(*) FROM process WHERE exe = 'a text' AND"
                    " command = exe AND python = exe AND note = exe"),
             1);
    check_eq(number("SELECT rss_bytes FROM census WHERE label = 'a text'"), 42);
    check_eq(number("SELECT value = 'a text' FROM meta WHERE key = 'a text'"),
             1);
    check_eq(number("SELECT count(*) FROM event WHERE kind = text"), 1);
    check_eq(number("SELECT count(*) FROM type"), 1);
}

Test(recording, rows_of_every_kind_reach_the_file)
{
    struct recording *recording = open_new();
    const struct recording_gc gc = {.process = 1, .generation = 2};
    const struct recording_collection collection = {.process = 1};
    for (unsigned tier = 0; tier < 3; tier++) {
        const struct recording_tick tick = {.tier = tier, .process = 1};
        recording_put_tick(recording, &tick);
    }
    recording_put_gc(recording, &gc);
    recording_put_collection(recording, &collection);
    recording_put_number(recording, "n", -7);
    recording_put_event(recording, RECORDING_UNKNOWN, "word", NULL);
    check_true(recording_seal(recording));
    check_eq(number("SELECT count(*) FROM v_timeline"), 3);
    check_eq(number("SELECT count(*) FROM gc"), 1);
    check_eq(number("SELECT count(*) FROM collection"), 1);
    check_eq(number("SELECT value FROM meta WHERE key = 'n'"), -7);
    check_eq(number("SELECT process FROM event"), INT64_MIN);
}

/* ---- tokens ------------------------------------------------------------ */

Test(recording, every_token_comes_back_once)
{
    enum { TOKENS = 500 };
    static char tokens[TOKENS];
    struct recording *recording = open_new();
    for (unsigned i = 0; i < TOKENS; i++) {
        put_event(recording, i);
        recording_put_sync(recording, &tokens[i]);
    }
    struct pollfd ready = {.fd = recording_fd(recording), .events = POLLIN};
    for (unsigned n = 0; n < TOKENS;) {
        check_eq(poll(&ready, 1, 20000), 1);
        char *token;
        while ((token = recording_fetch(recording)) != NULL) {
            check_eq(*token, 0);
            *token = 1;
            n++;
        }
    }
    cr_assert_null(recording_fetch(recording));
    check_eq(poll(&ready, 1, 0), 0);
    check_true(recording_seal(recording));
}

/*
 * A collector that stops does not fetch what came back last. Fails, where leaks
 * are looked for, while recording_seal lets go of the queue of tokens.
 */
Test(recording, tokens_that_nobody_fetches_are_not_leaked)
{
    static char token;
    struct recording *recording = open_new();
    recording_put_sync(recording, &token);
    recording_put_sync(recording, &token);
    check_true(recording_seal(recording));
}

/* ---- a disk that is full ----------------------------------------------- */

/* Files may not grow beyond so many bytes; no signal says so. */
static void
limit_files(rlim_t n_bytes)
{
    struct rlimit limit;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = n_bytes;
    check_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void
put_much(struct recording *recording)
{
    char text[4096];
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    for (unsigned i = 0; i < 500; i++)
        recording_put_event(recording, 1, "much", text);
}

Test(recording, a_full_disk_loses_what_does_not_fit_and_says_so)
{
    struct recording *recording = open_new();
    put_event(recording, 1);
    sync_all(recording);
    limit_files(512 * 1024);
    put_much(recording);
    sync_all(recording);
    limit_files(RLIM_INFINITY);
    put_event(recording, 2);
    sync_all(recording);
    put_event(recording, 3);
    check_true(recording_seal(recording));
    check_le(number("SELECT count(*) FROM event WHERE kind = 'much'"), 150);
    check_eq(number("SELECT count(*) FROM event WHERE kind = 'word'"), 3);
    check_ge(number("SELECT count(*) FROM event WHERE kind = 'gap'"), 1);
    check_eq(number("SELECT integrity_check = 'ok' FROM"
                    " pragma_integrity_check"),
             1);
}

Test(recording, where_nothing_fits_nothing_is_left)
{
    limit_files(10000);
    cr_assert_null(recording_open(path, "/a/socket", why, sizeof(why)));
    check_true(why[0] != '\0');
    check_false(exists(""));
    check_false(exists("-wal"));
}

Test(recording, a_disk_that_stays_full_leaves_what_was_committed)
{
    struct recording *recording = open_new();
    put_event(recording, 1);
    sync_all(recording);
    limit_files(512 * 1024);
    put_much(recording);
    check_false(recording_seal(recording));
    limit_files(RLIM_INFINITY);
    check_eq(number("SELECT count(*) FROM event WHERE kind = 'word'"), 1);
}

/* ---- a writer that is killed ------------------------------------------- */

/* Writes until it is killed; says by the pipe what has been committed. */
static void
write_for_ever(int pipe)
{
    struct recording *recording = open_new();
    for (int64_t i = 1;; i++) {
        const struct recording_moment moment = {.process = 1};
        const struct recording_tick tick = {.process = 1, .t_us = i * 100000};
        put_event(recording, i);
        recording_put_tick(recording, &tick);
        recording_put_census(recording, &moment, census_of((uint64_t)i));
        sync_all(recording);
        if (write(pipe, &i, sizeof(i)) != sizeof(i))
            _exit(1);
    }
}

static void
kill_and_check(unsigned after_us)
{
    int committed[2];
    check_eq(pipe(committed), 0);
    const pid_t pid = fork();
    if (pid == 0)
        write_for_ever(committed[1]);
    close(committed[1]);
    int64_t n_committed = 0;
    check_eq(read(committed[0], &n_committed, sizeof(n_committed)),
             sizeof(n_committed));
    usleep(after_us);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    while (read(committed[0], &n_committed, sizeof(n_committed)) ==
           sizeof(n_committed))
        continue;
    close(committed[0]);

    /* What was put after the last token may have been committed in part. */
    static const char *const counts[] = {
        "SELECT count(*) FROM event",        "SELECT max(process) FROM event",
        "SELECT count(*) FROM tick0",        "SELECT count(*) FROM type",
        "SELECT max(rss_bytes) FROM census",
    };
    for (size_t i = 0; i < countof(counts); i++) {
        check_ge(number(counts[i]), n_committed);
        check_le(number(counts[i]), n_committed + 1);
    }
    check_eq(number("SELECT value FROM meta WHERE key = 'sealed'"), 0);
    check_eq(number("SELECT integrity_check = 'ok' FROM"
                    " pragma_integrity_check"),
             1);
}

Test(recording, a_killed_writer_leaves_all_that_was_committed)
{
    uint64_t state = 17;
    for (unsigned round = 0; round < 25; round++) {
        char name[32];
        snprintf(name, sizeof(name), "%u.rec", round);
        scratch_path(&scratch, name, path);
        kill_and_check((unsigned)check_random(&state) % 40000);
    }
}
