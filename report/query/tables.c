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
        " census_read_bytes FROM process ORDER BY id");
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
            .level = statement_text(row, 7),
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
        " pinned_count"
        " FROM type WHERE census = ? ORDER BY bytes DESC, name",
        census);
    while (statement_step(query, row)) {
        XGROW(types, capacity, *n);
        types[(*n)++] = (struct query_type){
            .name = statement_text(row, 0),
            .count = statement_number(row, 1),
            .bytes = statement_number(row, 2),
            .held_exclusive = statement_number(row, 3),
            .held_split = statement_number(row, 4),
            .exclusive_bytes = statement_number(row, 5),
            .pinned_exclusive = statement_number(row, 6),
            .pinned_split = statement_number(row, 7),
            .pinned_bytes = statement_number(row, 8),
            .pinned_count = statement_number(row, 9),
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
