/*
 * The input is a recording by a hostile hand, and what is read of it: a small
 * sound one (hostile_recording.c) with some of its rows, its schema or its
 * bytes changed. Whatever it holds, it is read or refused; what is shown as
 * JSON is JSON.
 *
 *   1 byte   the moment; +128: SQLite's memory is watched
 *   1 byte   bits: what is shown
 *   1 byte   which view
 *   steps    hostile_recording.h
 */
#include <sqlite3.h>
#include <string.h>

#include "include/attrs.h"
#include "include/text.h"
#include "include/xalloc.h"
#include "report/formats/diff.h"
#include "report/formats/stats_format.h"
#include "report/page_data.h"
#include "report/verdict/verdict.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/hostile_recording.h"

enum {
    SHOW_STATS_JSON = 1,
    SHOW_STATS = 2,
    SHOW_PAGE = 4,
    SHOW_PAGE_WITH_NAMES = 8,
    SHOW_VIEW = 16,
    SEAL = 32,
    SHOW_CHANGES = 64,
};

static void
check_json(const struct json *json)
{
    sqlite3 *database;
    sqlite3_stmt *is_valid;
    const char *text = text_of(&json->text);
    sqlite3_open(":memory:", &database);
    fuzz_holds(strchr(text, '\n') == NULL && strchr(text, '\x1b') == NULL);
    sqlite3_prepare_v2(database, "SELECT json_valid(?)", -1, &is_valid, NULL);
    sqlite3_bind_text(is_valid, 1, text, -1, SQLITE_STATIC);
    fuzz_holds(sqlite3_step(is_valid) == SQLITE_ROW);
    fuzz_holds(sqlite3_column_int(is_valid, 0) == 1);
    sqlite3_finalize(is_valid);
    sqlite3_close(database);
}

static void
on_row(void *context, int n, const char *const *names,
       const char *const *values)
{
    size_t *sum = context;
    for (int i = 0; i < n; i++)
        *sum += strlen(names[i]) + (values[i] == NULL ? 0 : strlen(values[i]));
}

static void
show_view(struct query *query, unsigned which)
{
    static const char *const views[] = {
        "v_ledger", "v_arenas",         "v_classes",   "v_types", "v_sites",
        "v_gc",     "v_never_returned", "v_processes", "v_pages", "v_timeline",
        "v_frames", "v_heaps",          "v_mappings"};
    size_t sum = 0;
    char *sql =
        xasprintf("SELECT * FROM %s LIMIT 50", views[which % countof(views)]);
    query_sql(query, sql, on_row, &sum);
    free(sql);
}

static void
show_page(struct query *query, bool shows_names)
{
    struct json json = {0};
    page_data_put(&json, query, shows_names);
    check_json(&json);
    text_finish(&json.text);
}

static struct query *
open_start(const struct query *query)
{
    char *target = xasprintf("%s@start", query_path(query));
    struct query *start = query_open(target);
    free(target);
    return start;
}

static struct difference_side
side_of(struct query *query, const struct query_process *process)
{
    return (struct difference_side){
        .query = query,
        .process = process,
        .census = query_census_at(query, process->id, query_moment(query)),
    };
}

/* Of each process, since it began. */
static void
show_changes(struct query *query)
{
    struct query *early = open_start(query);
    struct json json = {0};
    struct text text = {0};
    size_t n;
    struct query_process *processes = query_processes(query, &n);
    struct diff_process *changes = xcalloc(n + 1, sizeof(*changes));
    for (size_t i = 0; i < n; i++) {
        changes[i].before = side_of(early, &processes[i]);
        changes[i].after = side_of(query, &processes[i]);
    }
    diff_json(&json, early, query, changes, n);
    diff_text(&text, early, query, changes, n);
    check_json(&json);
    text_finish(&text);
    text_finish(&json.text);
    free(changes);
    query_free_processes(processes, n);
    query_close(early);
}

/* A type that recordings may have, and one of those that 2.7 has in blocks. */
static void
show_populations(struct query *query)
{
    static const char *const types[] = {"a mark", "int", "(other)"};
    for (size_t i = 0; i < countof(types); i++) {
        struct json json = {0};
        struct text text = {0};
        stats_population(&json, query, types[i]);
        stats_population_text(&text, query, types[i]);
        check_json(&json);
        text_finish(&text);
        text_finish(&json.text);
    }
}

/* A verb does not print what it has when there is a complaint. */
static void
show(struct query *query, unsigned what, unsigned view)
{
    struct verdict verdict = verdict_reach(query);
    if ((what & SHOW_STATS_JSON) != 0) {
        struct json json = {0};
        stats_json(&json, query, &verdict);
        check_json(&json);
        text_finish(&json.text);
    }
    if ((what & SHOW_STATS) != 0) {
        struct text text = {0};
        stats_text(&text, query, &verdict);
        text_finish(&text);
        show_populations(query);
    }
    if ((what & SHOW_PAGE) != 0)
        show_page(query, false);
    if ((what & SHOW_PAGE_WITH_NAMES) != 0)
        show_page(query, true);
    if ((what & SHOW_VIEW) != 0)
        show_view(query, view);
    if ((what & SHOW_CHANGES) != 0)
        show_changes(query);
    if ((what & SEAL) != 0) {
        struct query_finding *rows = verdict_rows(&verdict);
        query_seal(query, rows, verdict.n_findings);
        free(rows);
    }
    verdict_finish(&verdict);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    static const char *const moments[] = {
        "end", "start", "peak", "a mark", "00:00.5", "99:59:59.99", "no mark"};
    if (n_bytes < 3)
        return 0;
    const char *path =
        hostile_recording_write(bytes + 3, n_bytes - 3, (bytes[0] & 128) != 0);
    char *target =
        xasprintf("%s@%s", path, moments[bytes[0] % 128 % countof(moments)]);
    struct query *query = query_open(target);
    if (query_complaint(query) == NULL)
        show(query, bytes[1], bytes[2]);
    query_close(query);
    free(target);
    fuzz_holds(hostile_recording_is_over());
    return 0;
}
