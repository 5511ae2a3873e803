#include "collector/model/arenas.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "include/xalloc.h"

enum {
    MOST_DEAD = 4096,            /* remembered, for events that come late */
    MOST_CHANGES = 4096,         /* of the count, that are remembered */
    LARGEST_CHUNK = 1024 * 1024, /* of a data stack */
};

/* An arena is pinned once every census of so long has seen it low. */
#define LONG_LOW_US ((uint64_t)60 * 1000000)

struct mapping {
    uint64_t start;
    uint64_t n_bytes;
    uint64_t born_us;
    uint64_t birth_stamp;
    uint64_t death_stamp; /* 0: it lives */
    uint64_t last_high_us;
    bool was_over;  /* 25 % */
    unsigned n_low; /* censuses in a row that saw it low */
    UT_hash_handle hh;
};

/* An arena came, or went. */
struct change {
    uint64_t stamp;
    int64_t n_since; /* how many there are from then on */
};

struct arenas {
    struct mapping *mappings; /* by start; the dead ones too */
    struct mapping **living;  /* ascending by start */
    size_t n_living;
    size_t capacity;
    size_t n_dead;
    uint64_t last_birth_stamp; /* of an arena */
    struct change *changes;    /* of how many there are, ascending by stamp */
    size_t n_changes;
    size_t change_capacity;
    int64_t n_at_first; /* before the first of them */
    uint64_t first_stamp;
};

struct arenas *
arenas_create(void)
{
    return xcalloc(1, sizeof(struct arenas));
}

static void
forget(struct arenas *arenas, struct mapping *mapping)
{
    HASH_DEL(arenas->mappings, mapping);
    free(mapping);
}

void
arenas_destroy(struct arenas *arenas)
{
    if (arenas == NULL)
        return;
    struct mapping *mapping;
    struct mapping *next;
    HASH_ITER(hh, arenas->mappings, mapping, next)
    forget(arenas, mapping);
    free(arenas->living);
    free(arenas->changes);
    free(arenas);
}

/* ---- how many there were ----------------------------------------------- */

/* The older half of what is remembered. */
static void
forget_changes(struct arenas *arenas)
{
    const size_t n = arenas->n_changes / 2;
    arenas->n_at_first = arenas->changes[n - 1].n_since;
    arenas->first_stamp = arenas->changes[n - 1].stamp;
    arenas->n_changes -= n;
    memmove(arenas->changes, &arenas->changes[n],
            arenas->n_changes * sizeof(arenas->changes[0]));
}

/* They come nearly in their order. */
static void
note_change(struct arenas *arenas, uint64_t stamp, int64_t by)
{
    if (arenas->n_changes == MOST_CHANGES)
        forget_changes(arenas);
    XGROW(arenas->changes, arenas->change_capacity, arenas->n_changes);
    struct change *changes = arenas->changes;
    size_t at = arenas->n_changes;
    for (; at != 0 && changes[at - 1].stamp > stamp; at--) {
        changes[at] = changes[at - 1];
        changes[at].n_since += by;
    }
    if (at == 0 && stamp < arenas->first_stamp) { /* it is forgotten already */
        arenas->n_at_first += by;
        memmove(changes, &changes[1], arenas->n_changes * sizeof(changes[0]));
        return;
    }
    const int64_t n_before =
        at == 0 ? arenas->n_at_first : changes[at - 1].n_since;
    changes[at] = (struct change){stamp, n_before + by};
    arenas->n_changes++;
}

bool
arenas_count_at(const struct arenas *arenas, uint64_t stamp, size_t *n)
{
    size_t low = 0;
    size_t high = arenas->n_changes;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (arenas->changes[middle].stamp <= stamp)
            low = middle + 1;
        else
            high = middle;
    }
    const int64_t count =
        low == 0 ? arenas->n_at_first : arenas->changes[low - 1].n_since;
    if (stamp < arenas->first_stamp || count < 0)
        return false;
    *n = (size_t)count;
    return true;
}

/* ---- the living -------------------------------------------------------- */

/* The index of the first that starts at or behind an address. */
static size_t
first_living(const struct arenas *arenas, uint64_t start)
{
    size_t low = 0;
    size_t high = arenas->n_living;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (arenas->living[middle]->start < start)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void
enlist(struct arenas *arenas, struct mapping *mapping)
{
    const size_t at = first_living(arenas, mapping->start);
    XGROW(arenas->living, arenas->capacity, arenas->n_living);
    memmove(&arenas->living[at + 1], &arenas->living[at],
            (arenas->n_living - at) * sizeof(arenas->living[0]));
    arenas->living[at] = mapping;
    arenas->n_living++;
}

static void
delist(struct arenas *arenas, size_t at)
{
    arenas->n_living--;
    memmove(&arenas->living[at], &arenas->living[at + 1],
            (arenas->n_living - at) * sizeof(arenas->living[0]));
}

/* ---- sizes ------------------------------------------------------------- */

bool
arenas_is_size(uint64_t n_bytes)
{
    return n_bytes == CPYTHON_SMALL_ARENA || n_bytes == CPYTHON_LARGE_ARENA ||
           n_bytes == CPYTHON_HUGE_ARENA;
}

static bool
is_chunk_size(uint64_t n_bytes)
{
    return n_bytes >= CPYTHON_STACK_CHUNK_BYTES && n_bytes <= LARGEST_CHUNK &&
           n_bytes % CPYTHON_STACK_CHUNK_BYTES == 0;
}

struct arenas *
arenas_clone(const struct arenas *arenas, uint64_t stamp)
{
    struct arenas *clone = arenas_create();
    struct mapping *mapping;
    struct mapping *next;
    HASH_ITER(hh, arenas->mappings, mapping, next)
    {
        if (mapping->birth_stamp > stamp ||
            (mapping->death_stamp != 0 && mapping->death_stamp <= stamp))
            continue;
        struct mapping *copy = xcalloc(1, sizeof(*copy));
        *copy = *mapping;
        copy->death_stamp = 0;
        HASH_ADD(hh, clone->mappings, start, sizeof(copy->start), copy);
        enlist(clone, copy);
        if (!arenas_is_size(copy->n_bytes))
            continue;
        clone->n_at_first++;
        if (copy->birth_stamp > clone->last_birth_stamp)
            clone->last_birth_stamp = copy->birth_stamp;
    }
    clone->first_stamp = stamp;
    return clone;
}

/* ---- events ------------------------------------------------------------ */

/* Of chunks nobody asks how many there were. */
static void
note(struct arenas *arenas, uint64_t stamp, uint64_t n_bytes, int64_t by)
{
    if (arenas_is_size(n_bytes))
        note_change(arenas, stamp, by);
}

static struct mapping *
find(const struct arenas *arenas, uint64_t start)
{
    struct mapping *mapping;
    HASH_FIND(hh, arenas->mappings, &start, sizeof(start), mapping);
    return mapping;
}

static struct mapping *
add(struct arenas *arenas, uint64_t start)
{
    struct mapping *mapping = xcalloc(1, sizeof(*mapping));
    mapping->start = start;
    HASH_ADD(hh, arenas->mappings, start, sizeof(mapping->start), mapping);
    return mapping;
}

/* Its death has come before its birth, by another thread's batch. */
static void
add_unborn(struct arenas *arenas, uint64_t stamp, uint64_t start,
           uint64_t n_bytes)
{
    struct mapping *mapping = add(arenas, start);
    mapping->n_bytes = n_bytes;
    mapping->death_stamp = stamp;
    arenas->n_dead++;
}

/* The dead are kept only for events that come late. */
static void
bury(struct arenas *arenas)
{
    if (arenas->n_dead <= MOST_DEAD)
        return;
    struct mapping *mapping;
    struct mapping *next;
    HASH_ITER(hh, arenas->mappings, mapping, next)
    {
        if (mapping->death_stamp != 0)
            forget(arenas, mapping);
    }
    arenas->n_dead = 0;
}

/* What add_unborn was told of was there until then. */
static void
bear_late(struct arenas *arenas, struct mapping *mapping, uint64_t stamp,
          uint64_t n_bytes)
{
    mapping->birth_stamp = stamp;
    note(arenas, stamp, n_bytes, 1);
    note(arenas, mapping->death_stamp, n_bytes, -1);
}

void
arenas_map(struct arenas *arenas, uint64_t stamp, uint64_t start,
           uint64_t n_bytes, uint64_t now_us)
{
    if (!arenas_is_size(n_bytes) && !is_chunk_size(n_bytes))
        return;
    if (arenas_is_size(n_bytes) && stamp > arenas->last_birth_stamp)
        arenas->last_birth_stamp = stamp;
    struct mapping *mapping = find(arenas, start);
    if (mapping == NULL) {
        mapping = add(arenas, start);
        enlist(arenas, mapping);
    } else if (mapping->death_stamp > stamp || mapping->birth_stamp > stamp) {
        if (mapping->birth_stamp == 0)
            bear_late(arenas, mapping, stamp, n_bytes);
        return; /* it has died since */
    } else if (mapping->death_stamp != 0) {
        arenas->n_dead--;
        enlist(arenas, mapping);
    } else {
        note(arenas, stamp, mapping->n_bytes, -1); /* its death was missed */
    }
    *mapping = (struct mapping){
        .start = start,
        .n_bytes = n_bytes,
        .born_us = now_us,
        .birth_stamp = stamp,
        .hh = mapping->hh,
    };
    note(arenas, stamp, n_bytes, 1);
}

/* False: it was born later. */
static bool
die(struct arenas *arenas, size_t at, uint64_t stamp)
{
    struct mapping *mapping = arenas->living[at];
    if (mapping->birth_stamp > stamp)
        return false;
    mapping->death_stamp = stamp;
    arenas->n_dead++;
    delist(arenas, at);
    note(arenas, stamp, mapping->n_bytes, -1);
    return true;
}

/* Whether an arena did. */
static bool
die_where_touched(struct arenas *arenas, uint64_t stamp, uint64_t start,
                  uint64_t n_bytes)
{
    const uint64_t reach = CPYTHON_HUGE_ARENA;
    bool has_died = false;
    size_t i = first_living(arenas, start < reach ? 0 : start - reach);
    while (i < arenas->n_living && arenas->living[i]->start < start + n_bytes) {
        const struct mapping *mapping = arenas->living[i];
        if (start >= mapping->start + mapping->n_bytes ||
            !die(arenas, i, stamp))
            i++;
        else
            has_died = has_died || arenas_is_size(mapping->n_bytes);
    }
    return has_died;
}

static_assert((int)LARGEST_CHUNK <= (int)CPYTHON_HUGE_ARENA,
              "nothing that we know reaches further");

bool
arenas_unmap(struct arenas *arenas, uint64_t stamp, uint64_t start,
             uint64_t n_bytes)
{
    struct mapping *mapping = find(arenas, start);
    if (mapping != NULL && mapping->death_stamp != 0 &&
        stamp > mapping->death_stamp)
        mapping->death_stamp = stamp; /* its birth in between comes late */
    const bool has_died = die_where_touched(arenas, stamp, start, n_bytes);
    if (mapping == NULL && (arenas_is_size(n_bytes) || is_chunk_size(n_bytes)))
        add_unborn(arenas, stamp, start, n_bytes);
    bury(arenas);
    return has_died || arenas_is_size(n_bytes);
}

void
arenas_forget_order(struct arenas *arenas)
{
    arenas->last_birth_stamp = 0;
}

/* ---- what is known ----------------------------------------------------- */

size_t
arenas_count(const struct arenas *arenas)
{
    size_t n = 0;
    for (size_t i = 0; i < arenas->n_living; i++)
        n += arenas_is_size(arenas->living[i]->n_bytes);
    return n;
}

/* obmalloc maps an arena only when no usable one has room. */
static bool
has_been_full(const struct arenas *arenas, const struct mapping *mapping)
{
    return mapping->was_over || mapping->birth_stamp < arenas->last_birth_stamp;
}

static bool
was_low(const struct mapping *mapping, uint64_t now_us)
{
    return mapping->n_low != 0 &&
           (mapping->last_high_us == 0 ||
            now_us - mapping->last_high_us >= LONG_LOW_US);
}

/*
 * The living without overlaps. Where two do (a system call that no hook sees
 * has unmapped one) the younger is true.
 */
static size_t
choose_living(const struct arenas *arenas, const struct mapping **chosen)
{
    size_t n = 0;
    for (size_t i = 0; i < arenas->n_living; i++) {
        const struct mapping *mapping = arenas->living[i];
        const bool overlaps =
            n != 0 &&
            chosen[n - 1]->start + chosen[n - 1]->n_bytes > mapping->start;
        if (!overlaps)
            chosen[n++] = mapping;
        else if (mapping->birth_stamp > chosen[n - 1]->birth_stamp)
            chosen[n - 1] = mapping;
    }
    return n;
}

struct census_candidate *
arenas_candidates(const struct arenas *arenas, uint64_t now_us, size_t *n)
{
    const struct mapping **living =
        xcalloc(arenas->n_living, sizeof(const struct mapping *));
    *n = choose_living(arenas, living);
    struct census_candidate *candidates = xcalloc(*n, sizeof(*candidates));
    for (size_t i = 0; i < *n; i++) {
        candidates[i] = (struct census_candidate){
            .start = living[i]->start,
            .n_bytes = living[i]->n_bytes,
            .born_us = living[i]->born_us,
            .has_been_full = has_been_full(arenas, living[i]),
            .was_low = was_low(living[i], now_us),
        };
    }
    free(living);
    return candidates;
}

void
arenas_learn(struct arenas *arenas, const struct census *census,
             uint64_t now_us)
{
    for (size_t i = 0; i < census->n_arenas; i++) {
        const struct census_arena *seen = &census->arenas[i];
        struct mapping *mapping = find(arenas, seen->address);
        if (mapping == NULL)
            continue;
        const uint64_t room = (uint64_t)seen->n_pools * seen->pool_bytes;
        mapping->was_over = mapping->was_over || seen->used_bytes * 4 >= room;
        mapping->n_low = seen->is_low ? mapping->n_low + 1 : 0;
        if (!seen->is_low)
            mapping->last_high_us = now_us;
    }
}
