#include "collector/statements.h"

#include <string.h>

#include "include/attrs.h"
#include "include/recording.h"
#include "include/xalloc.h"

/* X(NAME, SQL) */
#define STATEMENTS(X)                                                         \
    X(META, "INSERT OR REPLACE INTO meta VALUES (?,?)")                       \
    X(PROCESS, "INSERT OR REPLACE INTO process (id, pid, ns_pid, ppid,"       \
               " parent, exe, command, python, level, start_us, end_us,"      \
               " exit_status, note, vm_hwm_bytes, births, deaths,"            \
               " live_blocks, live_bytes, python_births, python_deaths,"      \
               " lost_events, lost_batches, census_cpu_us,"                   \
               " census_read_bytes) VALUES"                                   \
               " (?,?,?,?,?,?,?,?,'watch',?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)")    \
    X(TICK0, "INSERT OR REPLACE INTO tick0 VALUES"                            \
             " (?,?,?,?,?,?,?,?,?,?,?,?,?)")                                  \
    X(TICK1, "INSERT OR REPLACE INTO tick1 VALUES"                            \
             " (?,?,?,?,?,?,?,?,?,?,?,?,?)")                                  \
    X(TICK2, "INSERT OR REPLACE INTO tick2 VALUES"                            \
             " (?,?,?,?,?,?,?,?,?,?,?,?,?)")                                  \
    X(CLEAR0, "DELETE FROM tick0 WHERE slot = ?")                             \
    X(CLEAR1, "DELETE FROM tick1 WHERE slot = ?")                             \
    X(CLEAR2, "DELETE FROM tick2 WHERE slot = ?")                             \
    X(CENSUS,                                                                 \
      "INSERT INTO census (process, t_us, image, kind, label, ordinal,"       \
      " rss_bytes,"                                                           \
      " skew_bytes, vm_hwm_bytes, swap_bytes, in_swap_bytes,"                 \
      " anon_huge_bytes, torn, has_types, has_low_types, cpu_us, took_us, "   \
      "read_bytes,"                                                           \
      " births, deaths, live_blocks, live_bytes, profiler, stacks,"           \
      " image_private, file, shmem, python_never_returned, python_live,"      \
      " python_holes, python_free_pools, python_overhead, python_large,"      \
      " native_live, native_overhead, native_free, mapped_anon,"              \
      " unexplained, arenas, arena_bytes, arena_resident, arena_live,"        \
      " arena_held, arenas_pinned, arenas_empty, pinned_held,"                \
      " pinned_resident, pinned_holes, pinned_blocks, pinned_live) VALUES"    \
      " (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,"  \
      "?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)")                                   \
    X(CLASS, "INSERT INTO class VALUES (?,?,?,?,?)")                          \
    X(ARENA, "INSERT INTO arena VALUES (?,?,?,?,?,?,?,?,?,?,?)")              \
    X(TYPE, "INSERT INTO type VALUES (?,?,?,?,?,?,?,?,?,?,?)")                \
    X(DROP_ARENAS, "DELETE FROM arena WHERE census = ?")                      \
    X(DROP_CLASSES, "DELETE FROM class WHERE census = ?")                     \
    X(DROP_TYPES, "DELETE FROM type WHERE census = ?")                        \
    X(DROP_CENSUS, "DELETE FROM census WHERE id = ?")                         \
    X(GC, "INSERT OR REPLACE INTO gc VALUES (?,?,?,?,?,?,?,?)")               \
    X(COLLECTION, "INSERT OR REPLACE INTO collection VALUES (?,?,?,?,?,?,?)") \
    X(EVENT, "INSERT INTO event VALUES (?,?,?,?)")                            \
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
};

struct statements {
    sqlite3 *database;
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

struct binder {
    sqlite3_stmt *statement;
    int at;
};

static struct binder
binder_of(struct statements *statements, enum statement which)
{
    return (struct binder){.statement = statements->prepared[which], .at = 1};
}

/* Negative is unknown. */
static void
put(struct binder *binder, int64_t number)
{
    if (number < 0)
        sqlite3_bind_null(binder->statement, binder->at++);
    else
        sqlite3_bind_int64(binder->statement, binder->at++, number);
}

static void
put_signed(struct binder *binder, int64_t number)
{
    sqlite3_bind_int64(binder->statement, binder->at++, number);
}

static void
put_text(struct binder *binder, const char *text)
{
    if (text == NULL)
        sqlite3_bind_null(binder->statement, binder->at++);
    else
        sqlite3_bind_text(binder->statement, binder->at++, text, -1,
                          SQLITE_STATIC);
}

static bool
done(const struct binder *binder)
{
    const bool is_done = sqlite3_step(binder->statement) == SQLITE_DONE;
    sqlite3_reset(binder->statement);
    return is_done;
}

/* A statement whose only parameter is a number. */
static bool
run(struct statements *statements, enum statement which, int64_t number)
{
    struct binder binder = binder_of(statements, which);
    put(&binder, number);
    return done(&binder);
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
    statements_forget(statements);
    for (size_t i = 0; i < N_STATEMENTS; i++) {
        if (sqlite3_prepare_v3(database, texts[i], -1,
                               SQLITE_PREPARE_PERSISTENT,
                               &statements->prepared[i], NULL) != SQLITE_OK) {
            statements_destroy(statements);
            return NULL;
        }
    }
    return statements;
}

void
statements_destroy(struct statements *statements)
{
    if (statements == NULL)
        return;
    for (size_t i = 0; i < N_STATEMENTS; i++)
        sqlite3_finalize(statements->prepared[i]);
    free(statements->thinnings);
    free(statements);
}

/* ---- plain rows -------------------------------------------------------- */

bool
statements_meta(struct statements *statements, const char *key,
                const char *text)
{
    struct binder binder = binder_of(statements, STATEMENT_META);
    put_text(&binder, key);
    put_text(&binder, text);
    return done(&binder);
}

bool
statements_number(struct statements *statements, const char *key,
                  int64_t number)
{
    struct binder binder = binder_of(statements, STATEMENT_META);
    put_text(&binder, key);
    put_signed(&binder, number);
    return done(&binder);
}

bool
statements_process(struct statements *statements,
                   const struct recording_process *process)
{
    struct binder binder = binder_of(statements, STATEMENT_PROCESS);
    put(&binder, process->id);
    put(&binder, process->pid);
    put(&binder, process->ns_pid);
    put(&binder, process->ppid);
    put(&binder, process->parent);
    put_text(&binder, process->exe);
    put_text(&binder, process->command);
    put_text(&binder, process->python);
    put(&binder, process->start_us);
    put(&binder, process->end_us);
    put(&binder, process->exit_status);
    put_text(&binder, process->note);
    put(&binder, process->vm_hwm_bytes);
    put(&binder, process->births);
    put(&binder, process->deaths);
    put_signed(&binder, process->live_blocks);
    put_signed(&binder, process->live_bytes);
    put(&binder, process->python_births);
    put(&binder, process->python_deaths);
    put(&binder, process->lost_events);
    put(&binder, process->lost_batches);
    put(&binder, process->census_cpu_us);
    put(&binder, process->census_read_bytes);
    return done(&binder);
}

bool
statements_gc(struct statements *statements, const struct recording_gc *gc)
{
    struct binder binder = binder_of(statements, STATEMENT_GC);
    put(&binder, gc->process);
    put(&binder, gc->generation);
    put(&binder, gc->collections);
    put(&binder, gc->collected);
    put(&binder, gc->uncollectable);
    put(&binder, gc->pause_us_total);
    put(&binder, gc->pause_us_max);
    put(&binder, gc->pauses_since_us);
    return done(&binder);
}

bool
statements_collection(struct statements *statements,
                      const struct recording_collection *collection)
{
    struct binder binder = binder_of(statements, STATEMENT_COLLECTION);
    put(&binder, statements->n_collections % RECORDING_COLLECTION_SLOTS);
    put(&binder, collection->t_us);
    put(&binder, collection->process);
    put(&binder, collection->generation);
    put(&binder, collection->pause_us);
    put(&binder, collection->collected);
    put(&binder, collection->uncollectable);
    statements->n_collections++;
    return done(&binder);
}

bool
statements_event(struct statements *statements, int64_t t_us, int64_t process,
                 const char *kind, const char *text)
{
    struct binder binder = binder_of(statements, STATEMENT_EVENT);
    put(&binder, t_us);
    put(&binder, process);
    put_text(&binder, kind);
    put_text(&binder, text);
    return done(&binder);
}

bool
statements_clock(struct statements *statements, int64_t t_us,
                 int64_t monotonic_ns, int64_t boot_ns, int64_t wall_unix_ns)
{
    struct binder binder = binder_of(statements, STATEMENT_CLOCK);
    put(&binder, t_us);
    put(&binder, monotonic_ns);
    put(&binder, boot_ns);
    put(&binder, wall_unix_ns);
    return done(&binder);
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
    struct binder binder = binder_of(statements, tiers[tick->tier].insert);
    put(&binder, number % tiers[tick->tier].n_slots);
    put(&binder, tick->process);
    put(&binder, tick->t_us);
    put(&binder, tick->n);
    for (unsigned i = 0; i < 3; i++)
        put(&binder, tick->rss[i]);
    for (unsigned i = 0; i < 3; i++)
        put_signed(&binder, tick->live[i]);
    for (unsigned i = 0; i < 3; i++)
        put(&binder, tick->arenas[i]);
    return done(&binder);
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

static bool
put_census_row(struct statements *statements,
               const struct recording_moment *moment,
               const struct census *census, int64_t t_us, int64_t ordinal)
{
    const struct arena_sums sums = sum_arenas(census);
    struct binder binder = binder_of(statements, STATEMENT_CENSUS);
    put(&binder, moment->process);
    put(&binder, t_us);
    put(&binder, moment->image);
    put_text(&binder, kind_words[census->kind]);
    put_text(&binder, moment->label);
    put(&binder, ordinal);
    put(&binder, (int64_t)census->rss_bytes);
    put_signed(&binder, census->skew_bytes);
    put(&binder, moment->vm_hwm_bytes);
    put(&binder, (int64_t)census->swap_bytes);
    put(&binder, (int64_t)census->in_swap_bytes);
    put(&binder, (int64_t)census->anon_huge_bytes);
    put(&binder, (int64_t)census->n_torn);
    put(&binder, census->has_types);
    put(&binder, census->has_low_types);
    put(&binder, (int64_t)census->cpu_us);
    put(&binder, (int64_t)census->took_us);
    put(&binder, (int64_t)census->read_bytes);
    put(&binder, moment->births);
    put(&binder, moment->deaths);
    put_signed(&binder, moment->live_blocks);
    put_signed(&binder, moment->live_bytes);
    for (unsigned cause = 0; cause < N_CAUSES; cause++)
        put(&binder, census->is_unknown[cause]
                         ? RECORDING_UNKNOWN
                         : (int64_t)census->ledger[cause]);
    put(&binder, (int64_t)census->n_arenas);
    put(&binder, (int64_t)sums.n_bytes);
    put(&binder, (int64_t)sums.resident);
    put(&binder, (int64_t)sums.live);
    put(&binder, (int64_t)sums.held);
    put(&binder, (int64_t)sums.n_pinned);
    put(&binder, (int64_t)sums.n_empty);
    put(&binder, (int64_t)sums.pinned_held);
    put(&binder, (int64_t)sums.pinned_resident);
    put(&binder, (int64_t)sums.pinned_holes);
    put(&binder, (int64_t)sums.pinned_blocks);
    put(&binder, (int64_t)sums.pinned_live);
    return done(&binder);
}

static bool
put_classes(struct statements *statements, const struct census *census,
            int64_t id)
{
    for (int64_t i = 0; i < CPYTHON_N_CLASSES; i++) {
        const struct census_class *class = &census->classes[i];
        if (class->n_pools == 0)
            continue;
        struct binder binder = binder_of(statements, STATEMENT_CLASS);
        put(&binder, id);
        put(&binder, (i + 1) * CPYTHON_OLD_ALIGNMENT);
        put(&binder, (int64_t) class->n_pools);
        put(&binder, (int64_t) class->n_used);
        put(&binder, (int64_t) class->n_free);
        if (!done(&binder))
            return false;
    }
    return true;
}

static bool
put_arenas(struct statements *statements, const struct census *census,
           int64_t id)
{
    for (size_t i = 0; i < census->n_arenas; i++) {
        const struct census_arena *arena = &census->arenas[i];
        struct binder binder = binder_of(statements, STATEMENT_ARENA);
        put(&binder, id);
        put(&binder, (int64_t)arena->address);
        put(&binder, (int64_t)arena->n_bytes);
        put(&binder, (int64_t)arena->resident_bytes);
        put(&binder, (int64_t)arena->live_bytes);
        put(&binder, (int64_t)arena->hole_bytes);
        put(&binder, arena->n_pools);
        put(&binder, arena->n_free_pools);
        put(&binder, arena->n_used_blocks);
        put(&binder, arena->is_pinned);
        put(&binder, (int64_t)arena->born_us);
        if (!done(&binder))
            return false;
    }
    return true;
}

static bool
put_types(struct statements *statements, const struct census *census,
          int64_t id)
{
    for (size_t i = 0; i < census->n_types; i++) {
        const struct census_type *type = &census->types[i];
        struct binder binder = binder_of(statements, STATEMENT_TYPE);
        put(&binder, id);
        put_text(&binder, type->name);
        put(&binder, (int64_t)type->n_objects);
        put(&binder, (int64_t)type->n_bytes);
        put(&binder, (int64_t)type->held_exclusive);
        put(&binder, (int64_t)type->held_split);
        put(&binder, (int64_t)type->exclusive_bytes);
        put(&binder, (int64_t)type->pinned_exclusive);
        put(&binder, (int64_t)type->pinned_split);
        put(&binder, (int64_t)type->pinned_bytes);
        put(&binder, (int64_t)type->n_pinned);
        if (!done(&binder))
            return false;
    }
    return true;
}

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

/* Drops every second of the kept ones, once there are too many. */
static bool
thin_out(struct statements *statements, struct thinning *thinning,
         int64_t process)
{
    if (thinning->n_kept < RECORDING_PERIODIC_KEPT)
        return true;
    thinning->stride *= 2;
    thinning->n_kept /= 2;
    char *sql = sqlite3_mprintf(
        "CREATE TEMP TABLE IF NOT EXISTS doomed (id INTEGER PRIMARY KEY);"
        "DELETE FROM doomed;"
        "INSERT INTO doomed SELECT id FROM census WHERE process = %lld"
        " AND kind = 'periodic' AND ordinal %% %lld <> 0;"
        "DELETE FROM class WHERE census IN (SELECT id FROM doomed);"
        "DELETE FROM type WHERE census IN (SELECT id FROM doomed);"
        "DELETE FROM census WHERE id IN (SELECT id FROM doomed);",
        (long long)process, (long long)thinning->stride);
    const bool is_done =
        sql != NULL &&
        sqlite3_exec(statements->database, sql, NULL, NULL, NULL) == SQLITE_OK;
    sqlite3_free(sql);
    return is_done;
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
    if (!run(statements, STATEMENT_DROP_ARENAS, id))
        return false;
    if (thinning->last_ordinal % thinning->stride == 0) {
        thinning->n_kept++;
        return thin_out(statements, thinning, process);
    }
    return run(statements, STATEMENT_DROP_CLASSES, id) &&
           run(statements, STATEMENT_DROP_TYPES, id) &&
           run(statements, STATEMENT_DROP_CENSUS, id);
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
    return put_classes(statements, census, id) &&
           put_arenas(statements, census, id) &&
           put_types(statements, census, id);
}
