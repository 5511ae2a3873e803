#include "report/garbage.h"

#include <stdlib.h>
#include <string.h>

#include "include/attrs.h"
#include "include/cpython.h"
#include "include/xalloc.h"

/* More than any address space has room for: a figure of no sound recording. */
#define MOST_OBJECTS (INT64_C(1) << 43)

/* A process' collections, largest first, and what is around them. */
struct search {
    struct query *query;
    const struct query_process *process;
    struct query_collection *collections;
    size_t n_collections;
    struct query_typed *censuses;
    size_t n_censuses;
    int64_t lane_since_us;
};

/* One of a type: what two censuses say of it. */
struct vanished {
    char *name; /* of query_types */
    int64_t count;
    int64_t bytes;
};

struct difference {
    struct vanished *all; /* most bytes first */
    size_t n;
    int64_t count;
    int64_t bytes_error; /* as far as sizes of a type's objects differ */
};

/* ---- two censuses ------------------------------------------------------ */

static int
compare_names(const void *left, const void *right)
{
    const struct query_type *a = left;
    const struct query_type *b = right;
    return strcmp(a->name, b->name);
}

static int
compare_bytes(const void *left, const void *right)
{
    const struct vanished *a = left;
    const struct vanished *b = right;
    if (a->bytes != b->bytes)
        return a->bytes < b->bytes ? 1 : -1;
    return strcmp(a->name, b->name);
}

/*
 * Types that no version's collector counts; in parentheses is what is no type.
 * Of others, say a module's, it is not known: what is wrong with that shows in
 * the error, as more has vanished than was collected.
 */
static bool
is_counted(const char *name)
{
    static const char *const uncounted[] = {
        "NoneType", "bool", "bytearray", "bytes",          "code", "complex",
        "float",    "int",  "range",     "range_iterator", "str",
    };
    if (name[0] == '(')
        return false;
    for (size_t i = 0; i < countof(uncounted); i++) {
        if (strcmp(name, uncounted[i]) == 0)
            return false;
    }
    return true;
}

static bool
is_sound(const struct query_type *type)
{
    return type->count >= 0 && type->count <= MOST_OBJECTS &&
           type->bytes >= 0 &&
           type->bytes <= type->count * CPYTHON_LARGEST_BLOCK;
}

/*
 * Those that are gone had the bytes that are gone, unless others came that are
 * larger or smaller: then they had as many as the type's mean, and the largest
 * block at most.
 */
static void
add_vanished(struct difference *difference, const struct query_type *before,
             const struct query_type *after)
{
    const int64_t count = before->count - (after == NULL ? 0 : after->count);
    int64_t bytes = before->bytes - (after == NULL ? 0 : after->bytes);
    if (count <= 0)
        return;
    if (bytes <= 0 || bytes > count * CPYTHON_LARGEST_BLOCK) {
        bytes = (int64_t)((double)before->bytes / (double)before->count *
                          (double)count);
        difference->bytes_error += count * CPYTHON_LARGEST_BLOCK;
    }
    difference->all[difference->n++] =
        (struct vanished){before->name, count, bytes};
    difference->count += count;
}

/* What is added up in one row, or was not read, is not taken for vanished. */
static struct difference
difference_of(struct query_type *before, size_t n_before,
              struct query_type *after, size_t n_after, bool is_whole)
{
    struct difference difference = {
        .all = xcalloc(n_before, sizeof(*difference.all)),
    };
    if (n_after != 0)
        qsort(after, n_after, sizeof(*after), compare_names);
    for (size_t i = 0; i < n_before; i++) {
        const struct query_type *now =
            n_after == 0 ? NULL
                         : bsearch(&before[i], after, n_after, sizeof(*after),
                                   compare_names);
        if (!is_counted(before[i].name) || !is_sound(&before[i]) ||
            (now == NULL ? !is_whole : !is_sound(now)) ||
            difference.count > MOST_OBJECTS)
            continue;
        add_vanished(&difference, &before[i], now);
    }
    qsort(difference.all, difference.n, sizeof(difference.all[0]),
          compare_bytes);
    return difference;
}

/* ---- one collection ---------------------------------------------------- */

/*
 * The part of a sum up to here that is part of all: rounded sums, so that what
 * lies between them adds up.
 */
static int64_t
part_of(int64_t sum, int64_t part, int64_t all)
{
    if (part >= all || sum >= all)
        return sum < part ? sum : part;
    const int64_t rounded =
        (int64_t)((long double)sum * (long double)part / (long double)all);
    return rounded < part ? rounded : part;
}

/* Of all that vanished as many as were collected, each type in proportion. */
static void
share(struct garbage *garbage, const struct difference *difference)
{
    int64_t sum = 0;
    garbage->types = xcalloc(difference->n, sizeof(garbage->types[0]));
    for (size_t i = 0; i < difference->n; i++) {
        const struct vanished *vanished = &difference->all[i];
        sum += vanished->count;
        const int64_t count =
            part_of(sum, garbage->collection.collected, difference->count) -
            garbage->objects;
        if (count <= 0)
            continue;
        const int64_t bytes =
            count == vanished->count
                ? vanished->bytes
                : (int64_t)((double)vanished->bytes / (double)vanished->count *
                            (double)count);
        garbage->types[garbage->n_types++] = (struct garbage_type){
            .name = xstrdup(vanished->name),
            .count = count,
            .bytes = bytes,
        };
        garbage->objects += count;
        garbage->bytes += bytes;
    }
}

/* What other collections freed while this one lay between its censuses. */
static int64_t
collected_by_others(const struct search *search,
                    const struct query_collection *own,
                    const struct query_typed *before,
                    const struct query_typed *after)
{
    int64_t n = 0;
    for (size_t i = 0; i < search->n_collections; i++) {
        const struct query_collection *other = &search->collections[i];
        if (other != own && other->collected > 0 &&
            other->t_us <= after->end_us &&
            other->t_us + query_known(other->pause_us) >= before->start_us)
            n += other->collected > MOST_OBJECTS ? MOST_OBJECTS
                                                 : other->collected;
    }
    return n;
}

/*
 * What vanished and was not collected died in another way, and may be of any
 * type; as may what was collected and is not missed, for others were born. Of
 * an unknown number nothing is left to say but that all may be wrong.
 */
static void
set_errors(struct garbage *garbage, const struct difference *difference,
           int64_t n_others, bool is_whole)
{
    const int64_t collected = garbage->collection.collected;
    const int64_t apart = difference->count > collected
                              ? difference->count - collected
                              : collected - difference->count;
    garbage->objects_error =
        is_whole && apart + n_others < collected ? apart + n_others : collected;
    garbage->bytes_error =
        is_whole ? garbage->objects_error * CPYTHON_LARGEST_BLOCK +
                       difference->bytes_error
                 : QUERY_UNKNOWN;
}

static struct garbage
garbage_between(const struct search *search, const struct query_collection *own,
                const struct query_typed *before,
                const struct query_typed *after)
{
    size_t n_before;
    size_t n_after;
    struct query_type *was =
        query_types(search->query, before->census, &n_before);
    struct query_type *is = query_types(search->query, after->census, &n_after);
    struct difference difference =
        difference_of(was, n_before, is, n_after, after->is_whole);
    struct garbage garbage = {
        .collection = *own,
        .before_us = before->start_us,
        .after_us = after->start_us,
    };
    share(&garbage, &difference);
    set_errors(&garbage, &difference,
               collected_by_others(search, own, before, after),
               before->is_whole && after->is_whole &&
                   query_known(search->process->lost_events) == 0 &&
                   search->lane_since_us <= before->start_us);
    free(difference.all);
    query_free_types(was, n_before);
    query_free_types(is, n_after);
    return garbage;
}

/* ---- all --------------------------------------------------------------- */

static int
compare_collected(const void *left, const void *right)
{
    const struct query_collection *a = left;
    const struct query_collection *b = right;
    if (a->collected != b->collected)
        return a->collected < b->collected ? 1 : -1;
    return (a->t_us > b->t_us) - (a->t_us < b->t_us);
}

/* The first census that began after the moment; all: none has. */
static size_t
first_after(const struct search *search, int64_t t_us)
{
    size_t low = 0;
    size_t high = search->n_censuses;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (search->censuses[middle].start_us > t_us)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* At most one census is being taken, so one before may not have ended. */
static bool
find_window(const struct search *search, const struct query_collection *own,
            size_t *before, size_t *after)
{
    *after = first_after(search, own->t_us + own->pause_us);
    *before = first_after(search, own->t_us);
    for (int i = 0; i < 2 && *before > 0; i++) {
        const struct query_typed *last = &search->censuses[--*before];
        if (last->end_us <= own->t_us)
            return *after < search->n_censuses &&
                   last->image == search->censuses[*after].image;
    }
    return false;
}

static bool
is_taken(const struct garbage *all, size_t n, const struct query_typed *before,
         const struct query_typed *after)
{
    for (size_t i = 0; i < n; i++) {
        if (all[i].before_us == before->start_us &&
            all[i].after_us == after->start_us)
            return true;
    }
    return false;
}

static struct garbage *
largest(const struct search *search, size_t *n)
{
    struct garbage *all = xcalloc(GARBAGE_MOST, sizeof(*all));
    for (size_t i = 0; i < search->n_collections && *n < GARBAGE_MOST; i++) {
        const struct query_collection *own = &search->collections[i];
        size_t before;
        size_t after;
        if (own->collected < GARBAGE_LEAST_COLLECTED)
            break;
        if (own->collected > MOST_OBJECTS || own->pause_us < 0 ||
            !find_window(search, own, &before, &after) ||
            is_taken(all, *n, &search->censuses[before],
                     &search->censuses[after]))
            continue;
        all[(*n)++] = garbage_between(search, own, &search->censuses[before],
                                      &search->censuses[after]);
    }
    return all;
}

struct garbage *
garbage_of(struct query *query, const struct query_process *process, size_t *n)
{
    struct search search = {.query = query, .process = process};
    *n = 0;
    search.collections =
        query_collections(query, process->id, &search.n_collections);
    search.censuses =
        query_typed_censuses(query, process->id, &search.n_censuses);
    search.lane_since_us = query_collections_since(query);
    if (search.n_collections != 0)
        qsort(search.collections, search.n_collections,
              sizeof(search.collections[0]), compare_collected);
    struct garbage *all = largest(&search, n);
    free(search.collections);
    free(search.censuses);
    return all;
}

void
garbage_free(struct garbage *all, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < all[i].n_types; j++)
            free(all[i].types[j].name);
        free(all[i].types);
    }
    free(all);
}
