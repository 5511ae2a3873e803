#include <stdlib.h>
#include <string.h>

#include "include/attrs.h"
#include "report/formats/stats_format.h"

static const char *const cause_words[] = {
#define X(name) [CAUSE_##name] = #name,
    RECORDING_CAUSES(X)
#undef X
};

static const char *const cause_meanings[] = {
    [CAUSE_profiler] = "residue's own pages",
    [CAUSE_stacks] = "stacks of threads",
    [CAUSE_image_private] = "programs' and libraries' own data",
    [CAUSE_file] = "code and data of mapped files",
    [CAUSE_shmem] = "shared memory",
    [CAUSE_python_never_returned] = "kept by the interpreter for reuse",
    [CAUSE_python_live] = "live small Python objects",
    [CAUSE_python_holes] = "free blocks between live ones",
    [CAUSE_python_free_pools] = "free pools of held arenas",
    [CAUSE_python_overhead] = "pool headers, tails, data stacks",
    [CAUSE_python_large] = "large Python objects",
    [CAUSE_native_live] = "malloc: in use",
    [CAUSE_native_overhead] = "malloc: chunk headers",
    [CAUSE_native_free] = "malloc: free, not returned",
    [CAUSE_mapped_anon] = "mappings that were seen made",
    [CAUSE_unexplained] = "what has no proof",
};
static_assert(countof(cause_meanings) == N_CAUSES, "a meaning for each cause");

const char *
stats_cause_word(enum recording_cause cause)
{
    return cause_words[cause];
}

const char *
stats_cause_meaning(enum recording_cause cause)
{
    return cause_meanings[cause];
}

/* ---- parts of a process ------------------------------------------------ */

/* How old a census is: what its process lived on after it. */
static int64_t
age_of(const struct query_process *process, const struct query_census *census)
{
    if (process->end_us == QUERY_UNKNOWN)
        return QUERY_UNKNOWN;
    return process->end_us > census->t_us ? process->end_us - census->t_us : 0;
}

static void
put_census(struct json *json, const struct query_process *process,
           const struct query_census *census)
{
    if (census->id == 0) {
        json_null(json, "census");
        return;
    }
    json_open(json, "census", '{');
    json_number(json, "t_us", census->t_us);
    json_number(json, "age_us", age_of(process, census));
    json_string(json, "kind", census->kind);
    json_number(json, "skew_bytes", census->skew_bytes);
    json_number(json, "in_swap", census->in_swap_bytes);
    json_number(json, "torn", census->torn);
    json_close(json, '}');
}

static void
put_ledger(struct json *json, const struct query_census *census)
{
    if (census->id == 0) {
        json_null(json, "ledger");
        return;
    }
    json_open(json, "ledger", '{');
    for (unsigned i = 0; i < N_CAUSES; i++)
        json_number(json, cause_words[i], census->ledger[i]);
    json_close(json, '}');
    json_open(json, "ledger_error", '{');
    if (query_known(census->python_large_error) != 0) {
        json_number(json, "python_large", census->python_large_error);
        json_number(json, "native_live", census->python_large_error);
    }
    json_close(json, '}');
}

static void
put_heaps(struct json *json, struct query *query,
          const struct query_census *census)
{
    size_t n;
    struct query_heap *heaps = query_heaps(query, census->id, &n);
    json_open(json, "heaps", '[');
    for (size_t i = 0; i < n; i++) {
        const struct query_heap *heap = &heaps[i];
        json_open(json, NULL, '{');
        json_number(json, "address", heap->address);
        json_string(json, "kind", heap->kind);
        json_number(json, "bytes", heap->bytes);
        json_number(json, "resident_bytes", heap->resident_bytes);
        json_number(json, "chunks", heap->chunks);
        json_number(json, "live_bytes", heap->live_bytes);
        json_number(json, "free_chunks", heap->free_chunks);
        json_number(json, "free_bytes", heap->free_bytes);
        json_number(json, "cached_chunks", heap->cached_chunks);
        json_number(json, "cached_bytes", heap->cached_bytes);
        json_number(json, "trimmable_bytes", heap->trimmable_bytes);
        json_number(json, "page_pinned_bytes", heap->page_pinned_bytes);
        json_number(json, "trim_gain_bytes", heap->trim_gain_bytes);
        json_number(json, "torn", heap->torn);
        json_bool(json, "is_torn", heap->is_torn == 1);
        json_close(json, '}');
    }
    json_close(json, ']');
    free(heaps);
}

static void
put_modules(struct json *json, struct query *query,
            const struct query_census *census)
{
    size_t n;
    struct query_module *modules = query_modules(query, census->id, &n);
    json_open(json, "mappings", '[');
    for (size_t i = 0; i < n; i++) {
        json_open(json, NULL, '{');
        json_string(json, "module", modules[i].name);
        json_number(json, "count", modules[i].count);
        json_number(json, "bytes", modules[i].bytes);
        json_number(json, "resident_bytes", modules[i].resident_bytes);
        json_close(json, '}');
    }
    json_close(json, ']');
    query_free_modules(modules, n);
}

static void
put_arenas(struct json *json, const struct query_census *census)
{
    if (census->id == 0) {
        json_null(json, "arenas");
        return;
    }
    json_open(json, "arenas", '{');
    json_number(json, "count", census->arenas);
    json_number(json, "bytes", census->arena_bytes);
    json_number(json, "resident_bytes", census->arena_resident);
    json_number(json, "live_bytes", census->arena_live);
    json_number(json, "held_bytes", census->arena_held);
    json_number(json, "pinned", census->arenas_pinned);
    json_number(json, "pinned_held_bytes", census->pinned_held);
    json_number(json, "empty", census->arenas_empty);
    json_close(json, '}');
}

static void
put_classes(struct json *json, struct query *query,
            const struct query_census *census)
{
    size_t n;
    struct query_class *classes = query_classes(query, census->id, &n);
    json_open(json, "classes", '[');
    for (size_t i = 0; i < n; i++) {
        json_open(json, NULL, '{');
        json_number(json, "size", classes[i].size);
        json_number(json, "pools", classes[i].pools);
        json_number(json, "used", classes[i].used);
        json_number(json, "free", classes[i].free);
        json_close(json, '}');
    }
    json_close(json, ']');
    free(classes);
}

/* held over live, in the arenas that the type holds alone. */
static void
put_leverage(struct json *json, const struct query_type *type)
{
    if (type->exclusive_bytes <= 0)
        json_null(json, "leverage");
    else
        json_real(json, "leverage",
                  (double)type->held_exclusive / (double)type->exclusive_bytes);
}

static void
put_types(struct json *json, struct query *query,
          const struct query_census *census)
{
    const struct query_census typed =
        census->id == 0 ? *census : query_census_with_types(query, census);
    if (typed.id == 0 || (typed.has_types != 1 && typed.has_sample != 1)) {
        json_null(json, "types");
        return;
    }
    size_t n;
    struct query_type *types = query_types(query, typed.id, &n);
    json_number(json, "types_t_us", typed.t_us);
    json_open(json, "types", '[');
    for (size_t i = 0; i < n; i++) {
        json_open(json, NULL, '{');
        json_string(json, "name", types[i].name);
        json_number(json, "count", types[i].count);
        json_number(json, "bytes", types[i].bytes);
        if (typed.has_sample == 1) {
            json_number(json, "count_error", types[i].count_error);
            json_number(json, "bytes_error", types[i].bytes_error);
        }
        json_number(json, "held_exclusive_bytes", types[i].held_exclusive);
        json_number(json, "held_split_bytes", types[i].held_split);
        put_leverage(json, &types[i]);
        json_close(json, '}');
    }
    json_close(json, ']');
    query_free_types(types, n);
}

static void
put_generations(struct json *json, struct query *query, int64_t census)
{
    size_t n;
    struct query_generation *generations = query_generations(query, census, &n);
    if (n == 0)
        json_null(json, "generations");
    else
        json_open(json, "generations", '[');
    for (size_t i = 0; i < n; i++) {
        json_open(json, NULL, '{');
        json_number(json, "generation", (int64_t)i);
        json_number(json, "threshold", generations[i].threshold);
        json_number(json, "count", generations[i].count);
        json_number(json, "survivors", generations[i].survivors);
        json_number(json, "promoted", generations[i].promoted);
        json_close(json, '}');
    }
    if (n != 0)
        json_close(json, ']');
    free(generations);
}

/* What the last collection of a generation met and left. */
static void
put_last_collection(struct json *json, struct query *query, int64_t process,
                    int64_t generation)
{
    struct query_collection last;
    if (!query_last_collection(query, process, generation, &last)) {
        json_null(json, "last");
        return;
    }
    json_open(json, "last", '{');
    json_number(json, "t_us", last.t_us);
    json_number(json, "pause_us", last.pause_us);
    json_number(json, "collected", last.collected);
    json_number(json, "uncollectable", last.uncollectable);
    json_number(json, "arenas_before", last.arenas_before);
    json_number(json, "arenas_after", last.arenas_after);
    json_number(json, "rss_before", last.rss_before);
    json_number(json, "rss_after", last.rss_after);
    json_close(json, '}');
}

static void
put_gc(struct json *json, struct query *query, int64_t process)
{
    size_t n;
    struct query_gc *generations = query_gc(query, process, &n);
    if (n == 0) {
        json_null(json, "gc");
        free(generations);
        return;
    }
    json_open(json, "gc", '[');
    for (size_t i = 0; i < n; i++) {
        json_open(json, NULL, '{');
        json_number(json, "generation", generations[i].generation);
        json_number(json, "collections", generations[i].collections);
        json_number(json, "collected", generations[i].collected);
        json_number(json, "uncollectable", generations[i].uncollectable);
        json_number(json, "pause_us_total", generations[i].pause_us_total);
        json_number(json, "pause_us_max", generations[i].pause_us_max);
        json_number(json, "pauses_since_us", generations[i].pauses_since_us);
        put_last_collection(json, query, process, generations[i].generation);
        json_close(json, '}');
    }
    json_close(json, ']');
    free(generations);
}

/* A group that is not visible has no figures. */
static void
put_cgroup(struct json *json, const struct query_process *process,
           const struct query_census *census, bool is_at_end)
{
    const struct query_cgroup *cgroup = &census->cgroup;
    /* Who was killed was so after its last census. */
    const int64_t oom_kills = is_at_end         ? process->oom_kills
                              : census->id == 0 ? QUERY_UNKNOWN
                                                : cgroup->oom_kills;
    if (census->id == 0 ||
        (cgroup->current == QUERY_UNKNOWN && oom_kills == QUERY_UNKNOWN)) {
        json_null(json, "cgroup");
        return;
    }
    json_open(json, "cgroup", '{');
    json_number(json, "current", cgroup->current);
    json_number(json, "max", cgroup->max);
    json_number(json, "oom_kills", oom_kills);
    json_number(json, "anon", cgroup->anon);
    json_number(json, "file", cgroup->file);
    json_number(json, "shmem", cgroup->shmem);
    json_number(json, "kernel", cgroup->kernel);
    json_number(json, "others", cgroup->others);
    json_close(json, '}');
}

static void
put_collector(struct json *json, const struct query_process *process,
              const struct query_census *census)
{
    json_open(json, "collector", '{');
    json_number(json, "cpu_us", process->census_cpu_us);
    json_number(json, "read_bytes", process->census_read_bytes);
    json_number(json, "rss_bytes",
                census->id == 0 ? QUERY_UNKNOWN : census->collector_rss_bytes);
    if (process->shares_cgroup == QUERY_UNKNOWN)
        json_null(json, "shares_cgroup");
    else
        json_bool(json, "shares_cgroup", process->shares_cgroup == 1);
    json_close(json, '}');
}

static void
put_objects(struct json *json, struct query *query, int64_t census)
{
    const struct query_objects objects = query_objects(query, census);
    json_open(json, "objects", '{');
    json_number(json, "allocs", objects.births);
    json_number(json, "frees", objects.deaths);
    json_number(json, "live_blocks", objects.live_blocks);
    json_number(json, "live_bytes", objects.live_bytes);
    json_number(json, "orphans", objects.orphans);
    json_number(json, "found_blocks", objects.found_blocks);
    json_number(json, "only_told", objects.only_told);
    json_number(json, "only_found", objects.only_found);
    json_close(json, '}');
}

static void
put_counters(struct json *json, const struct query_process *process)
{
    json_open(json, "malloc", '{');
    json_number(json, "allocs", process->births);
    json_number(json, "frees", process->deaths);
    json_number(json, "live_blocks", process->live_blocks);
    json_number(json, "live_bytes", process->live_bytes);
    json_close(json, '}');
    json_open(json, "loss", '{');
    json_number(json, "events", process->lost_events);
    json_number(json, "batches", process->lost_batches);
    json_close(json, '}');
}

/* ---- a process --------------------------------------------------------- */

/* Census 0 has no figures: those of the moment are null then. */
static struct query_census
census_or_null(struct query *query, int64_t process)
{
    struct query_census census =
        query_census_at(query, process, query_moment(query));
    if (census.id == 0) {
        census.rss_bytes = QUERY_UNKNOWN;
        census.swap_bytes = QUERY_UNKNOWN;
        census.anon_huge_bytes = QUERY_UNKNOWN;
        census.hugetlb_bytes = QUERY_UNKNOWN;
    }
    return census;
}

static void
put_process(struct json *json, struct query *query,
            const struct query_process *process)
{
    const struct query_census census = census_or_null(query, process->id);
    json_open(json, NULL, '{');
    json_number(json, "id", process->id);
    json_number(json, "pid", process->pid);
    json_number(json, "ppid", process->ppid);
    json_number(json, "ns_pid", process->ns_pid);
    json_string(json, "exe", process->exe);
    json_string(json, "python", process->python);
    json_string(json, "level", process->level);
    json_number(json, "start_us", process->start_us);
    json_number(json, "end_us", process->end_us);
    json_number(json, "exit", process->exit_status);
    json_string(json, "note", process->note);
    put_census(json, process, &census);
    json_number(json, "rss_bytes", census.rss_bytes);
    json_number(json, "vm_hwm_bytes", process->vm_hwm_bytes);
    json_number(json, "swap_bytes", census.swap_bytes);
    json_number(json, "anon_huge_bytes", census.anon_huge_bytes);
    json_number(json, "hugetlb_bytes", census.hugetlb_bytes);
    put_cgroup(json, process, &census, strcmp(query_moment(query), "end") == 0);
    put_ledger(json, &census);
    put_heaps(json, query, &census);
    put_modules(json, query, &census);
    put_arenas(json, &census);
    put_classes(json, query, &census);
    put_types(json, query, &census);
    stats_sites(json, query, process->id, &census);
    stats_kept(json, query, process, &census);
    if (strcmp(query_moment(query), "end") == 0)
        put_gc(json, query, process->id);
    else
        json_null(json, "gc"); /* only the counts at the end are kept */
    stats_garbage(json, query, process);
    put_generations(json, query, census.id);
    struct query_process counted = *process;
    query_count_at(query, &counted, &census);
    put_objects(json, query, census.id);
    put_counters(json, &counted);
    put_collector(json, process, &census);
    json_close(json, '}');
}

void
stats_findings(struct json *json, const char *key,
               const struct verdict *verdict)
{
    json_open(json, key, '[');
    for (size_t i = 0; i < verdict->n_findings; i++) {
        const struct finding *finding = &verdict->findings[i];
        json_open(json, NULL, '{');
        json_string(json, "id", finding->id);
        json_number(json, "process", finding->process);
        json_number(json, "bytes", finding->bytes);
        json_number(json, "returns_bytes", finding->returns_bytes);
        json_string(json, "owner", finding->owner);
        json_number(json, "score", finding->score);
        json_string(json, "confidence", finding->confidence);
        json_string(json, "sentence", finding->sentence);
        json_string(json, "evidence", finding->evidence);
        json_string(json, "action", finding->action);
        json_close(json, '}');
    }
    json_close(json, ']');
}

void
stats_json(struct json *json, struct query *query,
           const struct verdict *verdict)
{
    size_t n;
    struct query_process *processes = query_processes(query, &n);
    json_open(json, NULL, '{');
    json_string(json, "schema", "residue.stats/1");
    json_string(json, "recording", query_path(query));
    json_string(json, "moment", query_moment(query));
    json_bool(json, "sealed", query_is_sealed(query));
    json_open(json, "processes", '[');
    for (size_t i = 0; i < n; i++)
        put_process(json, query, &processes[i]);
    json_close(json, ']');
    stats_findings(json, "verdict", verdict);
    json_close(json, '}');
    query_free_processes(processes, n);
}
