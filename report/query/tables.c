#include <stdlib.h>

#include "include/xalloc.h"
#include "report/query/statement.h"

/* ---- meta -------------------------------------------------------------- */

char *
query_meta(struct query *query, const char *key)
{
    char *value = NULL;
    sqlite3_stmt *statement =
        statement_of(query, "SELECT value FROM meta WHERE key = ?");
    if (statement != NULL)
        sqlite3_bind_text(statement, 1, key, -1, SQLITE_STATIC);
    while (statement_step(query, statement)) {
        free(value);
        value = statement_text(statement, 0);
    }
    return value;
}

int64_t
query_meta_number(struct query *query, const char *key)
{
    char *value = query_meta(query, key);
    const int64_t parsed =
        value == NULL ? QUERY_UNKNOWN : strtoll(value, NULL, 10);
    free(value);
    return parsed;
}

bool
query_is_sealed(struct query *query)
{
    return query_meta_number(query, "sealed") == 1;
}

/* ---- processes --------------------------------------------------------- */

struct query_process *
query_processes(struct query *query, size_t *n)
{
    struct query_process *processes = NULL;
    size_t capacity = 0;
    *n = 0;
    sqlite3_stmt *row = statement_of(
        query,
        "SELECT id, pid, ns_pid, ppid, exe, command, python, level, note,"
        " start_us, end_us, exit_status, vm_hwm_bytes, births, deaths,"
        " live_blocks, live_bytes, lost_events, lost_batches, census_cpu_us,"
        " census_read_bytes, oom_kills, shares_cgroup"
        " FROM process ORDER BY id");
    while (statement_step(query, row)) {
        XGROW(processes, capacity, *n);
        processes[(*n)++] = (struct query_process){
            .id = statement_number(row, 0),
            .pid = statement_number(row, 1),
            .ns_pid = statement_number(row, 2),
            .ppid = statement_number(row, 3),
            .exe = statement_text(row, 4),
            .command = statement_text(row, 5),
            .python = statement_text(row, 6),
            .level = statement_name(row, 7),
            .note = statement_text(row, 8),
            .start_us = statement_number(row, 9),
            .end_us = statement_number(row, 10),
            .exit_status = statement_number(row, 11),
            .vm_hwm_bytes = statement_number(row, 12),
            .births = statement_number(row, 13),
            .deaths = statement_number(row, 14),
            .live_blocks = statement_number(row, 15),
            .live_bytes = statement_number(row, 16),
            .lost_events = statement_number(row, 17),
            .lost_batches = statement_number(row, 18),
            .census_cpu_us = statement_number(row, 19),
            .census_read_bytes = statement_number(row, 20),
            .oom_kills = statement_number(row, 21),
            .shares_cgroup = statement_number(row, 22),
        };
    }
    return processes;
}

void
query_free_processes(struct query_process *processes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(processes[i].exe);
        free(processes[i].command);
        free(processes[i].python);
        free(processes[i].level);
        free(processes[i].note);
    }
    free(processes);
}

/* ---- tables of a census ------------------------------------------------ */

struct query_class *
query_classes(struct query *query, int64_t census, size_t *n)
{
    struct query_class *classes = NULL;
    size_t capacity = 0;
    *n = 0;
    sqlite3_stmt *row = statement_about(
        query,
        "SELECT size, pools, used, free FROM class WHERE census = ?"
        " ORDER BY size",
        census);
    while (statement_step(query, row)) {
        XGROW(classes, capacity, *n);
        classes[(*n)++] = (struct query_class){
            .size = statement_number(row, 0),
            .pools = statement_number(row, 1),
            .used = statement_number(row, 2),
            .free = statement_number(row, 3),
        };
    }
    return classes;
}

struct query_type *
query_types(struct query *query, int64_t census, size_t *n)
{
    struct query_type *types = NULL;
    size_t capacity = 0;
    *n = 0;
    sqlite3_stmt *row = statement_about(
        query,
        "SELECT name, count, bytes, held_exclusive, held_split,"
        " exclusive_bytes, pinned_exclusive, pinned_split, pinned_bytes,"
        " pinned_count, count_error, bytes_error"
        " FROM type WHERE census = ? ORDER BY bytes DESC, name",
        census);
    while (statement_step(query, row)) {
        XGROW(types, capacity, *n);
        types[(*n)++] = (struct query_type){
            .name = statement_name(row, 0),
            .count = statement_number(row, 1),
            .bytes = statement_number(row, 2),
            .held_exclusive = statement_number(row, 3),
            .held_split = statement_number(row, 4),
            .exclusive_bytes = statement_number(row, 5),
            .pinned_exclusive = statement_number(row, 6),
            .pinned_split = statement_number(row, 7),
            .pinned_bytes = statement_number(row, 8),
            .pinned_count = statement_number(row, 9),
            .count_error = statement_number(row, 10),
            .bytes_error = statement_number(row, 11),
        };
    }
    return types;
}

void
query_free_types(struct query_type *types, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(types[i].name);
    free(types);
}

struct query_heap *
query_heaps(struct query *query, int64_t census, size_t *n)
{
    struct query_heap *heaps = NULL;
    size_t capacity = 0;
    *n = 0;
    sqlite3_stmt *row = statement_about(
        query,
        "SELECT address, kind, bytes, resident_bytes, chunks, live_bytes,"
        " free_chunks, free_bytes, cached_chunks, cached_bytes,"
        " trimmable_bytes, page_pinned_bytes, trim_gain_bytes, torn, is_torn"
        " FROM heap WHERE census = ? ORDER BY rowid",
        census);
    while (statement_step(query, row)) {
        XGROW(heaps, capacity, *n);
        struct query_heap *heap = &heaps[(*n)++];
        *heap = (struct query_heap){
            .address = statement_number(row, 0),
            .bytes = statement_number(row, 2),
            .resident_bytes = statement_number(row, 3),
            .chunks = statement_number(row, 4),
            .live_bytes = statement_number(row, 5),
            .free_chunks = statement_number(row, 6),
            .free_bytes = statement_number(row, 7),
            .cached_chunks = statement_number(row, 8),
            .cached_bytes = statement_number(row, 9),
            .trimmable_bytes = statement_number(row, 10),
            .page_pinned_bytes = statement_number(row, 11),
            .trim_gain_bytes = statement_number(row, 12),
            .torn = statement_number(row, 13),
            .is_torn = statement_number(row, 14),
        };
        const char *kind = (const char *)sqlite3_column_text(row, 1);
        snprintf(heap->kind, sizeof(heap->kind), "%s",
                 kind == NULL ? "" : kind);
    }
    return heaps;
}

struct query_module *
query_modules(struct query *query, int64_t census, size_t *n)
{
    struct query_module *modules = NULL;
    size_t capacity = 0;
    *n = 0;
    sqlite3_stmt *row =
        statement_about(query,
                        "SELECT module, count, bytes, resident_bytes FROM"
                        " mapping WHERE census = ?"
                        " ORDER BY resident_bytes DESC, module",
                        census);
    while (statement_step(query, row)) {
        XGROW(modules, capacity, *n);
        modules[(*n)++] = (struct query_module){
            .name = statement_name(row, 0),
            .count = statement_number(row, 1),
            .bytes = statement_number(row, 2),
            .resident_bytes = statement_number(row, 3),
        };
    }
    return modules;
}

void
query_free_modules(struct query_module *modules, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(modules[i].name);
    free(modules);
}

struct query_low
query_low(struct query *query, int64_t census)
{
    struct query_low low = {0};
    sqlite3_stmt *row = statement_about(
        query,
        "SELECT count(*), sum(resident_bytes - live_bytes),"
        " sum(resident_bytes), sum(hole_bytes), sum(used_blocks),"
        " sum(live_bytes) FROM arena WHERE census = ? AND used_blocks > 0"
        /* A pool of an arena of 256 KiB has 4 KiB, of others 16. */
        " AND live_bytes * 4 <"
        " pools * CASE WHEN bytes = 262144 THEN 4096 ELSE 16384 END",
        census);
    while (statement_step(query, row))
        low = (struct query_low){
            .arenas = statement_number(row, 0),
            .held = statement_number(row, 1),
            .resident = statement_number(row, 2),
            .holes = statement_number(row, 3),
            .blocks = statement_number(row, 4),
            .live = statement_number(row, 5),
        };
    return low;
}

struct query_type *
query_low_types(struct query *query, int64_t census, size_t *n)
{
    struct query_type *types = NULL;
    size_t capacity = 0;
    *n = 0;
    sqlite3_stmt *row =
        statement_about(query,
                        "SELECT name, count, bytes, held FROM low_type"
                        " WHERE census = ? ORDER BY held DESC, name",
                        census);
    while (statement_step(query, row)) {
        XGROW(types, capacity, *n);
        types[(*n)++] = (struct query_type){
            .name = statement_name(row, 0),
            .count = statement_number(row, 1),
            .bytes = statement_number(row, 2),
            .held_split = statement_number(row, 3),
        };
    }
    return types;
}

struct query_gc *
query_gc(struct query *query, int64_t process, size_t *n)
{
    struct query_gc *generations = NULL;
    size_t capacity = 0;
    *n = 0;
    sqlite3_stmt *row = statement_about(
        query,
        "SELECT generation, collections, collected, uncollectable,"
        " pause_us_total, pause_us_max, pauses_since_us FROM gc"
        " WHERE process = ? ORDER BY generation",
        process);
    while (statement_step(query, row)) {
        XGROW(generations, capacity, *n);
        generations[(*n)++] = (struct query_gc){
            .generation = statement_number(row, 0),
            .collections = statement_number(row, 1),
            .collected = statement_number(row, 2),
            .uncollectable = statement_number(row, 3),
            .pause_us_total = statement_number(row, 4),
            .pause_us_max = statement_number(row, 5),
            .pauses_since_us = statement_number(row, 6),
        };
    }
    return generations;
}
