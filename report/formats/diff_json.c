#include "report/formats/diff.h"
#include "report/formats/stats_format.h"

static void
put_two(struct json *json, const char *key, int64_t before, int64_t after)
{
    json_open(json, key, '[');
    json_number(json, NULL, before);
    json_number(json, NULL, after);
    json_close(json, ']');
}

static void
put_moment(struct json *json, const char *key, struct query *query)
{
    json_open(json, key, '{');
    json_string(json, "recording", query_path(query));
    json_string(json, "moment", query_moment(query));
    json_close(json, '}');
}

static void
put_side(struct json *json, const char *key, const struct difference_side *side)
{
    const bool has_census = side->census.id != 0;
    json_open(json, key, '{');
    json_number(json, "id", side->process->id);
    json_number(json, "pid", side->process->pid);
    json_number(json, "t_us", has_census ? side->census.t_us : QUERY_UNKNOWN);
    json_string(json, "census", has_census ? side->census.kind : NULL);
    json_close(json, '}');
}

static void
put_table(struct json *json, const char *key, struct difference_table table)
{
    if (!table.is_known) {
        json_null(json, key);
        difference_free(&table);
        return;
    }
    json_open(json, key, '[');
    for (size_t i = 0; i < table.n; i++) {
        const struct difference_row *row = &table.rows[i];
        json_open(json, NULL, '{');
        json_string(json, "name", row->name);
        put_two(json, "count", row->count[0], row->count[1]);
        put_two(json, "bytes", row->bytes[0], row->bytes[1]);
        if (row->count_error > 0 || row->bytes_error > 0) {
            json_number(json, "count_error", (int64_t)(row->count_error + 0.5));
            json_number(json, "bytes_error", (int64_t)(row->bytes_error + 0.5));
        }
        json_close(json, '}');
    }
    json_close(json, ']');
    difference_free(&table);
}

static void
put_figures(struct json *json, const struct query_census *before,
            const struct query_census *after)
{
    put_two(json, "rss_bytes", before->rss_bytes, after->rss_bytes);
    json_open(json, "ledger", '{');
    for (unsigned i = 0; i < N_CAUSES; i++)
        put_two(json, stats_cause_word(i), before->ledger[i], after->ledger[i]);
    json_close(json, '}');
    json_open(json, "arenas", '{');
    put_two(json, "count", before->arenas, after->arenas);
    put_two(json, "resident_bytes", before->arena_resident,
            after->arena_resident);
    put_two(json, "live_bytes", before->arena_live, after->arena_live);
    put_two(json, "held_bytes", before->arena_held, after->arena_held);
    put_two(json, "pinned", before->arenas_pinned, after->arenas_pinned);
    json_close(json, '}');
}

static void
put_process(struct json *json, const struct diff_process *process)
{
    const struct difference_side *before = &process->before;
    const struct difference_side *after = &process->after;
    json_open(json, NULL, '{');
    put_side(json, "before", before);
    put_side(json, "after", after);
    json_string(json, "exe", after->process->exe);
    if (before->census.id != 0 && after->census.id != 0)
        put_figures(json, &before->census, &after->census);
    json_open(json, "malloc", '{');
    put_two(json, "allocs", before->process->births, after->process->births);
    put_two(json, "frees", before->process->deaths, after->process->deaths);
    put_two(json, "live_blocks", before->process->live_blocks,
            after->process->live_blocks);
    put_two(json, "live_bytes", before->process->live_bytes,
            after->process->live_bytes);
    json_close(json, '}');
    put_table(json, "types", difference_types(before, after));
    put_table(json, "sites", difference_sites(before, after));
    put_table(json, "never_returned", difference_kept(before, after));
    json_close(json, '}');
}

void
diff_json(struct json *json, struct query *before, struct query *after,
          const struct diff_process *processes, size_t n)
{
    json_open(json, NULL, '{');
    json_string(json, "schema", "residue.diff/1");
    put_moment(json, "before", before);
    put_moment(json, "after", after);
    json_open(json, "processes", '[');
    for (size_t i = 0; i < n; i++)
        put_process(json, &processes[i]);
    json_close(json, ']');
    json_close(json, '}');
}
