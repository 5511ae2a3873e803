#include "report/page_data.h"

#include <stdlib.h>
#include <string.h>

#include "include/xalloc.h"
#include "report/formats/stats_format.h"
#include "report/page_series.h"
#include "report/page_tables.h"
#include "report/verdict/verdict.h"
#include "report/version.h"
#include "report/words.h"

/*
 * What one process may fill, and what all of them together: a page of a
 * hundred processes stays as light as a page of one.
 */
enum {
    MOST_TICKS = 4000,
    MOST_TICKS_IN_ALL = 40000,
    LEAST_TICKS = 200,
    MOST_COLLECTIONS = 1000, /* a generation: one a pixel */
    MOST_COLLECTIONS_IN_ALL = 10000,
    LEAST_COLLECTIONS = 50,
    MOST_TYPES = 300,
    MOST_TYPES_IN_ALL = 4000,
    LEAST_TYPES = 20,
};

/* What every process of a page shares. */
struct source {
    struct query *query;
    size_t n_processes;
    bool shows_names;
};

static size_t
share_of(const struct source *source, size_t in_all, size_t least, size_t most)
{
    const size_t share = in_all / (source->n_processes + 1);
    return share < least ? least : share > most ? most : share;
}

static void
put_differences(struct json *json, const char *const *keys, size_t n)
{
    json_open(json, "differences", '[');
    for (size_t i = 0; i < n; i++)
        json_string(json, NULL, keys[i]);
    json_close(json, ']');
}

/* ---- over time --------------------------------------------------------- */

static void
put_ledgers(struct json *json, const struct query_census *censuses, size_t n)
{
    struct page_column column = PAGE_COLUMN(censuses, n, ledger);
    json_open(json, "ledger", '[');
    for (unsigned cause = 0; cause < N_CAUSES; cause++) {
        page_column_put_differences(json, NULL, column);
        column.offset += sizeof(censuses[0].ledger[0]);
    }
    json_close(json, ']');
}

static void
put_censuses(struct json *json, const struct query_census *censuses, size_t n)
{
    static const char *const differences[] = {
        "t_us",   "rss_bytes",     "ledger",
        "arenas", "arenas_pinned", "arenas_empty",
    };
    json_open(json, "censuses", '{');
    put_differences(json, differences, countof(differences));
    page_column_put_differences(json, "t_us", PAGE_COLUMN(censuses, n, t_us));
    page_column_put_differences(json, "rss_bytes",
                                PAGE_COLUMN(censuses, n, rss_bytes));
    page_column_put_differences(json, "arenas",
                                PAGE_COLUMN(censuses, n, arenas));
    page_column_put_differences(json, "arenas_pinned",
                                PAGE_COLUMN(censuses, n, arenas_pinned));
    page_column_put_differences(json, "arenas_empty",
                                PAGE_COLUMN(censuses, n, arenas_empty));
    page_column_put(json, "torn", PAGE_COLUMN(censuses, n, torn));
    json_open(json, "kind", '[');
    for (size_t i = 0; i < n; i++)
        json_string(json, NULL, censuses[i].kind);
    json_close(json, ']');
    put_ledgers(json, censuses, n);
    json_close(json, '}');
}

static void
put_ticks(struct json *json, const struct source *source, int64_t process)
{
    static const char *const differences[] = {"t_us", "rss_min", "rss_max"};
    size_t n;
    struct query_tick *ticks = query_ticks(source->query, process, &n);
    const size_t n_left = page_fold_ticks(
        ticks, n, share_of(source, MOST_TICKS_IN_ALL, LEAST_TICKS, MOST_TICKS));
    json_open(json, "ticks", '{');
    json_number(json, "of", (int64_t)n);
    put_differences(json, differences, countof(differences));
    page_column_put_differences(json, "t_us", PAGE_COLUMN(ticks, n_left, t_us));
    page_column_put_differences(json, "rss_min",
                                PAGE_COLUMN(ticks, n_left, rss_min));
    page_column_put_differences(json, "rss_max",
                                PAGE_COLUMN(ticks, n_left, rss_max));
    json_close(json, '}');
    free(ticks);
}

static void
put_collections(struct json *json, const struct source *source, int64_t process)
{
    static const char *const differences[] = {"t_us"};
    size_t n;
    struct query_collection *all =
        query_collections(source->query, process, &n);
    const size_t n_left =
        page_fold_collections(all, n,
                              share_of(source, MOST_COLLECTIONS_IN_ALL,
                                       LEAST_COLLECTIONS, MOST_COLLECTIONS));
    json_open(json, "collections", '{');
    json_number(json, "of", (int64_t)n);
    put_differences(json, differences, countof(differences));
    page_column_put_differences(json, "t_us", PAGE_COLUMN(all, n_left, t_us));
    page_column_put(json, "generation", PAGE_COLUMN(all, n_left, generation));
    page_column_put(json, "pause_us", PAGE_COLUMN(all, n_left, pause_us));
    json_close(json, '}');
    free(all);
}

/* ---- a process --------------------------------------------------------- */

static void
put_identity(struct json *json, const struct source *source,
             const struct query_process *process)
{
    json_number(json, "id", process->id);
    json_number(json, "pid", process->pid);
    json_number(json, "ppid", process->ppid);
    json_string(json, "name", words_base_name(process->exe));
    if (source->shows_names) {
        json_string(json, "exe", process->exe);
        json_string(json, "command", process->command);
    }
    json_string(json, "python", process->python);
    json_string(json, "level", process->level);
    json_string(json, "note", process->note);
    json_number(json, "start_us", process->start_us);
    json_number(json, "end_us", process->end_us);
    json_number(json, "exit", process->exit_status);
    json_number(json, "vm_hwm_bytes", process->vm_hwm_bytes);
}

static void
put_counters(struct json *json, const struct query_process *process)
{
    json_open(json, "malloc", '{');
    json_number(json, "allocs", process->births);
    json_number(json, "frees", process->deaths);
    json_close(json, '}');
    json_open(json, "loss", '{');
    json_number(json, "events", process->lost_events);
    json_number(json, "batches", process->lost_batches);
    json_close(json, '}');
    json_open(json, "collector", '{');
    json_number(json, "cpu_us", process->census_cpu_us);
    json_number(json, "read_bytes", process->census_read_bytes);
    json_close(json, '}');
}

/* Where among its process' censuses one is. */
static int64_t
index_of(const struct query_census *censuses, size_t n, int64_t id)
{
    for (size_t i = 0; i < n; i++) {
        if (censuses[i].id == id)
            return (int64_t)i;
    }
    return QUERY_UNKNOWN;
}

static void
put_process(struct json *json, const struct source *source,
            const struct query_process *process)
{
    size_t n;
    struct query_census *censuses =
        query_censuses(source->query, process->id, &n);
    const struct query_census census = query_census_at(
        source->query, process->id, query_moment(source->query));
    json_open(json, NULL, '{');
    put_identity(json, source, process);
    put_counters(json, process);
    put_censuses(json, censuses, n);
    put_ticks(json, source, process->id);
    put_collections(json, source, process->id);
    page_tables_put_gc(json, source->query, process->id);
    if (census.id != 0) {
        json_number(json, "at", index_of(censuses, n, census.id));
        page_tables_put(
            json, source->query, &census,
            share_of(source, MOST_TYPES_IN_ALL, LEAST_TYPES, MOST_TYPES));
    }
    json_close(json, '}');
    free(censuses);
}

/* ---- the recording ----------------------------------------------------- */

static void
put_meta(struct json *json, struct query *query, const char *key)
{
    char *value = query_meta(query, key);
    json_string(json, key, value);
    free(value);
}

static void
put_recording(struct json *json, struct query *query)
{
    json_string(json, "schema", "residue.page/1");
    json_string(json, "version", RESIDUE_VERSION);
    json_string(json, "recording", words_base_name(query_path(query)));
    json_string(json, "moment", query_moment(query));
    json_bool(json, "sealed", query_is_sealed(query));
    put_meta(json, query, "host");
    put_meta(json, query, "kernel");
    json_number(json, "started_unix_ns",
                query_meta_number(query, "started_unix_ns"));
    json_number(json, "ended_us", query_meta_number(query, "ended_us"));
    json_open(json, "collector", '{');
    json_number(json, "cpu_us", query_meta_number(query, "collector_cpu_us"));
    json_number(json, "survey_cpu_us",
                query_meta_number(query, "survey_cpu_us"));
    json_close(json, '}');
}

static void
put_causes(struct json *json)
{
    json_open(json, "causes", '[');
    for (unsigned i = 0; i < N_CAUSES; i++) {
        json_open(json, NULL, '{');
        json_string(json, "word", stats_cause_word((enum recording_cause)i));
        json_string(json, "meaning",
                    stats_cause_meaning((enum recording_cause)i));
        json_close(json, '}');
    }
    json_close(json, ']');
}

static void
put_events(struct json *json, struct query *query)
{
    size_t n;
    struct query_event *events = query_events(query, &n);
    json_open(json, "events", '[');
    for (size_t i = 0; i < n; i++) {
        json_open(json, NULL, '{');
        json_number(json, "t_us", events[i].t_us);
        json_number(json, "process", events[i].process);
        json_string(json, "kind", events[i].kind);
        json_string(json, "text", events[i].text);
        json_close(json, '}');
    }
    json_close(json, ']');
    query_free_events(events, n);
}

void
page_data_put(struct json *json, struct query *query, bool shows_names)
{
    struct source source = {.query = query, .shows_names = shows_names};
    struct query_process *processes =
        query_processes(query, &source.n_processes);
    struct verdict verdict = verdict_reach(query);
    json_open(json, NULL, '{');
    put_recording(json, query);
    put_causes(json);
    put_events(json, query);
    stats_findings(json, "verdict", &verdict);
    json_open(json, "processes", '[');
    for (size_t i = 0; i < source.n_processes; i++)
        put_process(json, &source, &processes[i]);
    json_close(json, ']');
    json_close(json, '}');
    verdict_finish(&verdict);
    query_free_processes(processes, source.n_processes);
}
