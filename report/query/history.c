/*
 * What an interpreter keeps. Older recordings lack columns of these tables:
 * what they would say is unknown then.
 */
#include <stdlib.h>
#include <string.h>

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
