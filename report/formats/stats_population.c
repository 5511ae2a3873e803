/*
 * What is exact of an object is its own block: what precedes the object in it
 * (the collector's header, a managed dict's pointer) is part of it. What the
 * object refers to are other objects, and other types.
 */
#include <stdlib.h>

#include "report/formats/stats_format.h"
#include "report/units.h"
#include "report/words.h"

enum { NAME_BYTES = 200 };

/* One process' objects of the type. */
struct life {
    const struct query_process *process;
    struct query_population *populations;
    size_t n;
};

static bool
has_any(const struct life *life)
{
    for (size_t i = 0; i < life->n; i++) {
        if (query_known(life->populations[i].count) != 0)
            return true;
    }
    return false;
}

/* Calls `put` for each process in turn; false: none has had such an object. */
static bool
for_each(struct query *query, const char *type, void *context,
         void (*put)(void *context, const struct life *life))
{
    size_t n;
    bool has = false;
    struct query_process *processes = query_processes(query, &n);
    for (size_t i = 0; i < n; i++) {
        struct life life = {.process = &processes[i]};
        life.populations = query_population(query, life.process, type, &life.n);
        if (has_any(&life)) {
            put(context, &life);
            has = true;
        }
        free(life.populations);
    }
    query_free_processes(processes, n);
    return has;
}

/* ---- JSON -------------------------------------------------------------- */

static void
put_row(struct json *json, const struct query_population *row)
{
    json_open(json, NULL, '{');
    json_number(json, "t_us", row->t_us);
    json_number(json, "took_us", row->took_us);
    json_string(json, "kind", row->kind);
    json_number(json, "count", row->count);
    json_number(json, "bytes", row->bytes);
    if (row->count_error != QUERY_UNKNOWN) {
        json_number(json, "count_error", row->count_error);
        json_number(json, "bytes_error", row->bytes_error);
    }
    if (row->count > 0)
        json_real(json, "bytes_each", (double)row->bytes / (double)row->count);
    else
        json_null(json, "bytes_each");
    json_close(json, '}');
}

static void
put_life(void *context, const struct life *life)
{
    struct json *json = context;
    json_open(json, NULL, '{');
    json_number(json, "id", life->process->id);
    json_number(json, "pid", life->process->pid);
    json_string(json, "exe", life->process->exe);
    json_string(json, "python", life->process->python);
    json_open(json, "censuses", '[');
    for (size_t i = 0; i < life->n; i++)
        put_row(json, &life->populations[i]);
    json_close(json, ']');
    json_close(json, '}');
}

void
stats_population(struct json *json, struct query *query, const char *type)
{
    json_open(json, NULL, '{');
    json_string(json, "schema", "residue.population/1");
    json_string(json, "recording", query_path(query));
    json_string(json, "type", type);
    json_open(json, "processes", '[');
    for_each(query, type, json, put_life);
    json_close(json, ']');
    json_close(json, '}');
}

/* ---- text -------------------------------------------------------------- */

/* "1,384", or "1,384 ± 20" */
static void
put_figure(struct text *text, char *figure, const char *error)
{
    struct text words = {0};
    text_add(&words, figure);
    if (error != NULL)
        text_addf(&words, " ± %s", error);
    /* "±" has two bytes and one column. */
    text_addf(text, "  %*s", error == NULL ? 20 : 21, text_of(&words));
    text_finish(&words);
}

static void
put_row_text(struct text *text, const struct query_population *row)
{
    const bool is_exact = row->count_error == QUERY_UNKNOWN;
    char figures[2][UNITS_BYTES];
    text_addf(text, "  %10s", units_clock(figures[0], row->t_us));
    put_figure(text, units_count(figures[0], row->count),
               is_exact ? NULL : units_count(figures[1], row->count_error));
    put_figure(text, units_bytes(figures[0], row->bytes),
               is_exact ? NULL : units_bytes(figures[1], row->bytes_error));
    text_addf(text, "  %10s  %s\n",
              units_bytes(figures[0], row->count > 0 ? row->bytes / row->count
                                                     : QUERY_UNKNOWN),
              row->kind);
}

static void
put_life_text(void *context, const struct life *life)
{
    struct text *text = context;
    const char *name = words_base_name(life->process->exe);
    text_add(text, "\n");
    words_put(text, name == NULL ? "?" : name, NAME_BYTES);
    text_addf(text, " · pid %lld\n  %10s  %20s  %20s  %10s  %s\n",
              (long long)life->process->pid, "at", "objects", "bytes", "each",
              "census");
    for (size_t i = 0; i < life->n; i++)
        put_row_text(text, &life->populations[i]);
}

void
stats_population_text(struct text *text, struct query *query, const char *type)
{
    text_add(text, "objects of type ");
    words_put(text, type, NAME_BYTES);
    text_add(text, "; bytes are those of their own blocks, without what they "
                   "refer to\n");
    if (!for_each(query, type, text, put_life_text))
        text_add(text, "\nno census has seen one; `residue stats` and "
                       "`v_types` have the names\n");
}
