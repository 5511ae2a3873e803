/*
 * What an interpreter keeps. Older recordings lack columns of these tables:
 * what they would say is unknown then.
 */
#include <stdlib.h>

#include "include/xalloc.h"
#include "report/query/statement.h"

#define BLOCKS27_COLUMNS \
    "SELECT name, blocks, reserved_bytes, live_bytes, free_bytes"
#define OF_CENSUS " FROM block27 WHERE census = ?"

static void
read_blocks27(struct query *query, int64_t census,
              struct query_never_returned *never)
{
    size_t capacity = 0;
    sqlite3_stmt *row = statement_about(
        query,
        statement_has_column(query, "block27", "pinned_blocks")
            ? BLOCKS27_COLUMNS ", pinned_blocks, empty_blocks" OF_CENSUS
            : BLOCKS27_COLUMNS ", NULL, NULL" OF_CENSUS,
        census);
    while (statement_step(query, row)) {
        XGROW(never->blocks27, capacity, never->n_blocks27);
        never->blocks27[never->n_blocks27++] = (struct query_blocks27){
            .name = statement_name(row, 0),
            .blocks = statement_number(row, 1),
            .reserved_bytes = statement_number(row, 2),
            .live_bytes = statement_number(row, 3),
            .free_bytes = statement_number(row, 4),
            .pinned_blocks = statement_number(row, 5),
            .empty_blocks = statement_number(row, 6),
        };
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
