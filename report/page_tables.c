#include "report/page_tables.h"

#include <stdlib.h>
#include <string.h>

#include "report/page_series.h"

static void
put_arenas(struct json *json, const struct query_census *census)
{
    json_open(json, "arenas", '{');
    json_number(json, "count", census->arenas);
    json_number(json, "bytes", census->arena_bytes);
    json_number(json, "resident_bytes", census->arena_resident);
    json_number(json, "live_bytes", census->arena_live);
    json_number(json, "held_bytes", census->arena_held);
    json_number(json, "pinned", census->arenas_pinned);
    json_number(json, "pinned_held_bytes", census->pinned_held);
    json_number(json, "pinned_resident_bytes", census->pinned_resident);
    json_number(json, "pinned_blocks", census->pinned_blocks);
    json_number(json, "pinned_live_bytes", census->pinned_live);
    json_number(json, "empty", census->arenas_empty);
    json_close(json, '}');
}

static void
put_classes(struct json *json, struct query *query, int64_t census)
{
    size_t n;
    struct query_class *classes = query_classes(query, census, &n);
    json_open(json, "classes", '{');
    page_column_put(json, "size", PAGE_COLUMN(classes, n, size));
    page_column_put(json, "pools", PAGE_COLUMN(classes, n, pools));
    page_column_put(json, "used", PAGE_COLUMN(classes, n, used));
    page_column_put(json, "free", PAGE_COLUMN(classes, n, free));
    json_close(json, '}');
    free(classes);
}

static int64_t
held_by(const struct query_type *type)
{
    return query_known(type->held_exclusive) + query_known(type->held_split);
}

/* Those that hold most first; as `stats` has them where they hold the same. */
static int
compare_held(const void *left, const void *right)
{
    const struct query_type *a = left;
    const struct query_type *b = right;
    const int64_t more = held_by(b) - held_by(a);
    if (more != 0)
        return more > 0 ? 1 : -1;
    if (a->bytes != b->bytes)
        return a->bytes < b->bytes ? 1 : -1;
    return strcmp(a->name, b->name);
}

static void
add_to(int64_t *sum, int64_t number)
{
    if (number != QUERY_UNKNOWN)
        *sum += number;
}

/* The types that a page has no room for, as one row. */
static struct query_type
sum_of(const struct query_type *types, size_t n)
{
    struct query_type sum = {0};
    for (size_t i = 0; i < n; i++) {
        add_to(&sum.count, types[i].count);
        add_to(&sum.bytes, types[i].bytes);
        add_to(&sum.held_exclusive, types[i].held_exclusive);
        add_to(&sum.held_split, types[i].held_split);
        add_to(&sum.exclusive_bytes, types[i].exclusive_bytes);
    }
    return sum;
}

static void
put_type_columns(struct json *json, const char *key,
                 const struct query_type *types, size_t n)
{
    json_open(json, key, '{');
    json_open(json, "name", '[');
    for (size_t i = 0; i < n; i++)
        json_string(json, NULL, types[i].name);
    json_close(json, ']');
    page_column_put(json, "count", PAGE_COLUMN(types, n, count));
    page_column_put(json, "bytes", PAGE_COLUMN(types, n, bytes));
    page_column_put(json, "held_exclusive_bytes",
                    PAGE_COLUMN(types, n, held_exclusive));
    page_column_put(json, "held_split_bytes",
                    PAGE_COLUMN(types, n, held_split));
    page_column_put(json, "exclusive_bytes",
                    PAGE_COLUMN(types, n, exclusive_bytes));
    json_close(json, '}');
}

static void
put_types(struct json *json, struct query *query,
          const struct query_census *census, size_t most)
{
    const struct query_census typed = query_census_with_types(query, census);
    if (typed.id == 0 || typed.has_types != 1) {
        json_null(json, "types");
        return;
    }
    size_t n;
    struct query_type *types = query_types(query, typed.id, &n);
    const size_t n_shown = n < most ? n : most;
    if (n > 1)
        qsort(types, n, sizeof(types[0]), compare_held);
    json_number(json, "types_t_us", typed.t_us);
    put_type_columns(json, "types", types, n_shown);
    if (n_shown < n) {
        const struct query_type rest = sum_of(types + n_shown, n - n_shown);
        json_number(json, "other_types_n", (int64_t)(n - n_shown));
        put_type_columns(json, "other_types", &rest, 1);
    }
    query_free_types(types, n);
}

static void
put_heaps(struct json *json, struct query *query, int64_t census)
{
    size_t n;
    struct query_heap *heaps = query_heaps(query, census, &n);
    json_open(json, "heaps", '{');
    page_column_put(json, "address", PAGE_COLUMN(heaps, n, address));
    page_column_put(json, "resident_bytes",
                    PAGE_COLUMN(heaps, n, resident_bytes));
    page_column_put(json, "chunks", PAGE_COLUMN(heaps, n, chunks));
    page_column_put(json, "live_bytes", PAGE_COLUMN(heaps, n, live_bytes));
    page_column_put(json, "cached_chunks",
                    PAGE_COLUMN(heaps, n, cached_chunks));
    page_column_put(json, "cached_bytes", PAGE_COLUMN(heaps, n, cached_bytes));
    page_column_put(json, "trimmable_bytes",
                    PAGE_COLUMN(heaps, n, trimmable_bytes));
    page_column_put(json, "page_pinned_bytes",
                    PAGE_COLUMN(heaps, n, page_pinned_bytes));
    page_column_put(json, "trim_gain_bytes",
                    PAGE_COLUMN(heaps, n, trim_gain_bytes));
    page_column_put(json, "is_torn", PAGE_COLUMN(heaps, n, is_torn));
    json_open(json, "kind", '[');
    for (size_t i = 0; i < n; i++)
        json_string(json, NULL, heaps[i].kind);
    json_close(json, ']');
    json_close(json, '}');
    free(heaps);
}

static void
put_modules(struct json *json, struct query *query, int64_t census)
{
    size_t n;
    struct query_module *modules = query_modules(query, census, &n);
    json_open(json, "mappings", '{');
    json_open(json, "module", '[');
    for (size_t i = 0; i < n; i++)
        json_string(json, NULL, modules[i].name);
    json_close(json, ']');
    page_column_put(json, "count", PAGE_COLUMN(modules, n, count));
    page_column_put(json, "bytes", PAGE_COLUMN(modules, n, bytes));
    page_column_put(json, "resident_bytes",
                    PAGE_COLUMN(modules, n, resident_bytes));
    json_close(json, '}');
    query_free_modules(modules, n);
}

static void
put_never_returned(struct json *json, struct query *query, int64_t census)
{
    struct query_never_returned never = query_never_returned(query, census);
    struct query_blocks27 *blocks = never.blocks27;
    struct query_free_list *lists = never.free_lists;
    json_open(json, "blocks27", '{');
    json_open(json, "name", '[');
    for (size_t i = 0; i < never.n_blocks27; i++)
        json_string(json, NULL, blocks[i].name);
    json_close(json, ']');
    page_column_put(json, "blocks",
                    PAGE_COLUMN(blocks, never.n_blocks27, blocks));
    page_column_put(json, "live_bytes",
                    PAGE_COLUMN(blocks, never.n_blocks27, live_bytes));
    page_column_put(json, "free_bytes",
                    PAGE_COLUMN(blocks, never.n_blocks27, free_bytes));
    json_close(json, '}');
    json_open(json, "free_lists", '{');
    json_open(json, "name", '[');
    for (size_t i = 0; i < never.n_free_lists; i++)
        json_string(json, NULL, lists[i].name);
    json_close(json, ']');
    page_column_put(json, "count",
                    PAGE_COLUMN(lists, never.n_free_lists, count));
    page_column_put(json, "bytes",
                    PAGE_COLUMN(lists, never.n_free_lists, bytes));
    json_close(json, '}');
    query_free_never_returned(&never);
}

static void
put_cgroup(struct json *json, const struct query_cgroup *cgroup)
{
    json_open(json, "cgroup", '{');
    json_number(json, "current", cgroup->current);
    json_number(json, "max", cgroup->max);
    json_number(json, "oom_kills", cgroup->oom_kills);
    json_number(json, "anon", cgroup->anon);
    json_number(json, "file", cgroup->file);
    json_number(json, "shmem", cgroup->shmem);
    json_number(json, "kernel", cgroup->kernel);
    json_number(json, "others", cgroup->others);
    json_close(json, '}');
}

void
page_tables_put(struct json *json, struct query *query,
                const struct query_census *census, size_t most_types)
{
    json_open(json, "moment", '{');
    json_number(json, "t_us", census->t_us);
    json_string(json, "kind", census->kind);
    json_number(json, "skew_bytes", census->skew_bytes);
    json_number(json, "in_swap", census->in_swap_bytes);
    json_number(json, "swap_bytes", census->swap_bytes);
    json_number(json, "torn", census->torn);
    json_number(json, "python_large_error", census->python_large_error);
    put_cgroup(json, &census->cgroup);
    put_heaps(json, query, census->id);
    put_modules(json, query, census->id);
    put_never_returned(json, query, census->id);
    put_arenas(json, census);
    put_classes(json, query, census->id);
    put_types(json, query, census, most_types);
    json_close(json, '}');
}

void
page_tables_put_gc(struct json *json, struct query *query, int64_t process)
{
    size_t n;
    struct query_gc *gc = query_gc(query, process, &n);
    json_open(json, "gc", '{');
    page_column_put(json, "generation", PAGE_COLUMN(gc, n, generation));
    page_column_put(json, "collections", PAGE_COLUMN(gc, n, collections));
    page_column_put(json, "collected", PAGE_COLUMN(gc, n, collected));
    page_column_put(json, "uncollectable", PAGE_COLUMN(gc, n, uncollectable));
    page_column_put(json, "pause_us_total", PAGE_COLUMN(gc, n, pause_us_total));
    page_column_put(json, "pause_us_max", PAGE_COLUMN(gc, n, pause_us_max));
    page_column_put(json, "pauses_since_us",
                    PAGE_COLUMN(gc, n, pauses_since_us));
    json_close(json, '}');
    free(gc);
}
