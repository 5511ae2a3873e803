/*
 * The living lie in an ascending array without overlaps. What ends is kept for
 * a while in a ring: an older event that comes late must not bring it back, and
 * a child that was forked before has it still.
 */
#include "collector/model/mappings.h"

#include <stdlib.h>
#include <string.h>

#include "include/xalloc.h"

enum {
    ENDINGS = 4096,
    MOST_MAPPINGS = 1 << 18, /* beyond them a mapping is unexplained */
};

struct piece {
    uint64_t start;
    uint64_t end;
    uint64_t caller;
    uint64_t stamp; /* of its birth */
};

/* A range that ended at a stamp, with what had been there; born 0: nothing. */
struct ending {
    struct piece was;
    uint64_t stamp;
    uint64_t heard_us;
};

struct pieces {
    struct piece *items;
    size_t n;
    size_t capacity;
};

struct mappings {
    struct pieces living;
    struct pieces fresh; /* what takes the place of some, while it does */
    struct ending endings[ENDINGS];
    size_t n_endings;      /* ever */
    uint64_t latest_unmap; /* the greatest stamp of one */
    uint64_t now_us;
};

struct mappings *
mappings_create(void)
{
    return xcalloc(1, sizeof(struct mappings));
}

void
mappings_destroy(struct mappings *mappings)
{
    if (mappings == NULL)
        return;
    free(mappings->living.items);
    free(mappings->fresh.items);
    free(mappings);
}

/* ---- the array --------------------------------------------------------- */

/* The first piece that ends behind an address. */
static size_t
first_behind(const struct pieces *living, uint64_t addr)
{
    size_t low = 0;
    size_t high = living->n;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (living->items[middle].end <= addr)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* An empty one is left out. */
static void
push(struct pieces *pieces, struct piece piece)
{
    if (piece.start >= piece.end)
        return;
    XGROW(pieces->items, pieces->capacity, pieces->n);
    pieces->items[pieces->n++] = piece;
}

/* The part of a piece that lies in [start, end). */
static struct piece
part_of(struct piece piece, uint64_t start, uint64_t end)
{
    piece.start = piece.start < start ? start : piece.start;
    piece.end = piece.end < end ? piece.end : end;
    return piece;
}

/* The living ones from first up to behind give way to the fresh ones. */
static void
replace(struct mappings *mappings, size_t first, size_t behind)
{
    struct pieces *living = &mappings->living;
    const size_t n_kept = living->n - (behind - first);
    size_t n_fresh = mappings->fresh.n;
    if (n_kept + n_fresh > MOST_MAPPINGS)
        n_fresh = MOST_MAPPINGS - n_kept;
    if (n_fresh == 0 && first == behind)
        return;
    XGROW(living->items, living->capacity, n_kept + n_fresh);
    memmove(&living->items[first + n_fresh], &living->items[behind],
            (living->n - behind) * sizeof(living->items[0]));
    if (n_fresh != 0)
        memcpy(&living->items[first], mappings->fresh.items,
               n_fresh * sizeof(living->items[0]));
    living->n = n_kept + n_fresh;
}

static void
note_ending(struct mappings *mappings, struct piece was, uint64_t stamp)
{
    mappings->endings[mappings->n_endings++ % ENDINGS] =
        (struct ending){was, stamp, mappings->now_us};
}

/* ---- events ------------------------------------------------------------ */

/* Ends what is older than the stamp in [start, end). */
static void
carve(struct mappings *mappings, uint64_t stamp, uint64_t start, uint64_t end)
{
    const struct pieces *living = &mappings->living;
    struct pieces *fresh = &mappings->fresh;
    const size_t first = first_behind(living, start);
    size_t at = first;
    fresh->n = 0;
    for (; at < living->n && living->items[at].start < end; at++) {
        const struct piece piece = living->items[at];
        if (piece.stamp > stamp) {
            push(fresh, piece);
            continue;
        }
        push(fresh, part_of(piece, 0, start));
        push(fresh, part_of(piece, end, UINT64_MAX));
        note_ending(mappings, part_of(piece, start, end), stamp);
    }
    replace(mappings, first, at);
}

void
mappings_unmap(struct mappings *mappings, uint64_t stamp, uint64_t start,
               uint64_t n_bytes)
{
    const uint64_t end = start + n_bytes;
    if (end <= start)
        return;
    carve(mappings, stamp, start, end);
    note_ending(mappings, (struct piece){start, end, 0, 0}, stamp);
    if (stamp > mappings->latest_unmap)
        mappings->latest_unmap = stamp;
}

/* What is new of a piece: not where younger ones are already. */
static void
fill_gaps(struct mappings *mappings, struct piece piece)
{
    const struct pieces *living = &mappings->living;
    struct pieces *fresh = &mappings->fresh;
    const size_t first = first_behind(living, piece.start);
    size_t at = first;
    uint64_t floor = piece.start;
    fresh->n = 0;
    for (; at < living->n && living->items[at].start < piece.end; at++) {
        push(fresh, part_of(piece, floor, living->items[at].start));
        push(fresh, living->items[at]);
        floor = living->items[at].end;
    }
    push(fresh, part_of(piece, floor, piece.end));
    replace(mappings, first, at);
}

static int
compare_endings(const void *left, const void *right)
{
    const struct ending *a = left;
    const struct ending *b = right;
    return (a->stamp > b->stamp) - (a->stamp < b->stamp);
}

/* The endings that are remembered: the first of them. */
static size_t
first_ending(const struct mappings *mappings)
{
    const size_t n = mappings->n_endings;
    return n < ENDINGS ? 0 : n - ENDINGS;
}

/* Ends again what had ended before its birth was told: the first one did. */
static void
repeat_endings(struct mappings *mappings, uint64_t stamp, uint64_t start,
               uint64_t end)
{
    struct ending *later = xcalloc(ENDINGS, sizeof(*later));
    size_t n_later = 0;
    for (size_t i = first_ending(mappings); i < mappings->n_endings; i++) {
        const struct ending *ending = &mappings->endings[i % ENDINGS];
        if (ending->stamp > stamp && ending->was.start < end &&
            ending->was.end > start && ending->was.stamp == 0)
            later[n_later++] = *ending;
    }
    qsort(later, n_later, sizeof(*later), compare_endings);
    for (size_t i = 0; i < n_later; i++)
        carve(mappings, later[i].stamp, later[i].was.start, later[i].was.end);
    free(later);
}

void
mappings_map(struct mappings *mappings, uint64_t stamp, uint64_t start,
             uint64_t n_bytes, uint64_t caller)
{
    const uint64_t end = start + n_bytes;
    if (end <= start)
        return;
    carve(mappings, stamp, start, end);
    fill_gaps(mappings, (struct piece){start, end, caller, stamp});
    if (mappings->latest_unmap > stamp)
        repeat_endings(mappings, stamp, start, end);
}

/* ---- what is known ----------------------------------------------------- */

/* The living up to a stamp, without how they came to be. */
static struct mappings *
copy(const struct mappings *mappings, uint64_t stamp)
{
    struct mappings *copy = mappings_create();
    for (size_t i = 0; i < mappings->living.n; i++) {
        if (mappings->living.items[i].stamp <= stamp)
            push(&copy->living, mappings->living.items[i]);
    }
    return copy;
}

struct mappings *
mappings_clone(const struct mappings *mappings, uint64_t stamp)
{
    struct mappings *clone = copy(mappings, stamp);
    for (size_t i = first_ending(mappings); i < mappings->n_endings; i++) {
        const struct ending *ending = &mappings->endings[i % ENDINGS];
        if (ending->was.stamp != 0 && ending->was.stamp <= stamp &&
            ending->stamp > stamp)
            fill_gaps(clone, ending->was);
    }
    return clone;
}

void
mappings_set_time(struct mappings *mappings, uint64_t now_us)
{
    mappings->now_us = now_us;
}

struct census_mapping *
mappings_list(const struct mappings *mappings, uint64_t since_us, size_t *n)
{
    struct mappings *all = copy(mappings, UINT64_MAX);
    for (size_t i = mappings->n_endings; i > first_ending(mappings); i--) {
        const struct ending *ending = &mappings->endings[(i - 1) % ENDINGS];
        if (ending->heard_us < since_us)
            break;
        if (ending->was.stamp != 0)
            fill_gaps(all, ending->was);
    }
    struct census_mapping *list = xcalloc(all->living.n, sizeof(*list));
    for (size_t i = 0; i < all->living.n; i++) {
        const struct piece *piece = &all->living.items[i];
        list[i] =
            (struct census_mapping){piece->start, piece->end, piece->caller};
    }
    *n = all->living.n;
    mappings_destroy(all);
    return list;
}
