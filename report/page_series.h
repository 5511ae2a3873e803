/*
 * page_series.h - columns of numbers for a page, and how they are thinned
 *
 * A page shows a thousand columns of pixels, and a recording may hold a week:
 * rows are folded into bins that keep what must not be missed, the least and
 * the greatest RSS, the longest pause.
 */
#ifndef REPORT_PAGE_SERIES_H
#define REPORT_PAGE_SERIES_H

#include <stddef.h>
#include <stdint.h>

#include "report/formats/json.h"
#include "report/query/query.h"

/* n rows of stride bytes, the wanted int64_t at offset in each. */
struct page_column {
    const void *rows;
    size_t n;
    size_t stride;
    size_t offset;
};

/* The member `field`, an int64_t, of each of n rows. */
#define PAGE_COLUMN(rows, n, field)                       \
    ((struct page_column){(rows), (n), sizeof((rows)[0]), \
                          offsetof(__typeof__(*(rows)), field)})

/* An array of the values, or of their differences. */
void page_column_put(struct json *json, const char *key,
                     struct page_column column);
void page_column_put_differences(struct json *json, const char *key,
                                 struct page_column column);

/* Folds ticks, in place, into at most `most` rows. Returns how many are left.
 */
size_t page_fold_ticks(struct query_tick *ticks, size_t n, size_t most);

/*
 * Keeps, in place, collections of the generations 1 and up: of each generation
 * the longest pause in each of `most` spans of time. Returns how many are left.
 */
size_t page_fold_collections(struct query_collection *collections, size_t n,
                             size_t most);

#endif
