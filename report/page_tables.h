/*
 * page_tables.h - the tables of a page: of one census, and of the collector
 */
#ifndef REPORT_PAGE_TABLES_H
#define REPORT_PAGE_TABLES_H

#include <stddef.h>
#include <stdint.h>

#include "report/formats/json.h"
#include "report/query/query.h"

/*
 * "moment": the census, its arenas, classes and types. Of more types than
 * most_types, those that hold least become one row, "other_types".
 */
void page_tables_put(struct json *json, struct query *query,
                     const struct query_census *census, size_t most_types);

/* "gc": what Python's collector did in this process. */
void page_tables_put_gc(struct json *json, struct query *query,
                        int64_t process);

#endif
