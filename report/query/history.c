/*
 * What an interpreter keeps. Older recordings lack columns of these tables:
 * what they would say is unknown then.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "include/cpython.h"
#include "include/xalloc.h"
#include "report/query/statement.h"

/* ---- at a census ------------------------------------------------------- */

/*
 * How full blocks are, or nulls in a recording that does not say; and the
 * columns that all have. A statement about a census or a process.
 */
static sqlite3_stmt *
blocks27_where(struct query *query, const char *condition, int64_t id)
{
    char *sql =
        xasprintf("SELECT x.name, x.blocks, x.reserved_bytes, x.live_bytes,"
                  " x.free_bytes, %s, c.t_us, c.image FROM block27 x"
                  " JOIN census c ON c.id = x.census WHERE %s"
                  " ORDER BY x.name, c.t_us, c.id",
                  statement_has_column(query, "block27", "pinned_blocks")
                      ? "x.pinned_blocks, x.empty_blocks"
                      : "NULL, NULL",
                  condition);
    sqlite3_stmt *row = statement_about(query, sql, id);
    free(sql);
    return row;
}

static struct query_blocks27
blocks27_of(sqlite3_stmt *row)
{
    return (struct query_blocks27){
        .name = statement_name(row, 0),
        .blocks = statement_number(row, 1),
        .reserved_bytes = statement_number(row, 2),
        .live_bytes = statement_number(row, 3),
        .free_bytes = statement_number(row, 4),
        .pinned_blocks = statement_number(row, 5),
        .empty_blocks = statement_number(row, 6),
    };
}

static void
read_blocks27(struct query *query, int64_t census,
              struct query_never_returned *never)
{
    size_t capacity = 0;
    sqlite3_stmt *row = blocks27_where(query, "x.census = ?", census);
    while (statement_step(query, row)) {
        XGROW(never->blocks27, capacity, never->n_blocks27);
        never->blocks27[never->n_blocks27++] = blocks27_of(row);
    }
}

struct query_never_returned
query_never_returned(struct query *query, int64_t census)
{
    struct query_never_returned never = {0};
    size_t capacity = 0;
    read_blocks27(query, census, &never);
    sqlite3_stmt *row = statement_about(
        query,
        "SELECT name, count, bytes FROM free_list WHERE census = ?"
        " ORDER BY bytes DESC, name",
        census);
    while (statement_step(query, row)) {
        XGROW(never.free_lists, capacity, never.n_free_lists);
        never.free_lists[never.n_free_lists++] = (struct query_free_list){
            .name = statement_name(row, 0),
            .count = statement_number(row, 1),
            .bytes = statement_number(row, 2),
        };
    }
    return never;
}

void
query_free_never_returned(struct query_never_returned *never)
{
    for (size_t i = 0; i < never->n_blocks27; i++)
        free(never->blocks27[i].name);
    for (size_t i = 0; i < never->n_free_lists; i++)
        free(never->free_lists[i].name);
    free(never->blocks27);
    free(never->free_lists);
}

struct query_singles
query_singles(struct query *query, int64_t census)
{
    static const char *const words[] = {
#define X(name) #name,
        RECORDING_SINGLES(X)
#undef X
    };
    struct query_singles singles;
    for (size_t i = 0; i < N_SINGLES; i++)
        singles.all[i] = (struct query_single){QUERY_UNKNOWN, QUERY_UNKNOWN};
    if (!statement_has_column(query, "single", "name"))
        return singles;
    sqlite3_stmt *row = statement_about(
        query, "SELECT name, count, bytes FROM single WHERE census = ?",
        census);
    while (statement_step(query, row)) {
        char *name = statement_name(row, 0);
        for (size_t i = 0; i < N_SINGLES; i++) {
            if (strcmp(name, words[i]) == 0)
                singles.all[i] = (struct query_single){
                    statement_number(row, 1), statement_number(row, 2)};
        }
        free(name);
    }
    return singles;
}

/* ---- over time --------------------------------------------------------- */

/* What a program was executed over has nothing to do with it. */
static int64_t
given_back(const struct query_kept *before, const struct query_kept *now)
{
    if (before->blocks.blocks == QUERY_UNKNOWN ||
        now->blocks.blocks == QUERY_UNKNOWN ||
        strcmp(before->blocks.name, now->blocks.name) != 0)
        return QUERY_UNKNOWN;
    return before->blocks.blocks > now->blocks.blocks
               ? before->blocks.blocks - now->blocks.blocks
               : 0;
}

struct query_kept *
query_kept(struct query *query, int64_t process, size_t *n)
{
    struct query_kept *kept = NULL;
    size_t capacity = 0;
    int64_t last_image = QUERY_UNKNOWN;
    *n = 0;
    sqlite3_stmt *row = blocks27_where(query, "c.process = ?", process);
    while (statement_step(query, row)) {
        XGROW(kept, capacity, *n);
        struct query_kept *now = &kept[(*n)++];
        const int64_t image = statement_number(row, 8);
        *now = (struct query_kept){
            .t_us = statement_number(row, 7),
            .blocks = blocks27_of(row),
            .given_back = QUERY_UNKNOWN,
        };
        if (*n > 1 && image == last_image)
            now->given_back = given_back(now - 1, now);
        last_image = image;
    }
    return kept;
}

void
query_free_kept(struct query_kept *kept, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(kept[i].blocks.name);
    free(kept);
}

/* ---- populations ------------------------------------------------------- */

/*
 * A census that has all its types tells of each; one that has a sample, or has
 * added up its least types, only of those that it names.
 */
#define POPULATION                                                            \
    "SELECT c.t_us, c.took_us, c.kind, x.count, x.bytes, x.count_error,"      \
    " x.bytes_error, x.census IS NULL AND c.has_types = 1"                    \
    " AND NOT EXISTS (SELECT 1 FROM type o WHERE o.census = c.id"             \
    " AND o.name = '" RECORDING_TYPE_OTHER "') AS is_none,"                   \
    " b.live_bytes FROM census c"                                             \
    " LEFT JOIN type x ON x.census = c.id AND x.name = ?2"                    \
    " LEFT JOIN block27 b ON b.census = c.id AND b.name = ?2"                 \
    " WHERE c.process = ?1 AND (c.has_types = 1 OR c.types_part IS NOT NULL)" \
    " ORDER BY c.t_us, c.id"

static struct query_population
population_of(sqlite3_stmt *row)
{
    const bool is_none = statement_number(row, 7) == 1;
    struct query_population population = {
        .t_us = statement_number(row, 0),
        .took_us = statement_number(row, 1),
        .count = is_none ? 0 : statement_number(row, 3),
        .bytes = is_none ? 0 : statement_number(row, 4),
        .count_error = statement_number(row, 5),
        .bytes_error = statement_number(row, 6),
    };
    const char *kind = (const char *)sqlite3_column_text(row, 2);
    snprintf(population.kind, sizeof(population.kind), "%s",
             kind == NULL ? "" : kind);
    return population;
}

static bool
is_in_blocks27(const struct query_process *process, const char *type)
{
    return process->python != NULL && strncmp(process->python, "2.", 2) == 0 &&
           (strcmp(type, "int") == 0 || strcmp(type, "float") == 0);
}

/* What lies in arenas besides is what somebody calls the same. */
static void
take_from_blocks27(struct query_population *population, int64_t live_bytes)
{
    if (live_bytes == QUERY_UNKNOWN || population->count == QUERY_UNKNOWN) {
        population->count = population->bytes = QUERY_UNKNOWN;
        return;
    }
    population->count += live_bytes / CPYTHON_BLOCK27_SLOT_BYTES;
    population->bytes += live_bytes;
}

struct query_population *
query_population(struct query *query, const struct query_process *process,
                 const char *type, size_t *n)
{
    struct query_population *populations = NULL;
    size_t capacity = 0;
    *n = 0;
    sqlite3_stmt *row = statement_about(query, POPULATION, process->id);
    if (row != NULL)
        sqlite3_bind_text(row, 2, type, -1, SQLITE_STATIC);
    while (statement_step(query, row)) {
        XGROW(populations, capacity, *n);
        populations[*n] = population_of(row);
        if (is_in_blocks27(process, type))
            take_from_blocks27(&populations[*n], statement_number(row, 8));
        (*n)++;
    }
    return populations;
}
