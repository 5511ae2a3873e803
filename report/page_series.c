#include "report/page_series.h"

#include <string.h>

/* ---- columns ----------------------------------------------------------- */

static int64_t
value_of(const struct page_column *column, size_t row)
{
    int64_t value;
    const char *at = (const char *)column->rows + row * column->stride;
    memcpy(&value, at + column->offset, sizeof(value));
    return value;
}

void
page_column_put(struct json *json, const char *key, struct page_column column)
{
    json_open(json, key, '[');
    for (size_t i = 0; i < column.n; i++)
        json_number(json, NULL, value_of(&column, i));
    json_close(json, ']');
}

void
page_column_put_differences(struct json *json, const char *key,
                            struct page_column column)
{
    int64_t last = 0;
    json_open(json, key, '[');
    for (size_t i = 0; i < column.n; i++) {
        const int64_t value = value_of(&column, i);
        if (value == QUERY_UNKNOWN) {
            json_null(json, NULL);
            continue;
        }
        json_number(json, NULL, value - last);
        last = value;
    }
    json_close(json, ']');
}

/* ---- ticks ------------------------------------------------------------- */

static int64_t
least(int64_t a, int64_t b)
{
    if (a == QUERY_UNKNOWN || b == QUERY_UNKNOWN)
        return a == QUERY_UNKNOWN ? b : a;
    return a < b ? a : b;
}

/* QUERY_UNKNOWN is less than everything. */
static int64_t
greatest(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

size_t
page_fold_ticks(struct query_tick *ticks, size_t n, size_t most)
{
    const size_t in_bin = (n + most - 1) / most;
    if (in_bin <= 1)
        return n;
    size_t n_bins = 0;
    for (size_t i = 0; i < n; i += in_bin) {
        struct query_tick bin = ticks[i];
        for (size_t k = i + 1; k < i + in_bin && k < n; k++) {
            bin.rss_min = least(bin.rss_min, ticks[k].rss_min);
            bin.rss_max = greatest(bin.rss_max, ticks[k].rss_max);
            bin.rss_last = ticks[k].rss_last;
        }
        ticks[n_bins++] = bin;
    }
    return n_bins;
}

/* ---- collections ------------------------------------------------------- */

enum { GENERATIONS = 3 };

size_t
page_fold_collections(struct query_collection *collections, size_t n,
                      size_t most)
{
    if (n == 0)
        return 0;
    const int64_t from = collections[0].t_us;
    const int64_t until = collections[n - 1].t_us;
    /* A hostile recording's need not be a number that can be said. */
    const int64_t span = until - from < 0 ? 1 : until - from + 1;
    int64_t last_bin[GENERATIONS] = {-1, -1, -1};
    size_t last_at[GENERATIONS] = {0};
    size_t n_kept = 0;
    for (size_t i = 0; i < n; i++) {
        const struct query_collection now = collections[i];
        if (now.generation < 1 || now.generation >= GENERATIONS)
            continue;
        const int64_t bin = (now.t_us - from) * (int64_t)most / span;
        struct query_collection *last = &collections[last_at[now.generation]];
        if (bin != last_bin[now.generation]) {
            last_bin[now.generation] = bin;
            last_at[now.generation] = n_kept;
            collections[n_kept++] = now;
        } else if (now.pause_us > last->pause_us) {
            *last = now;
        }
    }
    return n_kept;
}
