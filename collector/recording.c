/*
 * Two halves: a queue of operations that the loop appends to, and a thread that
 * takes all of them at once and writes them in one transaction. A transaction
 * that fails (a full disk) is rolled back, said once, and told by an event when
 * there is room again; the next one goes on.
 */
#include "collector/recording.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "collector/census/census.h"
#include "collector/site_rows.h"
#include "collector/statements.h"
#include "include/attrs.h"
#include "include/clock.h"
#include "include/recording.h"
#include "include/xalloc.h"

enum {
    GATHER_NS = 100000000,      /* between two commits nobody waits for */
    CLOCK_PERIOD_US = 60000000, /* anchors of the clocks */
    QUIET_US = 60000000,        /* between two words about a full disk */
    BUSY_MS = 2000,             /* a reader's short transaction */
    MOST_QUEUED = 100000,       /* then ticks are left out */
};

enum kind {
    KIND_META,
    KIND_NUMBER,
    KIND_PROCESS,
    KIND_TICK,
    KIND_CENSUS,
    KIND_SITES,
    KIND_USES,
    KIND_GC,
    KIND_COLLECTION,
    KIND_EVENT,
    KIND_SYNC,
};

struct operation {
    enum kind kind;
    struct operation *next;
    char *texts[4]; /* owned copies of what the operation says in words */
    struct recording_use *uses; /* likewise; or NULL */
    union {
        int64_t number;
        struct recording_process process;
        struct recording_tick tick;
        struct {
            struct recording_moment moment;
            struct census *census;
        } census;
        struct site_news *news;
        struct {
            int64_t process;
            size_t n;
        } uses;
        struct recording_gc gc;
        struct recording_collection collection;
        struct {
            int64_t t_us;
            int64_t process;
        } event;
        void *token;
    } of;
};

struct recording {
    uint64_t started_ns;
    pthread_t thread;
    pthread_mutex_t mutex; /* the queue and the tokens */
    pthread_cond_t filled;
    struct operation *first;
    struct operation **last;
    size_t n_queued;
    bool is_urgent; /* somebody waits for what is queued */
    bool is_closing;
    struct operation *synced; /* newest first */
    int fd;
    bool is_new; /* we made the file */
    /* The writing thread's alone. */
    sqlite3 *database;
    struct statements *statements;
    uint64_t next_clock_us;
    uint64_t n_failures;
    uint64_t next_word_us; /* 0: nothing had to be said yet */
    char why[128];         /* the last transaction failed */
    bool is_full;          /* that is, for want of room */
};

uint64_t
recording_us(const struct recording *recording, uint64_t monotonic_ns)
{
    return monotonic_ns <= recording->started_ns
               ? 0
               : (monotonic_ns - recording->started_ns) / 1000;
}

uint64_t
recording_now_us(const struct recording *recording)
{
    return recording_us(recording, clock_ns(CLOCK_MONOTONIC));
}

/* ---- the queue --------------------------------------------------------- */

static char *
copy(const char *text)
{
    return text == NULL ? NULL : xstrdup(text);
}

static struct operation *
operation_of(enum kind kind)
{
    struct operation *operation = xcalloc(1, sizeof(*operation));
    operation->kind = kind;
    return operation;
}

static void
operation_destroy(struct operation *operation)
{
    for (size_t i = 0; i < countof(operation->texts); i++)
        free(operation->texts[i]);
    if (operation->kind == KIND_CENSUS)
        census_destroy(operation->of.census.census);
    if (operation->kind == KIND_SITES)
        site_news_destroy(operation->of.news);
    free(operation->uses);
    free(operation);
}

static void
enqueue(struct recording *recording, struct operation *operation)
{
    pthread_mutex_lock(&recording->mutex);
    const bool is_first = recording->first == NULL;
    *recording->last = operation;
    recording->last = &operation->next;
    recording->n_queued++;
    const bool is_urgent = operation->kind == KIND_SYNC;
    recording->is_urgent = recording->is_urgent || is_urgent;
    if (is_first || is_urgent)
        pthread_cond_signal(&recording->filled);
    pthread_mutex_unlock(&recording->mutex);
}

void
recording_put_meta(struct recording *recording, const char *key,
                   const char *text)
{
    struct operation *operation = operation_of(KIND_META);
    operation->texts[0] = copy(key);
    operation->texts[1] = copy(text);
    enqueue(recording, operation);
}

void
recording_put_number(struct recording *recording, const char *key,
                     int64_t number)
{
    struct operation *operation = operation_of(KIND_NUMBER);
    operation->texts[0] = copy(key);
    operation->of.number = number;
    enqueue(recording, operation);
}

void
recording_put_process(struct recording *recording,
                      const struct recording_process *process)
{
    struct operation *operation = operation_of(KIND_PROCESS);
    operation->of.process = *process;
    operation->of.process.exe = operation->texts[0] = copy(process->exe);
    operation->of.process.command = operation->texts[1] =
        copy(process->command);
    operation->of.process.python = operation->texts[2] = copy(process->python);
    operation->of.process.note = operation->texts[3] = copy(process->note);
    enqueue(recording, operation);
}

void
recording_put_tick(struct recording *recording,
                   const struct recording_tick *tick)
{
    pthread_mutex_lock(&recording->mutex);
    const bool is_too_slow = recording->n_queued > MOST_QUEUED;
    pthread_mutex_unlock(&recording->mutex);
    if (is_too_slow)
        return; /* the disk is: ticks can be missed, memory cannot */
    struct operation *operation = operation_of(KIND_TICK);
    operation->of.tick = *tick;
    enqueue(recording, operation);
}

static struct recording_use *
copy_uses(const struct recording_use *uses, size_t n)
{
    if (n == 0)
        return NULL;
    struct recording_use *copies = xcalloc(n, sizeof(*copies));
    memcpy(copies, uses, n * sizeof(*copies));
    return copies;
}

void
recording_put_sites(struct recording *recording, struct site_news *news)
{
    struct operation *operation = operation_of(KIND_SITES);
    operation->of.news = news;
    enqueue(recording, operation);
}

void
recording_put_uses(struct recording *recording, int64_t process,
                   const struct recording_use *uses, size_t n)
{
    struct operation *operation = operation_of(KIND_USES);
    operation->uses = copy_uses(uses, n);
    operation->of.uses.process = process;
    operation->of.uses.n = n;
    enqueue(recording, operation);
}

void
recording_put_census(struct recording *recording,
                     const struct recording_moment *moment,
                     struct census *census)
{
    struct operation *operation = operation_of(KIND_CENSUS);
    operation->of.census.moment = *moment;
    operation->of.census.moment.label = operation->texts[0] =
        copy(moment->label);
    operation->of.census.moment.uses = operation->uses =
        copy_uses(moment->uses, moment->n_uses);
    operation->of.census.census = census;
    enqueue(recording, operation);
}

void
recording_put_gc(struct recording *recording, const struct recording_gc *gc)
{
    struct operation *operation = operation_of(KIND_GC);
    operation->of.gc = *gc;
    enqueue(recording, operation);
}

void
recording_put_collection(struct recording *recording,
                         const struct recording_collection *collection)
{
    struct operation *operation = operation_of(KIND_COLLECTION);
    operation->of.collection = *collection;
    enqueue(recording, operation);
}

void
recording_put_event(struct recording *recording, int64_t process,
                    const char *kind, const char *text)
{
    struct operation *operation = operation_of(KIND_EVENT);
    operation->texts[0] = copy(kind);
    operation->texts[1] = copy(text);
    operation->of.event.t_us = (int64_t)recording_now_us(recording);
    operation->of.event.process = process;
    enqueue(recording, operation);
}

void
recording_put_sync(struct recording *recording, void *token)
{
    struct operation *operation = operation_of(KIND_SYNC);
    operation->of.token = token;
    enqueue(recording, operation);
}

int
recording_fd(const struct recording *recording)
{
    return recording->fd;
}

void *
recording_fetch(struct recording *recording)
{
    eventfd_t n;
    pthread_mutex_lock(&recording->mutex);
    struct operation *operation = recording->synced;
    if (operation != NULL)
        recording->synced = operation->next;
    else
        eventfd_read(recording->fd, &n);
    pthread_mutex_unlock(&recording->mutex);
    if (operation == NULL)
        return NULL;
    void *token = operation->of.token;
    operation_destroy(operation);
    return token;
}

/* ---- the writing thread ------------------------------------------------ */

static bool
apply(struct recording *recording, const struct operation *operation)
{
    struct statements *statements = recording->statements;
    switch (operation->kind) {
    case KIND_META:
        return statements_meta(statements, operation->texts[0],
                               operation->texts[1]);
    case KIND_NUMBER:
        return statements_number(statements, operation->texts[0],
                                 operation->of.number);
    case KIND_PROCESS:
        return statements_process(statements, &operation->of.process);
    case KIND_TICK:
        return statements_tick(statements, &operation->of.tick);
    case KIND_CENSUS:
        return statements_census(
            statements, &operation->of.census.moment,
            operation->of.census.census,
            (int64_t)recording_us(
                recording, operation->of.census.census->started_us * 1000));
    case KIND_SITES:
        return site_rows_put_news(statements_site_rows(statements),
                                  operation->of.news);
    case KIND_USES:
        return site_rows_put_last(statements_site_rows(statements),
                                  operation->of.uses.process, operation->uses,
                                  operation->of.uses.n);
    case KIND_GC:
        return statements_gc(statements, &operation->of.gc);
    case KIND_COLLECTION:
        return statements_collection(statements, &operation->of.collection);
    case KIND_EVENT:
        return statements_event(statements, operation->of.event.t_us,
                                operation->of.event.process,
                                operation->texts[0], operation->texts[1]);
    case KIND_SYNC:
        return true;
    }
    return true;
}

/* Once a minute: what the same moment is called by each clock. */
static bool
anchor_clocks(struct recording *recording)
{
    const uint64_t now_us = recording_now_us(recording);
    if (now_us < recording->next_clock_us)
        return true;
    recording->next_clock_us = now_us + CLOCK_PERIOD_US;
    return statements_clock(recording->statements, (int64_t)now_us,
                            (int64_t)clock_ns(CLOCK_MONOTONIC),
                            (int64_t)clock_ns(CLOCK_BOOTTIME),
                            (int64_t)clock_ns(CLOCK_REALTIME));
}

static bool
run(struct recording *recording, const char *sql)
{
    return sqlite3_exec(recording->database, sql, NULL, NULL, NULL) ==
           SQLITE_OK;
}

/* What is the matter, as SQLite has it: before anything else is tried. */
static void
note_why(struct recording *recording)
{
    recording->is_full = sqlite3_errcode(recording->database) == SQLITE_FULL;
    snprintf(recording->why, sizeof(recording->why), "%s",
             sqlite3_errmsg(recording->database));
}

static const char *
cure(const struct recording *recording)
{
    return recording->is_full ? "make room there"
                              : "is its disk in order, and ulimit -f none?";
}

/* One transaction; false: none of it is in the file, and it is noted why. */
static bool
write_all(struct recording *recording, const struct operation *operations)
{
    bool is_written =
        run(recording, "BEGIN IMMEDIATE") && anchor_clocks(recording);
    for (; operations != NULL && is_written; operations = operations->next)
        is_written = apply(recording, operations);
    if (is_written && run(recording, "COMMIT"))
        return true;
    note_why(recording);
    if (sqlite3_get_autocommit(recording->database) == 0)
        run(recording, "ROLLBACK");
    statements_forget(recording->statements);
    return false;
}

/* Each time would be ten times a second. */
static void
say_failure(struct recording *recording)
{
    const uint64_t now_us = recording_now_us(recording);
    if (now_us < recording->next_word_us)
        return;
    recording->next_word_us = now_us + QUIET_US;
    warnx("%s: it cannot be written to (%s): what happens now is not "
          "recorded; %s",
          sqlite3_db_filename(recording->database, "main"), recording->why,
          cure(recording));
}

static void
tell_failure(struct recording *recording)
{
    char text[256];
    snprintf(text, sizeof(text), "%" PRIu64 " transactions were lost: %s",
             recording->n_failures, recording->why);
    if (run(recording, "BEGIN IMMEDIATE")) {
        statements_event(recording->statements,
                         (int64_t)recording_now_us(recording),
                         RECORDING_UNKNOWN, "gap", text);
        if (run(recording, "COMMIT"))
            recording->n_failures = 0;
        else
            run(recording, "ROLLBACK");
    }
}

/* Tokens go back to the loop, everything else is done with. */
static void
give_back(struct recording *recording, struct operation *operations)
{
    bool has_synced = false;
    while (operations != NULL) {
        struct operation *next = operations->next;
        if (operations->kind == KIND_SYNC) {
            pthread_mutex_lock(&recording->mutex);
            operations->next = recording->synced;
            recording->synced = operations;
            pthread_mutex_unlock(&recording->mutex);
            has_synced = true;
        } else {
            operation_destroy(operations);
        }
        operations = next;
    }
    if (has_synced)
        eventfd_write(recording->fd, 1);
}

/* When what is there now is to be written, if nobody is in a hurry. */
static struct timespec
gathering_ends(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_nsec += GATHER_NS;
    if (at.tv_nsec >= 1000000000) {
        at.tv_nsec -= 1000000000;
        at.tv_sec++;
    }
    return at;
}

/* All that is queued; with the mutex, or before there is a second thread. */
static struct operation *
take_all(struct recording *recording)
{
    struct operation *operations = recording->first;
    recording->first = NULL;
    recording->last = &recording->first;
    recording->n_queued = 0;
    recording->is_urgent = false;
    return operations;
}

/* All that is queued, gathered for a while; NULL: nothing more will come. */
static struct operation *
wait_for_operations(struct recording *recording)
{
    pthread_mutex_lock(&recording->mutex);
    while (recording->first == NULL && !recording->is_closing)
        pthread_cond_wait(&recording->filled, &recording->mutex);
    const struct timespec until = gathering_ends();
    while (!recording->is_urgent && !recording->is_closing &&
           pthread_cond_timedwait(&recording->filled, &recording->mutex,
                                  &until) == 0)
        continue;
    struct operation *operations = take_all(recording);
    pthread_mutex_unlock(&recording->mutex);
    return operations;
}

static void *
work(void *context)
{
    struct recording *recording = context;
    struct operation *operations;
    while ((operations = wait_for_operations(recording)) != NULL) {
        if (!write_all(recording, operations)) {
            recording->n_failures++;
            say_failure(recording);
        } else if (recording->n_failures != 0) {
            tell_failure(recording);
        }
        give_back(recording, operations);
    }
    return NULL;
}

/* ---- open and seal ----------------------------------------------------- */

static bool
set_up(struct recording *recording)
{
    char pragmas[128];
    snprintf(pragmas, sizeof(pragmas),
             "PRAGMA page_size=8192; PRAGMA application_id=%d;"
             "PRAGMA user_version=%d;",
             RECORDING_APPLICATION_ID, RECORDING_VERSION);
    sqlite3_busy_timeout(recording->database, BUSY_MS);
    return run(recording, pragmas) &&
           /* A file with nothing in it yet need not survive a power cut. */
           run(recording, "PRAGMA synchronous=OFF") &&
           run(recording, "PRAGMA journal_mode=WAL") &&
           run(recording, "BEGIN;" RECORDING_SCHEMA "COMMIT;") &&
           run(recording, "PRAGMA journal_size_limit=8388608") &&
           run(recording, "PRAGMA synchronous=NORMAL");
}

/* Written when this returns: a reader may look for the socket at once. */
static bool
describe(struct recording *recording, const char *socket)
{
    struct utsname system;
    recording_put_meta(recording, "schema", RECORDING_SCHEMA_NAME);
    recording_put_number(recording, "sealed", 0);
    recording_put_number(recording, "started_unix_ns",
                         (int64_t)clock_ns(CLOCK_REALTIME));
    recording_put_number(recording, "collector_pid", getpid());
    recording_put_meta(recording, "socket", socket);
    if (uname(&system) == 0) {
        recording_put_meta(recording, "host", system.nodename);
        recording_put_meta(recording, "kernel", system.release);
    }
    struct operation *operations = take_all(recording);
    const bool is_written = write_all(recording, operations);
    give_back(recording, operations);
    return is_written;
}

static void
dispose(struct recording *recording)
{
    statements_destroy(recording->statements);
    sqlite3_close(recording->database);
    if (recording->fd >= 0)
        close(recording->fd);
    free(recording);
}

/* What was not there before goes again. */
static void
remove_new(const char *path)
{
    static const char *const endings[] = {"", "-journal", "-wal", "-shm"};
    for (size_t i = 0; i < countof(endings); i++) {
        char *name = xasprintf("%s%s", path, endings[i]);
        unlink(name);
        free(name);
    }
}

/* Why it could not be opened; returns NULL. */
static struct recording *
give_up(struct recording *recording, const char *path, char *why,
        size_t n_bytes)
{
    if (recording->is_full)
        snprintf(why, n_bytes, "it cannot be written to (%s); %s",
                 recording->why, cure(recording));
    else
        snprintf(why, n_bytes, "%s", recording->why);
    const bool is_new = recording->is_new;
    dispose(recording);
    if (is_new)
        remove_new(path);
    return NULL;
}

struct recording *
recording_open(const char *path, const char *socket, char *why, size_t n_bytes)
{
    struct recording *recording = xcalloc(1, sizeof(*recording));
    recording->started_ns = clock_ns(CLOCK_MONOTONIC);
    recording->last = &recording->first;
    recording->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    const int made = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    recording->is_new = made >= 0;
    if (recording->is_new)
        close(made);
    const mode_t mask = umask(077);
    const int result = sqlite3_open_v2(
        path, &recording->database,
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    const bool is_open = result == SQLITE_OK && set_up(recording);
    umask(mask);
    if (is_open)
        recording->statements = statements_create(recording->database);
    if (!is_open || recording->statements == NULL) {
        note_why(recording);
        return give_up(recording, path, why, n_bytes);
    }
    pthread_mutex_init(&recording->mutex, NULL);
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&recording->filled, &clock);
    pthread_condattr_destroy(&clock);
    if (!describe(recording, socket))
        return give_up(recording, path, why, n_bytes);
    if (pthread_create(&recording->thread, NULL, work, recording) != 0) {
        snprintf(recording->why, sizeof(recording->why),
                 "no thread is to be had");
        return give_up(recording, path, why, n_bytes);
    }
    return recording;
}

bool
recording_seal(struct recording *recording)
{
    recording_put_number(recording, "ended_us",
                         (int64_t)recording_now_us(recording));
    recording_put_meta(recording, "socket", NULL);
    recording_put_number(recording, "sealed", 1);
    pthread_mutex_lock(&recording->mutex);
    recording->is_closing = true;
    pthread_cond_signal(&recording->filled);
    pthread_mutex_unlock(&recording->mutex);
    pthread_join(recording->thread, NULL);

    statements_destroy(recording->statements);
    recording->statements = NULL;
    const bool is_sealed = recording->n_failures == 0 &&
                           run(recording, "PRAGMA wal_checkpoint(TRUNCATE)") &&
                           run(recording, "PRAGMA journal_mode=DELETE");
    if (!is_sealed && recording->n_failures == 0) {
        note_why(recording);
        say_failure(recording);
    }
    while (recording_fetch(recording) != NULL)
        continue;
    pthread_cond_destroy(&recording->filled);
    pthread_mutex_destroy(&recording->mutex);
    dispose(recording);
    return is_sealed;
}
