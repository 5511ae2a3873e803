#include <ctype.h>
#include <string.h>

#include "include/xalloc.h"
#include "report/query/statement.h"

/* ---- censuses ---------------------------------------------------------- */

#define CENSUS_COLUMNS                                                        \
    "SELECT id, process, t_us, kind, rss_bytes, skew_bytes, vm_hwm_bytes,"    \
    " swap_bytes, in_swap_bytes, anon_huge_bytes, torn, has_types, "          \
    "has_low_types,"                                                          \
    " live_bytes, arenas, arena_bytes, arena_resident, arena_live,"           \
    " arena_held, arenas_pinned, arenas_empty, pinned_held, pinned_resident," \
    " pinned_holes, pinned_blocks, pinned_live, births, deaths, "             \
    "live_blocks, python_large_error, heap_live, heap_trimmable,"             \
    " heap_page_pinned, trim_gain, hugetlb_bytes,"                            \
    " collector_rss_bytes, cgroup_current, cgroup_max,"                       \
    " cgroup_oom_kills, cgroup_anon, cgroup_file, cgroup_shmem,"              \
    " cgroup_kernel, cgroup_others,"                                          \
    " has_types = 0 AND types_part IS NOT NULL" RECORDING_CAUSES(             \
        CENSUS_CAUSE_COLUMN) " FROM census"
#define CENSUS_CAUSE_COLUMN(cause) ", " #cause

enum { FIRST_CGROUP_COLUMN = 36, FIRST_CAUSE_COLUMN = 45 };

static struct query_cgroup
cgroup_of(sqlite3_stmt *row)
{
    const int first = FIRST_CGROUP_COLUMN;
    return (struct query_cgroup){
        .current = statement_number(row, first),
        .max = statement_number(row, first + 1),
        .oom_kills = statement_number(row, first + 2),
        .anon = statement_number(row, first + 3),
        .file = statement_number(row, first + 4),
        .shmem = statement_number(row, first + 5),
        .kernel = statement_number(row, first + 6),
        .others = statement_number(row, first + 7),
    };
}

static struct query_census
census_of(sqlite3_stmt *row)
{
    struct query_census census = {
        .id = statement_number(row, 0),
        .process = statement_number(row, 1),
        .t_us = statement_number(row, 2),
        .rss_bytes = statement_number(row, 4),
        .skew_bytes = statement_number(row, 5),
        .vm_hwm_bytes = statement_number(row, 6),
        .swap_bytes = statement_number(row, 7),
        .in_swap_bytes = statement_number(row, 8),
        .anon_huge_bytes = statement_number(row, 9),
        .torn = statement_number(row, 10),
        .has_types = statement_number(row, 11),
        .has_low_types = statement_number(row, 12),
        .live_bytes = statement_number(row, 13),
        .arenas = statement_number(row, 14),
        .arena_bytes = statement_number(row, 15),
        .arena_resident = statement_number(row, 16),
        .arena_live = statement_number(row, 17),
        .arena_held = statement_number(row, 18),
        .arenas_pinned = statement_number(row, 19),
        .arenas_empty = statement_number(row, 20),
        .pinned_held = statement_number(row, 21),
        .pinned_resident = statement_number(row, 22),
        .pinned_holes = statement_number(row, 23),
        .pinned_blocks = statement_number(row, 24),
        .pinned_live = statement_number(row, 25),
        .births = statement_number(row, 26),
        .deaths = statement_number(row, 27),
        .live_blocks = statement_number(row, 28),
        .python_large_error = statement_number(row, 29),
        .heap_live = statement_number(row, 30),
        .heap_trimmable = statement_number(row, 31),
        .heap_page_pinned = statement_number(row, 32),
        .trim_gain = statement_number(row, 33),
        .hugetlb_bytes = statement_number(row, 34),
        .collector_rss_bytes = statement_number(row, 35),
        .cgroup = cgroup_of(row),
        .has_sample = statement_number(row, 44),
    };
    const char *kind = (const char *)sqlite3_column_text(row, 3);
    snprintf(census.kind, sizeof(census.kind), "%s", kind == NULL ? "" : kind);
    for (int i = 0; i < N_CAUSES; i++)
        census.ledger[i] = statement_number(row, FIRST_CAUSE_COLUMN + i);
    return census;
}

/* The last row of a statement with a process and perhaps one thing more. */
static struct query_census
last_census(struct query *query, const char *sql, int64_t process,
            const char *label, int64_t t_us)
{
    struct query_census census = {0};
    sqlite3_stmt *row = statement_of(query, sql);
    if (row != NULL) {
        sqlite3_bind_int64(row, 1, process);
        if (label != NULL)
            sqlite3_bind_text(row, 2, label, -1, SQLITE_STATIC);
        else if (t_us != QUERY_UNKNOWN)
            sqlite3_bind_int64(row, 2, t_us);
    }
    while (statement_step(query, row))
        census = census_of(row);
    return census;
}

/* "SECONDS[.FRACTION]" in microseconds; NULL: that is not what is there. */
static const char *
take_seconds(const char *at, int64_t *time_us)
{
    const int64_t most_us = INT64_MAX / 60 / 60 / 16; /* hours of them, too */
    int64_t unit_us = 1000000;
    if (!isdigit((unsigned char)*at))
        return NULL;
    for (*time_us = 0; isdigit((unsigned char)*at); at++) {
        *time_us = *time_us * 10 + (*at - '0') * unit_us;
        if (*time_us > most_us)
            return NULL;
    }
    if (*at != '.')
        return at;
    for (at++; isdigit((unsigned char)*at); at++) {
        unit_us /= 10;
        *time_us += (*at - '0') * unit_us;
    }
    return at;
}

/* "[[hours:]minutes:]seconds", to microseconds; QUERY_UNKNOWN: it is none. */
static int64_t
parse_time(const char *word)
{
    int64_t time_us = 0;
    const char *at = word;
    for (unsigned parts = 0; parts < 3; parts++) {
        int64_t part_us;
        at = take_seconds(at, &part_us);
        if (at == NULL)
            return QUERY_UNKNOWN;
        time_us = time_us * 60 + part_us;
        if (*at == '\0')
            return time_us;
        if (*at++ != ':')
            return QUERY_UNKNOWN;
    }
    return QUERY_UNKNOWN;
}

static bool
has_mark(struct query *query, const char *label)
{
    bool has = false;
    sqlite3_stmt *row =
        statement_of(query, "SELECT 1 FROM census WHERE label = ? LIMIT 1");
    if (row != NULL)
        sqlite3_bind_text(row, 1, label, -1, SQLITE_STATIC);
    while (statement_step(query, row))
        has = true;
    return has;
}

bool
query_is_moment_word(const char *word)
{
    return strcmp(word, "start") == 0 || strcmp(word, "peak") == 0 ||
           strcmp(word, "end") == 0 || parse_time(word) != QUERY_UNKNOWN;
}

bool
query_is_moment(struct query *query, const char *moment)
{
    return query_is_moment_word(moment) || has_mark(query, moment);
}

struct query_census
query_census_at(struct query *query, int64_t process, const char *moment)
{
    if (strcmp(moment, "start") == 0)
        return last_census(query,
                           CENSUS_COLUMNS " WHERE process = ?"
                                          " ORDER BY t_us, id LIMIT 1",
                           process, NULL, QUERY_UNKNOWN);
    if (strcmp(moment, "peak") == 0)
        return last_census(query,
                           CENSUS_COLUMNS
                           " WHERE process = ?"
                           " ORDER BY rss_bytes DESC, id LIMIT 1",
                           process, NULL, QUERY_UNKNOWN);
    if (strcmp(moment, "end") == 0)
        return last_census(query,
                           CENSUS_COLUMNS
                           " WHERE process = ?"
                           " ORDER BY image DESC, kind = 'end' DESC,"
                           " t_us DESC, id DESC"
                           " LIMIT 1",
                           process, NULL, QUERY_UNKNOWN);
    if (has_mark(query, moment))
        return last_census(query,
                           CENSUS_COLUMNS " WHERE process = ? AND label = ?"
                                          " ORDER BY t_us DESC LIMIT 1",
                           process, moment, QUERY_UNKNOWN);
    return last_census(query,
                       CENSUS_COLUMNS " WHERE process = ? AND t_us <= ?"
                                      " ORDER BY t_us DESC LIMIT 1",
                       process, NULL, parse_time(moment));
}

struct query_census
query_census_with_types(struct query *query, const struct query_census *census)
{
    if (census->has_types == 1 || census->has_sample == 1)
        return *census;
    return last_census(query,
                       CENSUS_COLUMNS " WHERE process = ? AND t_us <= ?"
                                      " AND has_types"
                                      " ORDER BY t_us DESC LIMIT 1",
                       census->process, NULL, census->t_us);
}

struct query_census *
query_censuses(struct query *query, int64_t process, size_t *n)
{
    struct query_census *censuses = NULL;
    size_t capacity = 0;
    *n = 0;
    sqlite3_stmt *row = statement_about(
        query, CENSUS_COLUMNS " WHERE process = ? ORDER BY t_us, id", process);
    while (statement_step(query, row)) {
        XGROW(censuses, capacity, *n);
        censuses[(*n)++] = census_of(row);
    }
    return censuses;
}

void
query_count_at(const struct query *query, struct query_process *process,
               const struct query_census *census)
{
    if (census->id == 0 || strcmp(query_moment(query), "end") == 0)
        return;
    process->births = census->births;
    process->deaths = census->deaths;
    process->live_blocks = census->live_blocks;
    process->live_bytes = census->live_bytes;
}
