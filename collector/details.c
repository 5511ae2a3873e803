#include "collector/details.h"

#include "collector/binder.h"
#include "collector/prepared.h"
#include "include/attrs.h"
#include "include/recording.h"
#include "include/xalloc.h"

/* X(NAME, SQL): a row of each table. */
#define INSERTS(X)                                                       \
    X(CLASS, "INSERT INTO class VALUES (?,?,?,?,?)")                     \
    X(ARENA, "INSERT INTO arena VALUES (?,?,?,?,?,?,?,?,?,?,?)")         \
    X(TYPE, "INSERT INTO type VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)")       \
    X(LOW_TYPE, "INSERT INTO low_type VALUES (?,?,?,?,?)")               \
    X(BLOCK27, "INSERT INTO block27 VALUES (?,?,?,?,?,?,?,?,?)")         \
    X(FREE_LIST, "INSERT INTO free_list VALUES (?,?,?,?)")               \
    X(SINGLE, "INSERT INTO single VALUES (?,?,?,?)")                     \
    X(GENERATION, "INSERT INTO generation VALUES (?,?,?,?,?,?)")         \
    X(OBJECT, "INSERT INTO object VALUES (?,?,?,?,?,?,?,?,?)")           \
    X(HEAP, "INSERT INTO heap VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)") \
    X(MAPPING, "INSERT INTO mapping VALUES (?,?,?,?,?)")                 \
    X(PROOF, "INSERT INTO proof VALUES (?,?,?,?,?,?,?)")

enum insert {
#define X(NAME, sql) INSERT_##NAME,
    INSERTS(X)
#undef X
        N_INSERTS,
};

static const char *const texts[] = {
#define X(NAME, sql) [INSERT_##NAME] = sql,
    INSERTS(X)
#undef X
};

static const char *const heap_words[] = {
#define X(name) #name,
    RECORDING_HEAP_KINDS(X)
#undef X
};

static const char *const cause_words[] = {
#define X(name) #name,
    RECORDING_CAUSES(X)
#undef X
};

static const char *const proof_words[] = {
#define X(name) #name,
    RECORDING_PROOFS(X)
#undef X
        [N_PROOFS] = NULL,
};

static const char *const single_words[] = {
#define X(name) #name,
    RECORDING_SINGLES(X)
#undef X
};

struct details {
    sqlite3 *database;
    sqlite3_stmt *inserts[N_INSERTS];
};

struct details *
details_create(sqlite3 *database)
{
    struct details *details = xcalloc(1, sizeof(*details));
    details->database = database;
    if (prepared_init(details->inserts, database, texts, N_INSERTS))
        return details;
    details_destroy(details);
    return NULL;
}

void
details_destroy(struct details *details)
{
    if (details == NULL)
        return;
    prepared_finish(details->inserts, N_INSERTS);
    free(details);
}

/* ---- rows -------------------------------------------------------------- */

static struct binder
begin(struct details *details, enum insert which, int64_t id)
{
    struct binder binder = binder_of(details->inserts[which]);
    binder_put(&binder, id);
    return binder;
}

static bool
put_classes(struct details *details, const struct census *census, int64_t id)
{
    for (int64_t i = 0; i < CPYTHON_N_CLASSES; i++) {
        const struct census_class *class = &census->classes[i];
        if (class->n_pools == 0)
            continue;
        struct binder row = begin(details, INSERT_CLASS, id);
        binder_put(&row, (i + 1) * CPYTHON_OLD_ALIGNMENT);
        binder_put_bytes(&row, class->n_pools);
        binder_put_bytes(&row, class->n_used);
        binder_put_bytes(&row, class->n_free);
        if (!binder_done(&row))
            return false;
    }
    return true;
}

static bool
put_arenas(struct details *details, const struct census *census, int64_t id)
{
    for (size_t i = 0; i < census->n_arenas; i++) {
        const struct census_arena *arena = &census->arenas[i];
        struct binder row = begin(details, INSERT_ARENA, id);
        binder_put_bytes(&row, arena->address);
        binder_put_bytes(&row, arena->n_bytes);
        binder_put_bytes(&row, arena->resident_bytes);
        binder_put_bytes(&row, arena->live_bytes);
        binder_put_bytes(&row, arena->hole_bytes);
        binder_put_bytes(&row, arena->n_pools);
        binder_put_bytes(&row, arena->n_free_pools);
        binder_put_bytes(&row, arena->n_used_blocks);
        binder_put_bytes(&row, arena->is_pinned);
        binder_put_bytes(&row, arena->born_us);
        if (!binder_done(&row))
            return false;
    }
    return true;
}

static bool
put_types(struct details *details, const struct census *census, int64_t id)
{
    const bool is_sample = !census->has_types;
    for (size_t i = 0; i < census->n_types; i++) {
        const struct census_type *type = &census->types[i];
        struct binder row = begin(details, INSERT_TYPE, id);
        binder_put_text(&row, type->name);
        binder_put_bytes(&row, type->n_objects);
        binder_put_bytes(&row, type->n_bytes);
        binder_put(&row, is_sample ? (int64_t)type->objects_error : -1);
        binder_put(&row, is_sample ? (int64_t)type->bytes_error : -1);
        binder_put(&row, is_sample ? -1 : (int64_t)type->held_exclusive);
        binder_put(&row, is_sample ? -1 : (int64_t)type->held_split);
        binder_put(&row, is_sample ? -1 : (int64_t)type->exclusive_bytes);
        binder_put_bytes(&row, type->pinned_exclusive);
        binder_put_bytes(&row, type->pinned_split);
        binder_put_bytes(&row, type->pinned_bytes);
        binder_put_bytes(&row, type->n_pinned);
        if (!binder_done(&row))
            return false;
    }
    return true;
}

static bool
put_low_types(struct details *details, const struct census *census, int64_t id)
{
    for (size_t i = 0; i < census->n_types && census->is_first_look; i++) {
        const struct census_type *type = &census->types[i];
        if (type->n_low == 0)
            continue;
        struct binder row = begin(details, INSERT_LOW_TYPE, id);
        binder_put_text(&row, type->name);
        binder_put_bytes(&row, type->n_low);
        binder_put_bytes(&row, type->low_bytes);
        binder_put_bytes(&row, type->low_held);
        if (!binder_done(&row))
            return false;
    }
    return true;
}

static bool
put_heaps(struct details *details, const struct census *census, int64_t id)
{
    for (size_t i = 0; i < census->n_heaps; i++) {
        const struct census_heap *heap = &census->heaps[i];
        struct binder row = begin(details, INSERT_HEAP, id);
        binder_put(&row, heap->address == 0 ? -1 : (int64_t)heap->address);
        binder_put_text(&row, heap_words[heap->kind]);
        binder_put_bytes(&row, heap->n_bytes);
        binder_put_bytes(&row, heap->resident_bytes);
        binder_put_bytes(&row, heap->n_chunks);
        binder_put_bytes(&row, heap->live_bytes);
        binder_put_bytes(&row, heap->n_free);
        binder_put_bytes(&row, heap->free_bytes);
        binder_put_bytes(&row, heap->n_cached);
        binder_put_bytes(&row, heap->cached_bytes);
        binder_put_bytes(&row, heap->trimmable_bytes);
        binder_put_bytes(&row, heap->page_pinned_bytes);
        binder_put_bytes(&row, heap->trim_gain_bytes);
        binder_put_bytes(&row, heap->n_torn);
        binder_put_bytes(&row, heap->is_torn);
        if (!binder_done(&row))
            return false;
    }
    return true;
}

static bool
put_modules(struct details *details, const struct census *census, int64_t id)
{
    for (size_t i = 0; i < census->n_modules; i++) {
        const struct census_module *module = &census->modules[i];
        struct binder row = begin(details, INSERT_MAPPING, id);
        binder_put_text(&row, module->name);
        binder_put_bytes(&row, module->n_mappings);
        binder_put_bytes(&row, module->n_bytes);
        binder_put_bytes(&row, module->resident_bytes);
        if (!binder_done(&row))
            return false;
    }
    return true;
}

static bool
put_proofs(struct details *details, const struct census *census, int64_t id)
{
    for (size_t i = 0; i < census->n_proofs; i++) {
        const struct census_proof *proof = &census->proofs[i];
        if (proof->n_bytes == 0)
            continue; /* all of it was dealt again */
        struct binder row = begin(details, INSERT_PROOF, id);
        binder_put_bytes(&row, proof->start);
        binder_put_bytes(&row, proof->end);
        binder_put_bytes(&row, proof->n_bytes);
        binder_put_text(&row, cause_words[proof->cause]);
        binder_put_text(&row, proof_words[proof->proof]);
        binder_put(&row, proof->address == 0 ? -1 : (int64_t)proof->address);
        if (!binder_done(&row))
            return false;
    }
    return true;
}

static bool
put_blocks27(struct details *details, const struct census_blocks27 *blocks,
             const char *name, int64_t id)
{
    struct binder row = begin(details, INSERT_BLOCK27, id);
    binder_put_text(&row, name);
    binder_put(&row, (int64_t)blocks->n_blocks);
    binder_put(&row, (int64_t)blocks->reserved_bytes);
    binder_put(&row, (int64_t)blocks->live_bytes);
    binder_put(&row, (int64_t)blocks->n_free);
    binder_put(&row, (int64_t)blocks->n_free * CPYTHON_BLOCK27_SLOT_BYTES);
    binder_put(&row, (int64_t)blocks->n_pinned);
    binder_put(&row, (int64_t)blocks->n_empty);
    return binder_done(&row);
}

static bool
put_never_returned(struct details *details,
                   const struct census_never_returned *never, int64_t id)
{
    if (never->has_blocks27 &&
        !(put_blocks27(details, &never->ints, "int", id) &&
          put_blocks27(details, &never->floats, "float", id)))
        return false;
    for (size_t i = 0; i < never->n_free_lists; i++) {
        const struct census_free_list *list = &never->free_lists[i];
        struct binder row = begin(details, INSERT_FREE_LIST, id);
        binder_put_text(&row, list->name);
        binder_put(&row, (int64_t)list->n_residents);
        binder_put(&row, (int64_t)list->n_bytes);
        if (!binder_done(&row))
            return false;
    }
    return true;
}

static bool
put_singles(struct details *details, const struct census *census, int64_t id)
{
    for (size_t i = 0; i < N_SINGLES; i++) {
        if (!census->singles[i].is_known)
            continue;
        struct binder row = begin(details, INSERT_SINGLE, id);
        binder_put_text(&row, single_words[i]);
        binder_put(&row, (int64_t)census->singles[i].n_objects);
        binder_put(&row, (int64_t)census->singles[i].n_bytes);
        if (!binder_done(&row))
            return false;
    }
    return true;
}

/* What survives is in the oldest one. */
static bool
put_generations(struct details *details,
                const struct census_collector *collector, int64_t id)
{
    const unsigned n = collector->is_known ? CENSUS_GENERATIONS : 0;
    for (unsigned i = 0; i < n; i++) {
        const bool is_oldest = i == CENSUS_GENERATIONS - 1;
        struct binder row = begin(details, INSERT_GENERATION, id);
        binder_put(&row, i);
        binder_put(&row, collector->generations[i].threshold);
        binder_put(&row, collector->generations[i].count);
        binder_put(&row, is_oldest ? collector->n_survivors : -1);
        binder_put(&row, is_oldest ? collector->n_promoted : -1);
        if (!binder_done(&row))
            return false;
    }
    return true;
}

/* ---- a census ---------------------------------------------------------- */

bool
details_put(struct details *details, const struct census *census, int64_t id)
{
    return put_classes(details, census, id) &&
           put_arenas(details, census, id) && put_types(details, census, id) &&
           put_low_types(details, census, id) &&
           put_heaps(details, census, id) && put_modules(details, census, id) &&
           put_never_returned(details, &census->never_returned, id) &&
           put_singles(details, census, id) &&
           put_generations(details, &census->collector, id) &&
           put_proofs(details, census, id);
}

bool
details_put_objects(struct details *details,
                    const struct recording_objects *objects, int64_t id)
{
    struct binder row = begin(details, INSERT_OBJECT, id);
    binder_put(&row, objects->births);
    binder_put(&row, objects->deaths);
    binder_put(&row, objects->live_blocks);
    binder_put(&row, objects->live_bytes);
    binder_put(&row, objects->orphans);
    binder_put(&row, objects->found_blocks);
    binder_put(&row, objects->only_told);
    binder_put(&row, objects->only_found);
    return binder_done(&row);
}

static bool
run(struct details *details, char *sql)
{
    const bool is_done =
        sql != NULL &&
        sqlite3_exec(details->database, sql, NULL, NULL, NULL) == SQLITE_OK;
    sqlite3_free(sql);
    return is_done;
}

bool
details_retire(struct details *details, int64_t id)
{
    return run(details,
               sqlite3_mprintf("DELETE FROM arena WHERE census = %lld;"
                               "DELETE FROM proof WHERE census = %lld;",
                               (long long)id, (long long)id));
}

bool
details_drop(struct details *details)
{
    static const char *const tables[] = {
        "class",     "arena",      "type",  "low_type", "block27",
        "free_list", "single",     "heap",  "mapping",  "proof",
        "site_use",  "generation", "object"};
    for (size_t i = 0; i < countof(tables); i++) {
        if (!run(details, sqlite3_mprintf("DELETE FROM %s WHERE census IN"
                                          " (SELECT id FROM temp.doomed)",
                                          tables[i])))
            return false;
    }
    return true;
}
