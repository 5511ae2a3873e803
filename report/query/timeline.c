#include <stdlib.h>

#include "include/xalloc.h"
#include "report/query/statement.h"

/* ---- over time --------------------------------------------------------- */

static struct query_tick
tick_of(sqlite3_stmt *row)
{
    return (struct query_tick){
        .t_us = statement_number(row, 0),
        .rss_min = statement_number(row, 1),
        .rss_max = statement_number(row, 2),
        .rss_last = statement_number(row, 3),
        .cgroup_last = statement_number(row, 4),
    };
}

/*
 * Each tier keeps less of the past: the coarse rows are of the time before the
 * finer ones begin.
 */
struct query_tick *
query_ticks(struct query *query, int64_t process, size_t *n)
{
    struct query_tick *ticks = NULL;
    size_t capacity = 0;
    *n = 0;
    sqlite3_stmt *row = statement_about(
        query,
        "SELECT t_us, rss_min, rss_max, rss_last, cgroup_last FROM tick2"
        " WHERE process = ?1 AND t_us < coalesce("
        "  (SELECT min(t_us) FROM tick1 WHERE process = ?1), 0)"
        " UNION ALL"
        " SELECT t_us, rss_min, rss_max, rss_last, cgroup_last FROM tick1"
        " WHERE process = ?1 AND t_us < coalesce("
        "  (SELECT min(t_us) FROM tick0 WHERE process = ?1), 0)"
        " UNION ALL"
        " SELECT t_us, rss_min, rss_max, rss_last, cgroup_last FROM tick0"
        " WHERE process = ?1 ORDER BY t_us",
        process);
    while (statement_step(query, row)) {
        XGROW(ticks, capacity, *n);
        ticks[(*n)++] = tick_of(row);
    }
    return ticks;
}

struct query_tick
query_last_tick(struct query *query, int64_t process)
{
    struct query_tick tick = {QUERY_UNKNOWN, QUERY_UNKNOWN, QUERY_UNKNOWN,
                              QUERY_UNKNOWN, QUERY_UNKNOWN};
    sqlite3_stmt *row = statement_about(
        query,
        "SELECT t_us, rss_min, rss_max, rss_last, cgroup_last FROM tick0"
        " WHERE process = ? ORDER BY t_us DESC LIMIT 1",
        process);
    while (statement_step(query, row))
        tick = tick_of(row);
    return tick;
}

/* ---- collections ------------------------------------------------------- */

/* A recording of before these were kept lacks the columns. */
static bool
has_surroundings(struct query *query)
{
    bool has = false;
    sqlite3_stmt *row =
        statement_of(query, "SELECT 1 FROM pragma_table_info('collection')"
                            " WHERE name = 'rss_after'");
    while (statement_step(query, row))
        has = true;
    return has;
}

static struct query_collection
collection_of(sqlite3_stmt *row)
{
    return (struct query_collection){
        .t_us = statement_number(row, 0),
        .generation = statement_number(row, 1),
        .pause_us = statement_number(row, 2),
        .collected = statement_number(row, 3),
        .uncollectable = statement_number(row, 4),
        .arenas_before = statement_number(row, 5),
        .arenas_after = statement_number(row, 6),
        .rss_before = statement_number(row, 7),
        .rss_after = statement_number(row, 8),
    };
}

#define SELECT_COLLECTION \
    "SELECT t_us, generation, pause_us, collected, uncollectable,"
#define SURROUNDINGS " arenas_before, arenas_after, rss_before, rss_after"
#define NO_SURROUNDINGS " NULL, NULL, NULL, NULL"
#define OF_PROCESS " FROM collection WHERE process = ?"

struct query_collection *
query_collections(struct query *query, int64_t process, size_t *n)
{
    struct query_collection *collections = NULL;
    size_t capacity = 0;
    *n = 0;
    sqlite3_stmt *row = statement_about(
        query,
        has_surroundings(query)
            ? SELECT_COLLECTION SURROUNDINGS OF_PROCESS " ORDER BY t_us"
            : SELECT_COLLECTION NO_SURROUNDINGS OF_PROCESS " ORDER BY t_us",
        process);
    while (statement_step(query, row)) {
        XGROW(collections, capacity, *n);
        collections[(*n)++] = collection_of(row);
    }
    return collections;
}

#define LAST_OF \
    OF_PROCESS " AND generation = ? ORDER BY t_us DESC, slot DESC LIMIT 1"

bool
query_last_collection(struct query *query, int64_t process, int64_t generation,
                      struct query_collection *last)
{
    bool has = false;
    sqlite3_stmt *row = statement_about(
        query,
        has_surroundings(query) ? SELECT_COLLECTION SURROUNDINGS LAST_OF
                                : SELECT_COLLECTION NO_SURROUNDINGS LAST_OF,
        process);
    if (row != NULL)
        sqlite3_bind_int64(row, 2, generation);
    while (statement_step(query, row)) {
        *last = collection_of(row);
        has = true;
    }
    return has;
}

int64_t
query_collections_since(struct query *query)
{
    int64_t since_us = INT64_MIN;
    sqlite3_stmt *row =
        statement_of(query, "SELECT count(*), min(t_us) FROM collection");
    while (statement_step(query, row)) {
        if (statement_number(row, 0) >= RECORDING_COLLECTION_SLOTS)
            since_us = statement_number(row, 1);
    }
    return since_us;
}

struct query_typed *
query_typed_censuses(struct query *query, int64_t process, size_t *n)
{
    struct query_typed *all = NULL;
    size_t capacity = 0;
    *n = 0;
    sqlite3_stmt *row = statement_about(
        query,
        "SELECT id, t_us, t_us + took_us, image, torn = 0 AND"
        " in_swap_bytes = 0 AND NOT EXISTS (SELECT 1 FROM type"
        " WHERE census = c.id AND name = '" RECORDING_TYPE_OTHER "')"
        " FROM census c WHERE process = ? AND has_types = 1"
        " AND took_us IS NOT NULL ORDER BY t_us, id",
        process);
    while (statement_step(query, row)) {
        XGROW(all, capacity, *n);
        all[(*n)++] = (struct query_typed){
            .census = statement_number(row, 0),
            .start_us = statement_number(row, 1),
            .end_us = statement_number(row, 2),
            .image = statement_number(row, 3),
            .is_whole = statement_number(row, 4) == 1,
        };
    }
    return all;
}

struct query_generation *
query_generations(struct query *query, int64_t census, size_t *n)
{
    struct query_generation *generations = NULL;
    size_t capacity = 0;
    bool has_table = false;
    *n = 0;
    sqlite3_stmt *row = statement_of(
        query, "SELECT 1 FROM sqlite_master WHERE name = 'generation'");
    while (statement_step(query, row))
        has_table = true;
    if (!has_table)
        return NULL;
    row = statement_about(query,
                          "SELECT threshold, count, survivors, promoted FROM"
                          " generation WHERE census = ? ORDER BY generation",
                          census);
    while (statement_step(query, row)) {
        XGROW(generations, capacity, *n);
        generations[(*n)++] = (struct query_generation){
            .threshold = statement_number(row, 0),
            .count = statement_number(row, 1),
            .survivors = statement_number(row, 2),
            .promoted = statement_number(row, 3),
        };
    }
    return generations;
}

struct query_objects
query_objects(struct query *query, int64_t census)
{
    struct query_objects objects = {
        QUERY_UNKNOWN, QUERY_UNKNOWN, QUERY_UNKNOWN, QUERY_UNKNOWN,
        QUERY_UNKNOWN, QUERY_UNKNOWN, QUERY_UNKNOWN, QUERY_UNKNOWN,
    };
    if (!statement_has_column(query, "object", "only_found"))
        return objects;
    sqlite3_stmt *row = statement_about(
        query,
        "SELECT births, deaths, live_blocks, live_bytes, orphans,"
        " found_blocks, only_told, only_found FROM object WHERE census = ?",
        census);
    while (statement_step(query, row))
        objects = (struct query_objects){
            .births = statement_number(row, 0),
            .deaths = statement_number(row, 1),
            .live_blocks = statement_number(row, 2),
            .live_bytes = statement_number(row, 3),
            .orphans = statement_number(row, 4),
            .found_blocks = statement_number(row, 5),
            .only_told = statement_number(row, 6),
            .only_found = statement_number(row, 7),
        };
    return objects;
}

/* ---- events ------------------------------------------------------------ */

struct query_event *
query_events(struct query *query, size_t *n)
{
    struct query_event *events = NULL;
    size_t capacity = 0;
    *n = 0;
    sqlite3_stmt *row = statement_of(
        query, "SELECT t_us, process, kind, text FROM event ORDER BY t_us");
    while (statement_step(query, row)) {
        XGROW(events, capacity, *n);
        events[(*n)++] = (struct query_event){
            .t_us = statement_number(row, 0),
            .process = statement_number(row, 1),
            .kind = statement_name(row, 2),
            .text = statement_text(row, 3),
        };
    }
    return events;
}

bool
query_has_event(struct query *query, int64_t process, const char *kind)
{
    bool has = false;
    sqlite3_stmt *row = statement_about(
        query, "SELECT 1 FROM event WHERE process = ? AND kind = ? LIMIT 1",
        process);
    if (row != NULL)
        sqlite3_bind_text(row, 2, kind, -1, SQLITE_STATIC);
    while (statement_step(query, row))
        has = true;
    return has;
}

void
query_free_events(struct query_event *events, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(events[i].kind);
        free(events[i].text);
    }
    free(events);
}
