#include "tests/fuzz/hostile_recording.h"

#include <err.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "include/attrs.h"
#include "include/bytes.h"
#include "include/recording.h"
#include "include/text.h"
#include "include/xalloc.h"

enum {
    MOST_STEPS = 24,
    MOST_COLUMNS = 128,
    MOST_ROUNDS = 100, /* of a thousand of SQLite's operations: a statement's */
    MOST_FILE_BYTES = 1 << 20,
    PATH_BYTES = 256,
};

enum step { STEP_ROW, STEP_SQL, STEP_PATCH, STEP_CUT, N_STEPS };

enum value {
    VALUE_NULL,
    VALUE_BYTE,
    VALUE_NUMBER,
    VALUE_EXTREME,
    VALUE_TEXT,
    VALUE_BLOB,
    VALUE_REAL,
    VALUE_WORD,
    N_VALUES,
};

/* Inputs know them by their number: a new one goes to the end. */
static const char *const tables[] = {
    "meta",       "process",  "census",  "class",      "arena",
    "type",       "low_type", "block27", "free_list",  "heap",
    "mapping",    "module",   "frame",   "frame_name", "site",
    "site_frame", "site_use", "proof",   "clock",      "tick0",
    "tick1",      "tick2",    "gc",      "collection", "event",
    "finding",    "single",
};

static struct {
    char path[PATH_BYTES]; /* empty: nothing is ready */
    unsigned char *base;   /* the sound recording */
    sqlite3_int64 base_bytes;
    sqlite3_int64 memory_used; /* with nothing but the base */
    struct bytes rest;
    unsigned n_rounds;
    bool is_watched;
} hostile;

/* ---- SQLite's memory --------------------------------------------------- */

/*
 * A sanitizer's malloc is most of what an input costs, so SQLite has it only
 * if it is asked for. What is not given back is seen all the same: by its own
 * count.
 */
extern void *__libc_malloc(size_t n_bytes);
extern void __libc_free(void *block);

union block {
    struct {
        int n_bytes;
        bool is_watched;
    };
    max_align_t alignment;
};

static void *
memory_take(int n_bytes)
{
    const size_t n = sizeof(union block) + (size_t)n_bytes;
    union block *block = hostile.is_watched ? malloc(n) : __libc_malloc(n);
    if (block == NULL)
        return NULL;
    block->n_bytes = n_bytes;
    block->is_watched = hostile.is_watched;
    return block + 1;
}

static void
memory_give(void *bytes)
{
    union block *block = (union block *)bytes - 1;
    if (block->is_watched)
        free(block);
    else
        __libc_free(block);
}

static int
memory_size(void *bytes)
{
    return bytes == NULL ? 0 : ((union block *)bytes - 1)->n_bytes;
}

static void *
memory_resize(void *bytes, int n_bytes)
{
    void *fresh = memory_take(n_bytes);
    const int had = memory_size(bytes);
    if (fresh == NULL)
        return NULL;
    memcpy(fresh, bytes, (size_t)(had < n_bytes ? had : n_bytes));
    memory_give(bytes);
    return fresh;
}

static int
memory_round(int n_bytes)
{
    return (n_bytes + 7) & ~7;
}

static int
memory_begin(void *context)
{
    (void)context;
    return SQLITE_OK;
}

static void
memory_end(void *context)
{
    (void)context;
}

static void
set_memory(void)
{
    static const sqlite3_mem_methods methods = {
        .xMalloc = memory_take,
        .xFree = memory_give,
        .xRealloc = memory_resize,
        .xSize = memory_size,
        .xRoundup = memory_round,
        .xInit = memory_begin,
        .xShutdown = memory_end,
    };
    if (sqlite3_config(SQLITE_CONFIG_MALLOC, &methods) != SQLITE_OK)
        errx(1, "SQLite keeps its own memory");
}

/* ---- the sound one ----------------------------------------------------- */

static void
run(sqlite3 *database, const char *sql)
{
    if (sqlite3_exec(database, sql, NULL, NULL, NULL) != SQLITE_OK)
        errx(1, "%s: %s", sql, sqlite3_errmsg(database));
}

static char *
without(const char *text, const char *what)
{
    struct text rest = {0};
    const char *at = text;
    for (const char *next; (next = strstr(at, what)) != NULL;
         at = next + strlen(what))
        text_add_bytes(&rest, at, (size_t)(next - at));
    text_add(&rest, at);
    return text_take(&rest);
}

/* The schema, without what keeps nulls out: a hostile one need not. */
static void
make_tables(sqlite3 *database)
{
    char *with_keys = without(RECORDING_SCHEMA, " NOT NULL");
    char *schema = without(with_keys, " WITHOUT ROWID");
    run(database, schema);
    free(schema);
    free(with_keys);
}

/* A value that makes sense in the column. */
static const char *
usual_value(const char *column, bool is_text)
{
    static const char *const ones[] = {
        "id",   "process", "census",    "site",       "frame",   "module",
        "rank", "slot",    "has_types", "generation", "ordinal",
    };
    for (size_t i = 0; i < countof(ones); i++) {
        if (strcmp(column, ones[i]) == 0 && !is_text)
            return "1";
    }
    if (strcmp(column, "kind") == 0)
        return "'end'";
    return is_text ? "'a mark'" : "8388608";
}

static void
put_usual_row(sqlite3 *database, const char *table)
{
    struct text sql = {0};
    sqlite3_stmt *column;
    char *about = xasprintf("PRAGMA table_info(%s)", table);
    text_addf(&sql, "INSERT INTO %s VALUES (", table);
    sqlite3_prepare_v2(database, about, -1, &column, NULL);
    for (bool is_first = true; sqlite3_step(column) == SQLITE_ROW;
         is_first = false) {
        const char *name = (const char *)sqlite3_column_text(column, 1);
        const char *type = (const char *)sqlite3_column_text(column, 2);
        text_addf(&sql, "%s%s", is_first ? "" : ",",
                  usual_value(name, strcmp(type, "TEXT") == 0));
    }
    sqlite3_finalize(column);
    text_add(&sql, ")");
    run(database, text_of(&sql));
    text_finish(&sql);
    free(about);
}

/* Pages of 512 bytes: a smaller file is written and read sooner. */
static void
make_base(void)
{
    sqlite3 *database;
    sqlite3_open(":memory:", &database);
    char *pragmas = xasprintf("PRAGMA page_size=512;PRAGMA application_id=%d;"
                              "PRAGMA user_version=%d;",
                              RECORDING_APPLICATION_ID, RECORDING_VERSION);
    run(database, pragmas);
    free(pragmas);
    make_tables(database);
    run(database, "INSERT INTO meta VALUES ('sealed', 1), ('socket', NULL),"
                  " ('schema', '" RECORDING_SCHEMA_NAME "'),"
                  " ('started_unix_ns', 1700000000000000000),"
                  " ('collector_cpu_us', 67543), ('frames_not_named', 1)");
    for (size_t i = 1; i < countof(tables); i++)
        put_usual_row(database, tables[i]);
    hostile.base = sqlite3_serialize(database, "main", &hostile.base_bytes, 0);
    sqlite3_close(database);
    if (hostile.base == NULL)
        errx(1, "the recording cannot be made");
    hostile.memory_used = sqlite3_memory_used();
}

static void
remove_file(void)
{
    static const char *const endings[] = {"", "-journal", "-wal", "-shm"};
    for (size_t i = 0; i < countof(endings); i++) {
        char *path = xasprintf("%s%s", hostile.path, endings[i]);
        unlink(path);
        free(path);
    }
}

/* In memory, if there is such a place: to seal is to wait for the disk. */
static void
make_ready(void)
{
    const char *directory = getenv("TMPDIR");
    if (directory == NULL)
        directory = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(hostile.path, sizeof(hostile.path), "%s/residue-hostile.%d.rec",
             directory, getpid());
    set_memory();
    make_base();
    atexit(remove_file);
}

/* ---- values ------------------------------------------------------------ */

static unsigned
take_byte(void)
{
    unsigned char byte;
    bytes_take(&hostile.rest, &byte, 1);
    return byte;
}

/* As many as the input says, and has. */
static const void *
take_some(size_t *n_bytes, size_t n)
{
    *n_bytes = n < hostile.rest.left ? n : hostile.rest.left;
    return bytes_view(&hostile.rest, *n_bytes);
}

static void
bind_extreme(sqlite3_stmt *row, int at)
{
    static const int64_t extremes[] = {
        0,
        -1,
        INT64_MIN,
        INT64_MAX,
        INT64_MIN + 1,
        INT64_MAX - 1,
        INT32_MIN,
        INT32_MAX,
        UINT32_MAX,
        (int64_t)1 << 47,
        (int64_t)1 << 53,
        INT64_MAX / 100,
        1000000,
        262144,
    };
    sqlite3_bind_int64(row, at, extremes[take_byte() % countof(extremes)]);
}

static void
bind_word(sqlite3_stmt *row, int at)
{
    static const char *const words[] = {
        "start",         "periodic",   "peak",
        "mark",          "end",        "main",
        "thread",        "mmapped",    "int",
        "float",         "a mark",     "exact",
        "watch",         "inspect",    "3.11.7",
        "oom-kill",      "end-unread", "sealed",
        "(raw)",         "native",     "/usr/lib/x86_64-linux-gnu/libc.so.6",
        "[\"a\",\"b\"]", "",
    };
    sqlite3_bind_text(row, at, words[take_byte() % countof(words)], -1,
                      SQLITE_STATIC);
}

static void
bind_real(sqlite3_stmt *row, int at)
{
    double number;
    bytes_take(&hostile.rest, &number, sizeof(number));
    sqlite3_bind_double(row, at, number);
}

static void
bind_value(sqlite3_stmt *row, int at)
{
    size_t n_bytes;
    const void *bytes;
    switch ((enum value)(take_byte() % N_VALUES)) {
    case VALUE_BYTE:
        sqlite3_bind_int64(row, at, take_byte());
        break;
    case VALUE_NUMBER:
        sqlite3_bind_int64(row, at, (int64_t)bytes_u64(&hostile.rest));
        break;
    case VALUE_EXTREME:
        bind_extreme(row, at);
        break;
    case VALUE_TEXT:
        bytes = take_some(&n_bytes, take_byte());
        sqlite3_bind_text(row, at, bytes, (int)n_bytes, SQLITE_TRANSIENT);
        break;
    case VALUE_BLOB:
        bytes = take_some(&n_bytes, take_byte());
        sqlite3_bind_blob(row, at, bytes, (int)n_bytes, SQLITE_TRANSIENT);
        break;
    case VALUE_REAL:
        bind_real(row, at);
        break;
    case VALUE_WORD:
        bind_word(row, at);
        break;
    default:
        sqlite3_bind_null(row, at);
        break;
    }
}

/* ---- steps ------------------------------------------------------------- */

static bool
put_columns(sqlite3 *database, const char *table, const bool *is_changed,
            struct text *sql)
{
    sqlite3_stmt *all;
    char *about = xasprintf("SELECT * FROM %s", table);
    const int result = sqlite3_prepare_v2(database, about, -1, &all, NULL);
    free(about);
    if (result != SQLITE_OK)
        return false;
    text_addf(sql, "INSERT OR REPLACE INTO %s SELECT ", table);
    for (int i = 0; i < sqlite3_column_count(all); i++) {
        if (i != 0)
            text_add(sql, ",");
        if (i < MOST_COLUMNS && is_changed[i])
            text_addf(sql, "?%d", i + 1);
        else
            text_addf(sql, "\"%s\"", sqlite3_column_name(all, i));
    }
    text_addf(sql, " FROM %s LIMIT 1", table);
    sqlite3_finalize(all);
    return true;
}

/* The columns first, then the values: they are bound to a statement. */
static void
put_row(sqlite3 *database)
{
    const char *table = tables[take_byte() % countof(tables)];
    bool is_changed[MOST_COLUMNS] = {false};
    struct text sql = {0};
    sqlite3_stmt *row = NULL;
    size_t n;
    const unsigned char *columns = take_some(&n, take_byte());
    for (size_t i = 0; columns != NULL && i < n; i++)
        is_changed[columns[i] % MOST_COLUMNS] = true;
    if (put_columns(database, table, is_changed, &sql) &&
        sqlite3_prepare_v2(database, text_of(&sql), -1, &row, NULL) ==
            SQLITE_OK) {
        for (int i = 0; i < sqlite3_bind_parameter_count(row); i++) {
            if (is_changed[i])
                bind_value(row, i + 1);
        }
        sqlite3_step(row);
    }
    sqlite3_finalize(row);
    text_finish(&sql);
}

static void
run_sql(sqlite3 *database)
{
    size_t n_bytes;
    const char *bytes = take_some(&n_bytes, bytes_u16(&hostile.rest));
    if (bytes == NULL)
        return;
    char *sql = xstrndup(bytes, n_bytes);
    sqlite3_exec(database, sql, NULL, NULL, NULL);
    free(sql);
}

static void
patch(unsigned char *file, sqlite3_int64 n_file_bytes)
{
    const uint32_t high = bytes_u16(&hostile.rest);
    const sqlite3_int64 at = (high << 8 | take_byte()) % n_file_bytes;
    size_t n;
    const void *bytes = take_some(&n, take_byte());
    if (bytes != NULL && (sqlite3_int64)n <= n_file_bytes - at)
        memcpy(file + at, bytes, n);
}

/*
 * No other file is touched. Our views stay as they are: a user who looks at a
 * hostile one may wait for ever.
 */
static int
authorize(void *context, int action, const char *first, const char *second,
          const char *database, const char *trigger)
{
    (void)context, (void)second, (void)database, (void)trigger;
    if (action == SQLITE_CREATE_VIEW && strncmp(first, "v_", 2) == 0)
        return SQLITE_DENY;
    return action == SQLITE_ATTACH || action == SQLITE_PRAGMA ? SQLITE_DENY
                                                              : SQLITE_OK;
}

static int
has_run_for_long(void *context)
{
    (void)context;
    return ++hostile.n_rounds > MOST_ROUNDS;
}

static sqlite3 *
open_copy(void)
{
    sqlite3 *database;
    unsigned char *copy = sqlite3_malloc64((sqlite3_uint64)hostile.base_bytes);
    memcpy(copy, hostile.base, (size_t)hostile.base_bytes);
    sqlite3_open(":memory:", &database);
    sqlite3_deserialize(
        database, "main", copy, hostile.base_bytes, hostile.base_bytes,
        SQLITE_DESERIALIZE_FREEONCLOSE | SQLITE_DESERIALIZE_RESIZEABLE);
    sqlite3_limit(database, SQLITE_LIMIT_LENGTH, MOST_FILE_BYTES);
    sqlite3_set_authorizer(database, authorize, NULL);
    sqlite3_progress_handler(database, 1000, has_run_for_long, NULL);
    return database;
}

static unsigned char *
make_file(sqlite3_int64 *n_bytes)
{
    sqlite3 *database = open_copy();
    unsigned n_steps = 0;
    unsigned step = STEP_CUT;
    hostile.n_rounds = 0;
    while (hostile.rest.left != 0 && n_steps++ < MOST_STEPS) {
        step = take_byte() % N_STEPS;
        if (step == STEP_PATCH || step == STEP_CUT)
            break;
        if (step == STEP_ROW)
            put_row(database);
        else
            run_sql(database);
    }
    sqlite3_set_authorizer(database, NULL, NULL);
    unsigned char *file = sqlite3_serialize(database, "main", n_bytes, 0);
    sqlite3_close(database);
    if (file == NULL)
        *n_bytes = 0;
    while (*n_bytes != 0 && hostile.rest.left != 0 && n_steps++ < MOST_STEPS) {
        if (step == STEP_PATCH)
            patch(file, *n_bytes);
        else if (step == STEP_CUT)
            *n_bytes = bytes_u16(&hostile.rest) * 16 % *n_bytes;
        step = take_byte() % N_STEPS;
    }
    return file;
}

bool
hostile_recording_is_over(void)
{
    return sqlite3_memory_used() == hostile.memory_used;
}

const char *
hostile_recording_write(const uint8_t *bytes, size_t n_bytes, bool is_watched)
{
    if (hostile.path[0] == '\0')
        make_ready();
    hostile.is_watched = is_watched;
    hostile.rest = bytes_over(bytes, n_bytes);
    sqlite3_int64 n_file_bytes;
    unsigned char *file = make_file(&n_file_bytes);
    remove_file();
    const int fd =
        open(hostile.path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, file, (size_t)n_file_bytes) != n_file_bytes)
        err(1, "%s", hostile.path);
    close(fd);
    sqlite3_free(file);
    return hostile.path;
}
