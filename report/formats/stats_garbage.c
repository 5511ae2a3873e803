#include <stdlib.h>

#include "report/formats/stats_format.h"
#include "report/garbage.h"
#include "report/units.h"
#include "report/words.h"

enum {
    MOST_ROWS = 5, /* in the table */
    NAME_BYTES = 40,
};

/* Where no collection is told there is nothing to say, not even "none". */
static bool
has_lane(struct query *query, const struct query_process *process)
{
    size_t n;
    free(query_gc(query, process->id, &n));
    return n != 0;
}

/* ---- JSON -------------------------------------------------------------- */

static void
put_garbage(struct json *json, const struct garbage *garbage)
{
    json_open(json, NULL, '{');
    json_number(json, "t_us", garbage->collection.t_us);
    json_number(json, "generation", garbage->collection.generation);
    json_number(json, "collected", garbage->collection.collected);
    json_number(json, "before_t_us", garbage->before_us);
    json_number(json, "after_t_us", garbage->after_us);
    json_number(json, "objects", garbage->objects);
    json_number(json, "objects_error", garbage->objects_error);
    json_number(json, "bytes", garbage->bytes);
    json_number(json, "bytes_error", garbage->bytes_error);
    json_open(json, "types", '[');
    for (size_t i = 0; i < garbage->n_types; i++) {
        json_open(json, NULL, '{');
        json_string(json, "name", garbage->types[i].name);
        json_number(json, "count", garbage->types[i].count);
        json_number(json, "bytes", garbage->types[i].bytes);
        json_close(json, '}');
    }
    json_close(json, ']');
    json_close(json, '}');
}

void
stats_garbage(struct json *json, struct query *query,
              const struct query_process *process)
{
    size_t n;
    if (!has_lane(query, process)) {
        json_null(json, "cyclic_garbage");
        return;
    }
    struct garbage *all = garbage_of(query, process, &n);
    json_open(json, "cyclic_garbage", '[');
    for (size_t i = 0; i < n; i++)
        put_garbage(json, &all[i]);
    json_close(json, ']');
    garbage_free(all, n);
}

/* ---- text -------------------------------------------------------------- */

static void
put_row(struct text *text, const struct garbage *garbage)
{
    char at[UNITS_BYTES];
    char collected[UNITS_BYTES];
    char objects[2][UNITS_BYTES];
    char bytes[2][UNITS_BYTES];
    text_addf(text, "  %10s %11s %11s %11s %11s %11s  ",
              units_clock(at, garbage->collection.t_us),
              units_count(collected, garbage->collection.collected),
              units_count(objects[0], garbage->objects),
              units_count(objects[1], garbage->objects_error),
              units_bytes(bytes[0], garbage->bytes),
              units_bytes(bytes[1], garbage->bytes_error));
    words_put(text, garbage->n_types == 0 ? "-" : garbage->types[0].name,
              NAME_BYTES);
    text_add(text, "\n");
}

/* Where the error is all that was collected, a row would be noise. */
static bool
is_told(const struct garbage *garbage)
{
    return garbage->objects_error < garbage->collection.collected;
}

void
stats_garbage_text(struct text *text, struct query *query,
                   const struct query_process *process)
{
    size_t n;
    size_t n_told = 0;
    struct garbage *all = garbage_of(query, process, &n);
    for (size_t i = 0; i < n; i++) {
        if (!is_told(&all[i]) || n_told == MOST_ROWS)
            continue;
        if (n_told++ == 0)
            text_addf(text,
                      "\n  waited for the collector, by the censuses around "
                      /* "±" has two bytes and one column. */
                      "it\n  %10s %11s %11s %12s %11s %12s  %s\n",
                      "at", "collected", "objects", "± at most", "bytes",
                      "± at most", "most of type");
        put_row(text, &all[i]);
    }
    if (n != 0 && n_told == 0)
        text_add(text,
                 "\n  waited for the collector: too much else went on between "
                 "the censuses around\n  collections to say what\n");
    else if (n > n_told)
        text_addf(text, "  and %zu collections more: see --json\n", n - n_told);
    garbage_free(all, n);
}
