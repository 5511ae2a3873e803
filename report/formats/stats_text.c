#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "include/attrs.h"
#include "include/xalloc.h"
#include "report/formats/stats_format.h"
#include "report/units.h"

enum {
    MOST_TYPES = 15,
    MOST_ROWS = 12, /* of classes, and of small processes */
};

static const char *
base_name(const char *path)
{
    const char *slash = path == NULL ? NULL : strrchr(path, '/');
    return path == NULL ? "?" : slash == NULL ? path : slash + 1;
}

/* A status as a shell counts; beyond 128 it is a signal's number. */
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
    text_addf(text, "\n%s · pid %lld", base_name(process->exe),
              (long long)process->pid);
    if (process->python != NULL)
        text_addf(text, " · CPython %s", process->python);
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
                  "  this census was taken %s before the process ended: what "
                  "came after it is not in it\n",
                  units_duration(age, process->end_us - census->t_us));
    }
}

static void
put_unmeasured(struct text *text, const struct query_census *census)
{
    const char *separator = "\n  not measured by this version, and so part of "
                            "the unexplained:\n    ";
    for (unsigned i = 0; i < N_CAUSES; i++) {
        if (census->ledger[i] != QUERY_UNKNOWN)
            continue;
        text_addf(text, "%s%s", separator, stats_cause_word(i));
        separator = ", ";
    }
    text_add(text, "\n");
}

static void
put_ledger(struct text *text, const struct query_census *census)
{
    text_add(text, "\n  ledger\n");
    for (unsigned i = 0; i < N_CAUSES; i++) {
        char size[UNITS_BYTES];
        char share[UNITS_BYTES];
        if (census->ledger[i] == 0 || census->ledger[i] == QUERY_UNKNOWN)
            continue;
        text_addf(text, "  %12s %6s  %-22s %s\n",
                  units_bytes(size, census->ledger[i]),
                  units_share(share, census->ledger[i], census->rss_bytes),
                  stats_cause_word(i), stats_cause_meaning(i));
    }
    put_unmeasured(text, census);
}

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
    text_addf(text,
              "\n  arenas: %s, %s resident, %s held; %s pinned, which hold "
              "%s; %lld empty\n",
              units_count(n, census->arenas),
              units_bytes(size, census->arena_resident),
              units_bytes(held, census->arena_held),
              units_count(pinned, census->arenas_pinned),
              units_bytes(pinned_held, census->pinned_held),
              (long long)census->arenas_empty);
    if (census->torn != 0)
        text_addf(text,
                  "  %lld pools changed while they were read and are in no "
                  "figure\n",
                  (long long)census->torn);
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
                  "holds", typed.id == census->id ? "" : " (earlier census)");
    for (size_t i = 0; i < n && i < MOST_TYPES; i++) {
        char count[UNITS_BYTES];
        char size[UNITS_BYTES];
        char held[UNITS_BYTES];
        text_addf(
            text, "  %11s %11s %11s  %s\n", units_count(count, types[i].count),
            units_bytes(size, types[i].bytes),
            units_bytes(held, types[i].held_exclusive + types[i].held_split),
            types[i].name);
    }
    if (n > MOST_TYPES)
        text_addf(text, "  and %zu types more: see --json\n", n - MOST_TYPES);
    query_free_types(types, n);
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
    free(generations);
}

static void
put_malloc(struct text *text, const struct query_process *process)
{
    char births[UNITS_BYTES];
    char deaths[UNITS_BYTES];
    char blocks[UNITS_BYTES];
    char size[UNITS_BYTES];
    text_addf(text, "\n  malloc: %s births, %s deaths, %s blocks live (%s)\n",
              units_count(births, process->births),
              units_count(deaths, process->deaths),
              units_count(blocks, process->live_blocks),
              units_bytes(size, process->live_bytes));
    if (process->lost_events != 0)
        text_addf(text,
                  "  %lld events were lost: figures of large blocks and "
                  "mappings are less than whole\n",
                  (long long)process->lost_events);
}

static void
put_process(struct text *text, struct query *query,
            const struct query_process *process,
            const struct query_census *census)
{
    put_heading(text, process, census, strcmp(query_moment(query), "end") == 0);
    if (census->id != 0) {
        put_ledger(text, census);
        put_arenas(text, census);
        put_classes(text, query, census);
        put_types(text, query, census);
    }
    if (strcmp(query_moment(query), "end") == 0)
        put_gc(text, query, process->id);
    put_malloc(text, process);
}

static void
put_row(struct text *text, const struct query_process *process,
        const struct query_census *census)
{
    char rss[UNITS_BYTES];
    char status[UNITS_BYTES];
    text_addf(text, "  %8lld %12s %8s  %s\n", (long long)process->pid,
              census->id == 0 ? "-" : units_bytes(rss, census->rss_bytes),
              units_count(status, process->exit_status),
              base_name(process->exe));
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
    text_addf(text, "%s\n", verdict->headline);
    if (!query_is_sealed(query))
        text_add(text, "(the recording is live, or its collector was killed: "
                       "this is what was committed)\n");
    for (size_t i = 0; i < n; i++) {
        if (is_large(censuses, n, i))
            put_process(text, query, &processes[i], &censuses[i]);
    }
    put_small(text, processes, censuses, n);
    free(censuses);
    query_free_processes(processes, n);
}
