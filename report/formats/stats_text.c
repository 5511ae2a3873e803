#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "include/attrs.h"
#include "include/xalloc.h"
#include "report/formats/stats_format.h"
#include "report/units.h"
#include "report/words.h"

enum {
    MOST_TYPES = 15,
    MOST_ROWS = 12, /* of classes, and of small processes */
};

/* A status as a shell counts; beyond 128 it is a signal's number. */
static const char *
program_of(const struct query_process *process)
{
    const char *name = words_base_name(process->exe);
    return name == NULL ? "?" : name;
}

static void
put_exit(struct text *text, int64_t status)
{
    text_addf(text, " · exit %lld", (long long)status);
    if (status > 128 && status < 128 + NSIG)
        text_addf(text, " (%s)", strsignal((int)status - 128));
}

static void
put_heading(struct text *text, const struct query_process *process,
            const struct query_census *census, bool is_at_end)
{
    char at[UNITS_BYTES];
    char rss[UNITS_BYTES];
    char peak[UNITS_BYTES];
    text_addf(text, "\n%s · pid %lld", program_of(process),
              (long long)process->pid);
    if (process->python != NULL)
        text_addf(text, " · CPython %s", process->python);
    if (process->level != NULL && strcmp(process->level, "watch") != 0)
        text_addf(text, " · level %s", process->level);
    if (process->exit_status != QUERY_UNKNOWN)
        put_exit(text, process->exit_status);
    text_add(text, "\n");
    if (process->note != NULL)
        text_addf(text, "  note: %s\n", process->note);
    if (census->id == 0) {
        text_add(text, "  no census at this moment\n");
        return;
    }
    text_addf(text, "  RSS %s at %s (%s census), peak %s\n",
              units_bytes(rss, census->rss_bytes),
              units_clock(at, census->t_us), census->kind,
              units_bytes(peak, census->rss_bytes > process->vm_hwm_bytes
                                    ? census->rss_bytes
                                    : process->vm_hwm_bytes));
    if (is_at_end && process->end_us != QUERY_UNKNOWN &&
        strcmp(census->kind, "end") != 0) {
        char age[UNITS_BYTES];
        text_addf(text,
                  "  (taken %s before the process ended: what came after is "
                  "not in it)\n",
                  units_duration(age, process->end_us - census->t_us));
    }
}

/* What a program without Python lacks is no gap. */
static void
put_unknown(struct text *text, const struct query_process *process,
            const struct query_census *census)
{
    const bool is_native = process->python == NULL ||
                           census->ledger[CAUSE_python_live] == QUERY_UNKNOWN;
    if (is_native && process->python != NULL) {
        text_add(text, "\n  ");
        stats_put_wrapped(text, 2,
                          "What is Python's is not known here. It is part of "
                          "native_live, native_free and mapped_anon.");
    }
    for (unsigned i = 0; i < N_CAUSES; i++) {
        if (census->ledger[i] != QUERY_UNKNOWN ||
            (is_native && strncmp(stats_cause_word(i), "python_", 7) == 0))
            continue;
        char *words = xasprintf(
            "%s is not known here%s.", stats_cause_word(i),
            i == CAUSE_python_never_returned
                ? ": the free lists changed while they were read, or are not "
                  "those of a release. What they keep counts as python_live"
                : ", and is part of the unexplained");
        text_add(text, "\n  ");
        stats_put_wrapped(text, 2, words);
        free(words);
    }
}

/* Blocks that may be the interpreter's or native code's. */
static void
put_doubt(struct text *text, const struct query_census *census)
{
    char size[UNITS_BYTES];
    if (query_known(census->python_large_error) == 0)
        return;
    char *words = xasprintf(
        "± %s: blocks of malloc's whose content was not read at this census. "
        "They count as native_live, and may be python_large.",
        units_bytes(size, census->python_large_error));
    text_add(text, "\n  ");
    stats_put_wrapped(text, 2, words);
    free(words);
}

static void
put_cause(struct text *text, const struct query_census *census, unsigned cause)
{
    const bool is_rough =
        (cause == CAUSE_python_large || cause == CAUSE_native_live) &&
        query_known(census->python_large_error) != 0;
    const int64_t n_bytes = census->ledger[cause];
    char size[UNITS_BYTES];
    char share[UNITS_BYTES];
    char error[UNITS_BYTES];
    if (n_bytes == QUERY_UNKNOWN || (n_bytes == 0 && !is_rough))
        return;
    text_addf(text, "  %12s %6s  %-22s %s", units_bytes(size, n_bytes),
              units_share(share, n_bytes, census->rss_bytes),
              stats_cause_word(cause), stats_cause_meaning(cause));
    if (is_rough)
        text_addf(text, ", ± %s",
                  units_bytes(error, census->python_large_error));
    text_add(text, "\n");
}

static void
put_ledger(struct text *text, const struct query_process *process,
           const struct query_census *census)
{
    text_add(text, "\n  ledger\n");
    for (unsigned i = 0; i < N_CAUSES; i++)
        put_cause(text, census, i);
    put_doubt(text, census);
    put_unknown(text, process, census);
}

/* ---- malloc's heaps ---------------------------------------------------- */

static void
put_heap(struct text *text, const struct query_heap *heap)
{
    char figures[7][UNITS_BYTES];
    text_addf(text, "  %-8s %9s %9s %9s %9s %9s %9s %9s\n", heap->kind,
              units_count(figures[0], heap->chunks),
              units_bytes(figures[1], heap->live_bytes),
              units_bytes(figures[2], heap->cached_bytes),
              units_bytes(figures[3], heap->resident_bytes),
              units_bytes(figures[4], heap->trimmable_bytes),
              units_bytes(figures[5], heap->page_pinned_bytes),
              units_bytes(figures[6], heap->trim_gain_bytes));
    if (heap->is_torn == 1)
        text_add(text, "           changed while it was read: the rest of it "
                       "is unexplained\n");
}

static int
compare_resident(const void *left, const void *right)
{
    const struct query_heap *a = left;
    const struct query_heap *b = right;
    return (a->resident_bytes < b->resident_bytes) -
           (a->resident_bytes > b->resident_bytes);
}

static struct query_heap
sum_of(const struct query_heap *heaps, size_t n)
{
    struct query_heap sum = {.kind = "all"};
    for (size_t i = 0; i < n; i++) {
        sum.chunks += query_known(heaps[i].chunks);
        sum.live_bytes += query_known(heaps[i].live_bytes);
        sum.cached_bytes += query_known(heaps[i].cached_bytes);
        sum.resident_bytes += query_known(heaps[i].resident_bytes);
        sum.trimmable_bytes += query_known(heaps[i].trimmable_bytes);
        sum.page_pinned_bytes += query_known(heaps[i].page_pinned_bytes);
        sum.trim_gain_bytes += query_known(heaps[i].trim_gain_bytes);
    }
    return sum;
}

static void
put_heaps(struct text *text, struct query *query,
          const struct query_census *census)
{
    size_t n;
    struct query_heap *heaps = query_heaps(query, census->id, &n);
    if (n != 0) {
        text_addf(text, "\n  %-8s %9s %39s %9s %9s\n", "malloc's", "blocks",
                  "free", "free", "malloc_");
        text_addf(text, "  %-8s %9s %9s %9s %9s %9s %9s %9s\n", "heaps",
                  "in use", "bytes", "cached", "resident", "pages", "beside",
                  "trim(0)");
    }
    if (n > 1)
        qsort(heaps, n, sizeof(heaps[0]), compare_resident);
    for (size_t i = 0; i < n && i < MOST_ROWS; i++)
        put_heap(text, &heaps[i]);
    if (n > MOST_ROWS)
        text_addf(text, "  and %zu heaps more: see --json\n", n - MOST_ROWS);
    const struct query_heap sum = sum_of(heaps, n);
    if (n > 1)
        put_heap(text, &sum);
    free(heaps);
}

/* Under figures that it weakens, and how. */
static void
put_loss(struct text *text, const struct query_process *process,
         const char *how)
{
    struct loss loss = {0};
    loss_add(&loss, process);
    if (!loss_is_any(&loss))
        return;
    text_add(text, "  ");
    loss_put(text, &loss);
    text_addf(text, ": %s\n", how);
}

static void
put_modules(struct text *text, struct query *query,
            const struct query_process *process,
            const struct query_census *census)
{
    size_t n;
    struct query_module *modules = query_modules(query, census->id, &n);
    if (n != 0)
        text_add(text, "\n  mappings      bytes   resident  made by\n");
    for (size_t i = 0; i < n && i < MOST_ROWS; i++) {
        char count[UNITS_BYTES];
        char size[UNITS_BYTES];
        char resident[UNITS_BYTES];
        text_addf(
            text, "  %8s %10s %10s  %s\n", units_count(count, modules[i].count),
            units_bytes(size, modules[i].bytes),
            units_bytes(resident, modules[i].resident_bytes), modules[i].name);
    }
    if (n > MOST_ROWS)
        text_addf(text, "  and %zu modules more: see --json\n", n - MOST_ROWS);
    if (n != 0)
        put_loss(text, process, "mappings may be among them");
    query_free_modules(modules, n);
}

/* ---- Python ------------------------------------------------------------ */

static void
put_arenas(struct text *text, const struct query_census *census)
{
    char n[UNITS_BYTES];
    char size[UNITS_BYTES];
    char held[UNITS_BYTES];
    char pinned[UNITS_BYTES];
    char pinned_held[UNITS_BYTES];
    if (census->arenas == 0)
        return;
    char *words = xasprintf(
        "arenas: %s, %s resident, %s held; %s pinned, which hold %s; %lld "
        "empty",
        units_count(n, census->arenas),
        units_bytes(size, census->arena_resident),
        units_bytes(held, census->arena_held),
        units_count(pinned, census->arenas_pinned),
        units_bytes(pinned_held, census->pinned_held),
        (long long)census->arenas_empty);
    text_add(text, "\n  ");
    stats_put_wrapped(text, 2, words);
    free(words);
    if (census->torn != 0)
        text_addf(
            text,
            "  %lld pools or heaps changed while they were read: their rest "
            "is in no figure\n",
            (long long)census->torn);
}

static void
put_collector(struct text *text, const struct query_process *process,
              const struct query_census *census)
{
    char rss[UNITS_BYTES];
    if (census->collector_rss_bytes == QUERY_UNKNOWN)
        return;
    text_addf(text, "  collector: RSS %s%s\n",
              units_bytes(rss, census->collector_rss_bytes),
              process->shares_cgroup == 1   ? ", in the same cgroup"
              : process->shares_cgroup == 0 ? ", in another cgroup"
                                            : "");
}

/* Why a limit may be reached though RSS is below it. */
static void
put_cgroup(struct text *text, const struct query_process *process,
           const struct query_census *census, bool is_at_end)
{
    const struct query_cgroup *cgroup = &census->cgroup;
    const int64_t kills = is_at_end ? process->oom_kills : cgroup->oom_kills;
    char sizes[7][UNITS_BYTES];
    if (cgroup->current == QUERY_UNKNOWN)
        return;
    text_addf(text, "\n  cgroup: %s used%s%s\n",
              units_bytes(sizes[0], cgroup->current),
              cgroup->max == QUERY_UNKNOWN ? "" : " of ",
              cgroup->max == QUERY_UNKNOWN
                  ? ", no limit is visible"
                  : units_bytes(sizes[1], cgroup->max));
    char *words = xasprintf(
        "programs' own memory %s (other processes %s), page cache %s, shared "
        "memory %s, the kernel %s; OOM kills %s",
        units_bytes(sizes[2], cgroup->anon),
        units_bytes(sizes[3], cgroup->others),
        units_bytes(sizes[4], cgroup->file),
        units_bytes(sizes[5], cgroup->shmem),
        units_bytes(sizes[6], cgroup->kernel), units_count(sizes[0], kills));
    text_add(text, "    ");
    stats_put_wrapped(text, 4, words);
    free(words);
}

static int64_t
free_bytes_of(const struct query_class *class)
{
    return class->free * class->size;
}

/* Those with most free room first. */
static int
compare_free(const void *left, const void *right)
{
    const int64_t a = free_bytes_of(left);
    const int64_t b = free_bytes_of(right);
    return (a < b) - (a > b);
}

static void
put_classes(struct text *text, struct query *query,
            const struct query_census *census)
{
    size_t n;
    struct query_class *classes = query_classes(query, census->id, &n);
    if (n == 0)
        return;
    text_add(text, "\n  class      pools        used        free  free "
                   "bytes\n");
    qsort(classes, n, sizeof(classes[0]), compare_free);
    for (size_t i = 0; i < n && i < MOST_ROWS; i++) {
        char pools[UNITS_BYTES];
        char used[UNITS_BYTES];
        char free_blocks[UNITS_BYTES];
        char size[UNITS_BYTES];
        text_addf(text, "  %5lld %10s %11s %11s %11s\n",
                  (long long)classes[i].size,
                  units_count(pools, classes[i].pools),
                  units_count(used, classes[i].used),
                  units_count(free_blocks, classes[i].free),
                  units_bytes(size, free_bytes_of(&classes[i])));
    }
    if (n > MOST_ROWS)
        text_addf(text, "  and %zu classes more: see --json\n", n - MOST_ROWS);
    free(classes);
}

/* Unknown where types were sampled. */
static int64_t
held_by(const struct query_type *type)
{
    if (type->held_exclusive == QUERY_UNKNOWN)
        return QUERY_UNKNOWN;
    return query_known(type->held_exclusive) + query_known(type->held_split);
}

static void
put_types(struct text *text, struct query *query,
          const struct query_census *census)
{
    const struct query_census typed = query_census_with_types(query, census);
    if (typed.id == 0)
        return;
    size_t n;
    struct query_type *types = query_types(query, typed.id, &n);
    if (n != 0)
        text_addf(text, "\n  %11s %11s %11s  type%s\n", "objects", "bytes",
                  "holds",
                  typed.id != census->id  ? " (earlier census)"
                  : typed.has_sample == 1 ? " (of a sample: estimates)"
                                          : "");
    for (size_t i = 0; i < n && i < MOST_TYPES; i++) {
        char count[UNITS_BYTES];
        char size[UNITS_BYTES];
        char held[UNITS_BYTES];
        text_addf(text, "  %11s %11s %11s  %s\n",
                  units_count(count, types[i].count),
                  units_bytes(size, types[i].bytes),
                  units_bytes(held, held_by(&types[i])), types[i].name);
    }
    if (n > MOST_TYPES)
        text_addf(text, "  and %zu types more: see --json\n", n - MOST_TYPES);
    query_free_types(types, n);
}

/* What the last full one met and left. */
static void
put_last_collection(struct text *text, struct query *query, int64_t process,
                    int64_t generation)
{
    struct query_collection last;
    struct text words = {0};
    char pause[UNITS_BYTES];
    char counts[3][UNITS_BYTES];
    char sizes[2][UNITS_BYTES];
    if (!query_last_collection(query, process, generation, &last))
        return;
    text_addf(&words, "%s collected in %s",
              units_count(counts[0], last.collected),
              units_duration(pause, last.pause_us));
    if (last.arenas_before != QUERY_UNKNOWN &&
        last.arenas_after != QUERY_UNKNOWN)
        text_addf(&words, "; arenas %s to %s",
                  units_count(counts[1], last.arenas_before),
                  units_count(counts[2], last.arenas_after));
    if (last.rss_before != QUERY_UNKNOWN && last.rss_after != QUERY_UNKNOWN)
        text_addf(&words, "; RSS %s to %s",
                  units_bytes(sizes[0], last.rss_before),
                  units_bytes(sizes[1], last.rss_after));
    text_addf(text, "  the last of %lld: ", (long long)generation);
    stats_put_wrapped(text, 17, text_of(&words));
    text_finish(&words);
}

static void
put_gc(struct text *text, struct query *query, int64_t process)
{
    size_t n;
    struct query_gc *generations = query_gc(query, process, &n);
    if (n != 0)
        text_add(text, "\n  generation  collections   collected  uncollectable"
                       "  paused in all     at most\n");
    for (size_t i = 0; i < n; i++) {
        char counts[3][UNITS_BYTES];
        char total[UNITS_BYTES];
        char most[UNITS_BYTES];
        text_addf(text, "  %10lld %12s %11s %14s %14s %11s\n",
                  (long long)generations[i].generation,
                  units_count(counts[0], generations[i].collections),
                  units_count(counts[1], generations[i].collected),
                  units_count(counts[2], generations[i].uncollectable),
                  units_duration(total, generations[i].pause_us_total),
                  units_duration(most, generations[i].pause_us_max));
    }
    if (n != 0)
        put_last_collection(text, query, process,
                            generations[n - 1].generation);
    free(generations);
}

/* As gc.get_threshold() and gc.get_count() would have said. */
static void
put_generations(struct text *text, struct query *query, int64_t census)
{
    size_t n;
    struct query_generation *generations = query_generations(query, census, &n);
    struct text words = {0};
    char counts[2][UNITS_BYTES];
    for (size_t i = 0; i < n; i++)
        text_addf(&words, "%s%lld of %lld", i == 0 ? "" : ", ",
                  (long long)generations[i].count,
                  (long long)generations[i].threshold);
    if (n != 0 && generations[n - 1].survivors != QUERY_UNKNOWN &&
        generations[n - 1].promoted != QUERY_UNKNOWN)
        text_addf(&words,
                  "; objects that the last full one left: %s, promoted since: "
                  "%s",
                  units_count(counts[0], generations[n - 1].survivors),
                  units_count(counts[1], generations[n - 1].promoted));
    if (n != 0) {
        text_add(text, "\n  count of threshold: ");
        stats_put_wrapped(text, 22, text_of(&words));
    }
    text_finish(&words);
    free(generations);
}

static bool
is_exact(const struct query_process *process)
{
    return process->level != NULL && strcmp(process->level, "exact") == 0;
}

static void
put_objects(struct text *text, struct query *query, int64_t census)
{
    const struct query_objects objects = query_objects(query, census);
    char births[UNITS_BYTES];
    char deaths[UNITS_BYTES];
    char blocks[UNITS_BYTES];
    char size[UNITS_BYTES];
    if (objects.births == QUERY_UNKNOWN)
        return;
    text_addf(text,
              "\n  Python objects: %s births, %s deaths, %s blocks live (%s)\n",
              units_count(births, objects.births),
              units_count(deaths, objects.deaths),
              units_count(blocks, objects.live_blocks),
              units_bytes(size, objects.live_bytes));
    if (objects.only_told + objects.only_found > 0)
        text_addf(text,
                  "  of them %s are not in the heap, and %s that are were not "
                  "told\n",
                  units_count(births, objects.only_told),
                  units_count(deaths, objects.only_found));
}

static void
put_malloc(struct text *text, const struct query_process *process)
{
    char births[UNITS_BYTES];
    char deaths[UNITS_BYTES];
    char blocks[UNITS_BYTES];
    char size[UNITS_BYTES];
    if (process->births == QUERY_UNKNOWN) {
        text_add(text, "\n  malloc: not counted, for nothing was preloaded\n");
        return;
    }
    text_addf(text, "\n  malloc: %s births, %s deaths, %s blocks live (%s)\n",
              units_count(births, process->births),
              units_count(deaths, process->deaths),
              units_count(blocks, process->live_blocks),
              units_bytes(size, process->live_bytes));
    put_loss(text, process,
             is_exact(process)
                 ? "births and deaths lack them, live blocks are "
                   "uncertain by as many"
                 : "figures of large blocks and sites are not whole");
}

static void
put_process(struct text *text, struct query *query,
            const struct query_process *process,
            const struct query_census *census)
{
    put_heading(text, process, census, strcmp(query_moment(query), "end") == 0);
    if (census->id != 0) {
        put_ledger(text, process, census);
        put_heaps(text, query, census);
        put_modules(text, query, process, census);
        put_cgroup(text, process, census,
                   strcmp(query_moment(query), "end") == 0);
        put_collector(text, process, census);
        put_arenas(text, census);
        put_classes(text, query, census);
        put_types(text, query, census);
        stats_kept_text(text, query, process, census);
        put_generations(text, query, census->id);
    }
    if (strcmp(query_moment(query), "end") == 0) {
        put_gc(text, query, process->id);
        stats_garbage_text(text, query, process);
    }
    put_malloc(text, process);
    put_objects(text, query, census->id);
    stats_sites_text(text, query, process->id, census);
}

static void
put_row(struct text *text, const struct query_process *process,
        const struct query_census *census)
{
    char rss[UNITS_BYTES];
    char status[UNITS_BYTES];
    text_addf(text, "  %8lld %12s %8s  %s\n", (long long)process->pid,
              census->id == 0 ? "-" : units_bytes(rss, census->rss_bytes),
              units_count(status, process->exit_status), program_of(process));
}

/* Whether a process is worth more than a row beside the others. */
static bool
is_large(const struct query_census *censuses, size_t n, size_t i)
{
    int64_t largest = 0;
    for (size_t j = 0; j < n; j++) {
        if (censuses[j].id != 0 && censuses[j].rss_bytes > largest)
            largest = censuses[j].rss_bytes;
    }
    return i == 0 ||
           (censuses[i].id != 0 && censuses[i].rss_bytes >= largest / 10);
}

static void
put_small(struct text *text, const struct query_process *processes,
          const struct query_census *censuses, size_t n)
{
    size_t n_small = 0;
    for (size_t i = 0; i < n; i++) {
        if (is_large(censuses, n, i))
            continue;
        if (n_small == 0)
            text_add(text, "\nprocesses under a tenth of the largest\n"
                           "       pid          RSS     exit  program\n");
        if (n_small++ < MOST_ROWS)
            put_row(text, &processes[i], &censuses[i]);
    }
    if (n_small > MOST_ROWS)
        text_addf(text, "  and %zu more: see --json\n", n_small - MOST_ROWS);
}

void
stats_unsealed_text(struct text *text, struct query *query)
{
    if (!query_is_sealed(query))
        text_add(text, "(the recording is live, or its collector could not "
                       "finish it: this is what was committed)\n");
    else if (query_meta_number(query, "ended_us") == QUERY_UNKNOWN)
        text_add(text, "(its collector ended early: this is what was "
                       "committed)\n");
}

void
stats_text(struct text *text, struct query *query,
           const struct verdict *verdict)
{
    size_t n;
    struct query_process *processes = query_processes(query, &n);
    struct query_census *censuses = xcalloc(n, sizeof(*censuses));
    for (size_t i = 0; i < n; i++) {
        censuses[i] =
            query_census_at(query, processes[i].id, query_moment(query));
        query_count_at(query, &processes[i], &censuses[i]);
    }
    stats_put_wrapped(text, 0, verdict->headline);
    stats_unsealed_text(text, query);
    for (size_t i = 0; i < n; i++) {
        if (is_large(censuses, n, i))
            put_process(text, query, &processes[i], &censuses[i]);
    }
    put_small(text, processes, censuses, n);
    free(censuses);
    query_free_processes(processes, n);
}
