#include "collector/statements.h"

#include <string.h>

#include "collector/binder.h"
#include "collector/details.h"
#include "collector/prepared.h"
#include "collector/site_rows.h"
#include "include/attrs.h"
#include "include/recording.h"
#include "include/xalloc.h"

/* X(NAME, SQL) */
#define STATEMENTS(X)                                                          \
    X(META, "INSERT OR REPLACE INTO meta VALUES (?,?)")                        \
    X(PROCESS, "INSERT OR REPLACE INTO process (id, pid, ns_pid, ppid,"        \
               " parent, exe, command, python, level, start_us, end_us,"       \
               " exit_status, note, vm_hwm_bytes, births, deaths,"             \
               " live_blocks, live_bytes, python_births, python_deaths,"       \
               " lost_events, lost_batches, census_cpu_us,"                    \
               " census_read_bytes, oom_kills, shares_cgroup) VALUES"          \
               " (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,"          \
               "?)")                                                           \
    X(TICK0, "INSERT OR REPLACE INTO tick0 VALUES"                             \
             " (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)")                             \
    X(TICK1, "INSERT OR REPLACE INTO tick1 VALUES"                             \
             " (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)")                             \
    X(TICK2, "INSERT OR REPLACE INTO tick2 VALUES"                             \
             " (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)")                             \
    X(CLEAR0, "DELETE FROM tick0 WHERE slot = ?")                              \
    X(CLEAR1, "DELETE FROM tick1 WHERE slot = ?")                              \
    X(CLEAR2, "DELETE FROM tick2 WHERE slot = ?")                              \
    X(CENSUS,                                                                  \
      "INSERT INTO census (process, t_us, image, kind, label, ordinal,"        \
      " rss_bytes,"                                                            \
      " skew_bytes, vm_hwm_bytes, swap_bytes, in_swap_bytes,"                  \
      " anon_huge_bytes, hugetlb_bytes, torn, has_types, has_low_types,"       \
      " types_part, cpu_us, took_us, "                                         \
      "read_bytes,"                                                            \
      " collector_rss_bytes, cgroup_current, cgroup_max, cgroup_oom_kills,"    \
      " cgroup_anon, cgroup_file, cgroup_shmem, cgroup_kernel,"                \
      " cgroup_others,"                                                        \
      " births, deaths, live_blocks, live_bytes, profiler, stacks,"            \
      " image_private, file, shmem, python_never_returned, python_live,"       \
      " python_holes, python_free_pools, python_overhead, python_large,"       \
      " native_live, native_overhead, native_free, mapped_anon,"               \
      " unexplained, python_large_error, heap_live, heap_trimmable,"           \
      " heap_page_pinned, trim_gain,"                                          \
      " arenas, arena_bytes, arena_resident, arena_live,"                      \
      " arena_held, arenas_pinned, arenas_empty, pinned_held,"                 \
      " pinned_resident, pinned_holes, pinned_blocks, pinned_live) VALUES"     \
      " (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?," \
      "?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)")      \
    X(GC, "INSERT OR REPLACE INTO gc VALUES (?,?,?,?,?,?,?,?)")                \
    X(COLLECTION,                                                              \
      "INSERT OR REPLACE INTO collection VALUES (?,?,?,?,?,?,?,?,?,?,?)")      \
    X(EVENT, "INSERT INTO event VALUES (?,?,?,?)")                             \
    X(CLOCK, "INSERT OR REPLACE INTO clock VALUES (?,?,?,?)")

enum statement {
#define X(NAME, sql) STATEMENT_##NAME,
    STATEMENTS(X)
#undef X
        N_STATEMENTS,
};

static const char *const texts[] = {
#define X(NAME, sql) [STATEMENT_##NAME] = sql,
    STATEMENTS(X)
#undef X
};

/* The periodic censuses a process keeps: all, then every second, fourth ... */
struct thinning {
    int64_t n_periodic; /* so far, dropped ones too */
    int64_t stride;
    int64_t n_kept;
    int64_t last_id; /* of the latest, whose details are kept; 0: none */
    int64_t last_ordinal;
    int64_t peak_id; /* of the highest that has uses of sites; 0: none */
    uint64_t peak_rss_bytes;
};

struct statements {
    sqlite3 *database;
    struct details *details;
    struct site_rows *site_rows;
    sqlite3_stmt *prepared[N_STATEMENTS];
    int64_t last_slots[3]; /* of the rings of ticks, -1: none yet */
    int64_t n_collections;
    struct thinning *thinnings; /* by process */
    size_t n_thinnings;
};

static const char *const kind_words[] = {
#define X(name) #name,
    RECORDING_CENSUS_KINDS(X)
#undef X
};

/* ---- binding ----------------------------------------------------------- */

static struct binder
begin(struct statements *statements, enum statement which)
{
    return binder_of(statements->prepared[which]);
}

/* A statement whose only parameter is a number. */
static bool
run(struct statements *statements, enum statement which, int64_t number)
{
    struct binder binder = begin(statements, which);
    binder_put(&binder, number);
    return binder_done(&binder);
}

/* ---- life -------------------------------------------------------------- */

void
statements_forget(struct statements *statements)
{
    for (size_t i = 0; i < countof(statements->last_slots); i++)
        statements->last_slots[i] = -1;
    for (size_t i = 0; i < statements->n_thinnings; i++)
        statements->thinnings[i].last_id = 0;
}

struct statements *
statements_create(sqlite3 *database)
{
    struct statements *statements = xcalloc(1, sizeof(*statements));
    statements->database = database;
    statements->details = details_create(database);
    statements->site_rows = site_rows_create(database);
    statements_forget(statements);
    if (statements->details != NULL && statements->site_rows != NULL &&
        prepared_init(statements->prepared, database, texts, N_STATEMENTS))
        return statements;
    statements_destroy(statements);
    return NULL;
}

void
statements_destroy(struct statements *statements)
{
    if (statements == NULL)
        return;
    prepared_finish(statements->prepared, N_STATEMENTS);
    details_destroy(statements->details);
    site_rows_destroy(statements->site_rows);
    free(statements->thinnings);
    free(statements);
}

struct site_rows *
statements_site_rows(const struct statements *statements)
{
    return statements->site_rows;
}

/* ---- plain rows -------------------------------------------------------- */

bool
statements_meta(struct statements *statements, const char *key,
                const char *text)
{
    struct binder binder = begin(statements, STATEMENT_META);
    binder_put_text(&binder, key);
    binder_put_text(&binder, text);
    return binder_done(&binder);
}

bool
statements_number(struct statements *statements, const char *key,
                  int64_t number)
{
    struct binder binder = begin(statements, STATEMENT_META);
    binder_put_text(&binder, key);
    binder_put_signed(&binder, number);
    return binder_done(&binder);
}

bool
statements_process(struct statements *statements,
                   const struct recording_process *process)
{
    struct binder binder = begin(statements, STATEMENT_PROCESS);
    binder_put(&binder, process->id);
    binder_put(&binder, process->pid);
    binder_put(&binder, process->ns_pid);
    binder_put(&binder, process->ppid);
    binder_put(&binder, process->parent);
    binder_put_text(&binder, process->exe);
    binder_put_text(&binder, process->command);
    binder_put_text(&binder, process->python);
    binder_put_text(&binder, process->level);
    binder_put(&binder, process->start_us);
    binder_put(&binder, process->end_us);
    binder_put(&binder, process->exit_status);
    binder_put_text(&binder, process->note);
    binder_put(&binder, process->vm_hwm_bytes);
    binder_put(&binder, process->births);
    binder_put(&binder, process->deaths);
    binder_put_signed(&binder, process->live_blocks);
    binder_put_signed(&binder, process->live_bytes);
    binder_put(&binder, process->python_births);
    binder_put(&binder, process->python_deaths);
    binder_put(&binder, process->lost_events);
    binder_put(&binder, process->lost_batches);
    binder_put(&binder, process->census_cpu_us);
    binder_put(&binder, process->census_read_bytes);
    binder_put(&binder, process->oom_kills);
    binder_put(&binder, process->shares_cgroup);
    return binder_done(&binder);
}

bool
statements_gc(struct statements *statements, const struct recording_gc *gc)
{
    struct binder binder = begin(statements, STATEMENT_GC);
    binder_put(&binder, gc->process);
    binder_put(&binder, gc->generation);
    binder_put(&binder, gc->collections);
    binder_put(&binder, gc->collected);
    binder_put(&binder, gc->uncollectable);
    binder_put(&binder, gc->pause_us_total);
    binder_put(&binder, gc->pause_us_max);
    binder_put(&binder, gc->pauses_since_us);
    return binder_done(&binder);
}

bool
statements_collection(struct statements *statements,
                      const struct recording_collection *collection)
{
    struct binder binder = begin(statements, STATEMENT_COLLECTION);
    binder_put(&binder, statements->n_collections % RECORDING_COLLECTION_SLOTS);
    binder_put(&binder, collection->t_us);
    binder_put(&binder, collection->process);
    binder_put(&binder, collection->generation);
    binder_put(&binder, collection->pause_us);
    binder_put(&binder, collection->collected);
    binder_put(&binder, collection->uncollectable);
    binder_put(&binder, collection->arenas_before);
    binder_put(&binder, collection->arenas_after);
    binder_put(&binder, collection->rss_before);
    binder_put(&binder, collection->rss_after);
    statements->n_collections++;
    return binder_done(&binder);
}

bool
statements_event(struct statements *statements, int64_t t_us, int64_t process,
                 const char *kind, const char *text)
{
    struct binder binder = begin(statements, STATEMENT_EVENT);
    binder_put(&binder, t_us);
    binder_put(&binder, process);
    binder_put_text(&binder, kind);
    binder_put_text(&binder, text);
    return binder_done(&binder);
}

bool
statements_clock(struct statements *statements, int64_t t_us,
                 int64_t monotonic_ns, int64_t boot_ns, int64_t wall_unix_ns)
{
    struct binder binder = begin(statements, STATEMENT_CLOCK);
    binder_put(&binder, t_us);
    binder_put(&binder, monotonic_ns);
    binder_put(&binder, boot_ns);
    binder_put(&binder, wall_unix_ns);
    return binder_done(&binder);
}

/* ---- ticks: rings ------------------------------------------------------ */

static const struct {
    enum statement insert;
    enum statement clear;
    int64_t n_slots;
    int64_t period_us;
} tiers[] = {
    {STATEMENT_TICK0, STATEMENT_CLEAR0, RECORDING_TICK0_SLOTS,
     RECORDING_TICK_US                                },
    {STATEMENT_TICK1, STATEMENT_CLEAR1, RECORDING_TICK1_SLOTS,
     (int64_t)RECORDING_TICK_US *RECORDING_TICK1_TICKS},
    {STATEMENT_TICK2, STATEMENT_CLEAR2, RECORDING_TICK2_SLOTS,
     (int64_t)RECORDING_TICK_US *RECORDING_TICK2_TICKS},
};

/* Clears the slots between the last one written and this one. */
static bool
enter_slot(struct statements *statements, unsigned tier, int64_t number)
{
    const int64_t last = statements->last_slots[tier];
    statements->last_slots[tier] = number;
    if (last < 0 && number < tiers[tier].n_slots)
        return true; /* the ring's first lap has nothing to clear */
    int64_t from = last < 0 ? number : last + 1;
    if (number - from >= tiers[tier].n_slots)
        from = number - tiers[tier].n_slots + 1;
    for (; from <= number; from++) {
        if (from >= tiers[tier].n_slots &&
            !run(statements, tiers[tier].clear, from % tiers[tier].n_slots))
            return false;
    }
    return true;
}

bool
statements_tick(struct statements *statements,
                const struct recording_tick *tick)
{
    if (tick->tier >= countof(tiers))
        return false;
    const int64_t number = tick->t_us / tiers[tick->tier].period_us;
    if (number > statements->last_slots[tick->tier] &&
        !enter_slot(statements, tick->tier, number))
        return false;
    struct binder binder = begin(statements, tiers[tick->tier].insert);
    binder_put(&binder, number % tiers[tick->tier].n_slots);
    binder_put(&binder, tick->process);
    binder_put(&binder, tick->t_us);
    binder_put(&binder, tick->n);
    for (unsigned i = 0; i < 3; i++)
        binder_put(&binder, tick->rss[i]);
    for (unsigned i = 0; i < 3; i++)
        binder_put_signed(&binder, tick->live[i]);
    for (unsigned i = 0; i < 3; i++)
        binder_put(&binder, tick->arenas[i]);
    for (unsigned i = 0; i < 3; i++)
        binder_put(&binder, tick->cgroup[i]);
    return binder_done(&binder);
}

/* ---- censuses ---------------------------------------------------------- */

struct arena_sums {
    uint64_t n_bytes;
    uint64_t resident;
    uint64_t live;
    uint64_t held;
    uint64_t n_pinned;
    uint64_t n_empty;
    uint64_t pinned_held;
    uint64_t pinned_resident;
    uint64_t pinned_holes;
    uint64_t pinned_blocks;
    uint64_t pinned_live;
};

static struct arena_sums
sum_arenas(const struct census *census)
{
    struct arena_sums sums = {0};
    for (size_t i = 0; i < census->n_arenas; i++) {
        const struct census_arena *arena = &census->arenas[i];
        const uint64_t outside = arena->resident_bytes - arena->live_bytes;
        sums.n_bytes += arena->n_bytes;
        sums.resident += arena->resident_bytes;
        sums.live += arena->live_bytes;
        sums.n_pinned += arena->is_pinned;
        sums.n_empty += arena->n_used_blocks == 0;
        if (arena->n_used_blocks != 0)
            sums.held += outside;
        if (!arena->is_pinned)
            continue;
        sums.pinned_held += outside;
        sums.pinned_resident += arena->resident_bytes;
        sums.pinned_holes += arena->hole_bytes;
        sums.pinned_blocks += arena->n_used_blocks;
        sums.pinned_live += arena->live_bytes;
    }
    return sums;
}

static void
put_heap_sums(struct binder *binder, const struct census *census)
{
    struct census_heap sum = {0};
    for (size_t i = 0; i < census->n_heaps; i++) {
        sum.live_bytes += census->heaps[i].live_bytes;
        sum.trimmable_bytes += census->heaps[i].trimmable_bytes;
        sum.page_pinned_bytes += census->heaps[i].page_pinned_bytes;
        sum.trim_gain_bytes += census->heaps[i].trim_gain_bytes;
    }
    binder_put_bytes(binder, sum.live_bytes);
    binder_put_bytes(binder, sum.trimmable_bytes);
    binder_put_bytes(binder, sum.page_pinned_bytes);
    binder_put_bytes(binder, sum.trim_gain_bytes);
}

static void
put_cgroup(struct binder *binder, const struct recording_moment *moment)
{
    binder_put(binder, moment->collector_rss_bytes);
    binder_put(binder, moment->cgroup.current);
    binder_put(binder, moment->cgroup.max);
    binder_put(binder, moment->cgroup.oom_kills);
    binder_put(binder, moment->cgroup.anon);
    binder_put(binder, moment->cgroup.file);
    binder_put(binder, moment->cgroup.shmem);
    binder_put(binder, moment->cgroup.kernel);
    binder_put(binder, moment->cgroup_others);
}

static bool
put_census_row(struct statements *statements,
               const struct recording_moment *moment,
               const struct census *census, int64_t t_us, int64_t ordinal)
{
    const struct arena_sums sums = sum_arenas(census);
    struct binder binder = begin(statements, STATEMENT_CENSUS);
    binder_put(&binder, moment->process);
    binder_put(&binder, t_us);
    binder_put(&binder, moment->image);
    binder_put_text(&binder, kind_words[census->kind]);
    binder_put_text(&binder, moment->label);
    binder_put(&binder, ordinal);
    binder_put(&binder, (int64_t)census->rss_bytes);
    binder_put_signed(&binder, census->skew_bytes);
    binder_put(&binder, moment->vm_hwm_bytes);
    binder_put(&binder, (int64_t)census->swap_bytes);
    binder_put(&binder, (int64_t)census->in_swap_bytes);
    binder_put(&binder, (int64_t)census->anon_huge_bytes);
    binder_put(&binder, (int64_t)census->hugetlb_bytes);
    binder_put(&binder, (int64_t)census->n_torn);
    binder_put(&binder, census->has_types);
    binder_put(&binder, census->has_low_types);
    binder_put_real(&binder, census->types_part);
    binder_put(&binder, (int64_t)census->cpu_us);
    binder_put(&binder, (int64_t)census->took_us);
    binder_put(&binder, (int64_t)census->read_bytes);
    put_cgroup(&binder, moment);
    binder_put(&binder, moment->births);
    binder_put(&binder, moment->deaths);
    binder_put_signed(&binder, moment->live_blocks);
    binder_put_signed(&binder, moment->live_bytes);
    for (unsigned cause = 0; cause < N_CAUSES; cause++)
        binder_put(&binder, census->is_unknown[cause]
                                ? RECORDING_UNKNOWN
                                : (int64_t)census->ledger[cause]);
    binder_put_bytes(&binder, census->python_large_error);
    put_heap_sums(&binder, census);
    binder_put(&binder, (int64_t)census->n_arenas);
    binder_put(&binder, (int64_t)sums.n_bytes);
    binder_put(&binder, (int64_t)sums.resident);
    binder_put(&binder, (int64_t)sums.live);
    binder_put(&binder, (int64_t)sums.held);
    binder_put(&binder, (int64_t)sums.n_pinned);
    binder_put(&binder, (int64_t)sums.n_empty);
    binder_put(&binder, (int64_t)sums.pinned_held);
    binder_put(&binder, (int64_t)sums.pinned_resident);
    binder_put(&binder, (int64_t)sums.pinned_holes);
    binder_put(&binder, (int64_t)sums.pinned_blocks);
    binder_put(&binder, (int64_t)sums.pinned_live);
    return binder_done(&binder);
}

/* Who sits in arenas of which it is not known yet whether they are pinned. */
static struct thinning *
thinning_of(struct statements *statements, int64_t process)
{
    const size_t index = (size_t)process;
    if (index >= statements->n_thinnings) {
        statements->thinnings = xrealloc(statements->thinnings, index + 1,
                                         sizeof(statements->thinnings[0]));
        for (size_t i = statements->n_thinnings; i <= index; i++)
            statements->thinnings[i] = (struct thinning){.stride = 1};
        statements->n_thinnings = index + 1;
    }
    return &statements->thinnings[index];
}

/* Removes the censuses that a condition picks, with all that goes with them. */
static bool
drop(struct statements *statements, char *condition)
{
    char *sql = sqlite3_mprintf("CREATE TEMP TABLE IF NOT EXISTS doomed"
                                " (id INTEGER PRIMARY KEY);"
                                "DELETE FROM temp.doomed;"
                                "INSERT INTO temp.doomed SELECT id FROM census"
                                " WHERE %s;"
                                "DELETE FROM census WHERE id IN"
                                " (SELECT id FROM temp.doomed);",
                                condition == NULL ? "0" : condition);
    const bool is_done = sql != NULL && condition != NULL &&
                         sqlite3_exec(statements->database, sql, NULL, NULL,
                                      NULL) == SQLITE_OK &&
                         details_drop(statements->details);
    sqlite3_free(sql);
    sqlite3_free(condition);
    return is_done;
}

/* Drops every second of the kept ones, once there are too many. */
static bool
thin_out(struct statements *statements, struct thinning *thinning,
         int64_t process)
{
    if (thinning->n_kept < RECORDING_PERIODIC_KEPT)
        return true;
    thinning->stride *= 2;
    thinning->n_kept /= 2;
    return drop(statements,
                sqlite3_mprintf("process = %lld AND kind = 'periodic'"
                                " AND ordinal %% %lld <> 0",
                                (long long)process,
                                (long long)thinning->stride));
}

/* The periodic census before this one keeps its arenas no longer. */
static bool
retire_last(struct statements *statements, struct thinning *thinning,
            int64_t process)
{
    const int64_t id = thinning->last_id;
    thinning->last_id = 0;
    if (id == 0)
        return true;
    if (thinning->last_ordinal % thinning->stride != 0)
        return drop(statements, sqlite3_mprintf("id = %lld", (long long)id));
    thinning->n_kept++;
    return details_retire(statements->details, id) &&
           thin_out(statements, thinning, process);
}

/* Of the peaks only the highest keeps its uses. */
static bool
put_uses(struct statements *statements, struct thinning *thinning,
         const struct recording_moment *moment, const struct census *census,
         int64_t id)
{
    if (moment->n_uses == 0)
        return true;
    if (census->kind == CENSUS_peak) {
        const int64_t old = thinning->peak_id;
        if (old != 0 && census->rss_bytes < thinning->peak_rss_bytes)
            return true;
        thinning->peak_id = id;
        thinning->peak_rss_bytes = census->rss_bytes;
        if (old != 0 && !site_rows_drop(statements->site_rows, old))
            return false;
    }
    return site_rows_put(statements->site_rows, id, moment);
}

bool
statements_census(struct statements *statements,
                  const struct recording_moment *moment,
                  const struct census *census, int64_t t_us)
{
    int64_t ordinal = RECORDING_UNKNOWN;
    struct thinning *thinning = thinning_of(statements, moment->process);
    const bool is_periodic = census->kind == CENSUS_periodic;
    if (is_periodic) {
        if (!retire_last(statements, thinning, moment->process))
            return false;
        ordinal = thinning->n_periodic++;
    }
    if (!put_census_row(statements, moment, census, t_us, ordinal))
        return false;
    const int64_t id = sqlite3_last_insert_rowid(statements->database);
    if (is_periodic) {
        thinning->last_id = id;
        thinning->last_ordinal = ordinal;
    }
    return details_put(statements->details, census, id) &&
           (!moment->has_objects ||
            details_put_objects(statements->details, &moment->objects, id)) &&
           put_uses(statements, thinning, moment, census, id);
}
