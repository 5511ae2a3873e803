#include "collector/census/typerows.h"

#include <stdlib.h>
#include <string.h>

#include "include/recording.h"
#include "include/xalloc.h"

static int
compare_types(const void *left, const void *right)
{
    const struct census_type *a = left;
    const struct census_type *b = right;
    if (a->n_bytes != b->n_bytes)
        return a->n_bytes < b->n_bytes ? 1 : -1;
    return strcmp(a->name, b->name);
}

static int
compare_names(const void *left, const void *right)
{
    const struct census_type *a = left;
    const struct census_type *b = right;
    return strcmp(a->name, b->name);
}

static void
add_type(struct census_type *sum, const struct census_type *more)
{
    sum->n_objects += more->n_objects;
    sum->n_bytes += more->n_bytes;
    sum->objects_error += more->objects_error;
    sum->bytes_error += more->bytes_error;
    sum->held_exclusive += more->held_exclusive;
    sum->held_split += more->held_split;
    sum->exclusive_bytes += more->exclusive_bytes;
    sum->pinned_exclusive += more->pinned_exclusive;
    sum->pinned_split += more->pinned_split;
    sum->pinned_bytes += more->pinned_bytes;
    sum->n_pinned += more->n_pinned;
    sum->low_held += more->low_held;
    sum->low_bytes += more->low_bytes;
    sum->n_low += more->n_low;
}

/* What it takes, and what it keeps from going back. */
static uint64_t
weight(const struct census_type *type)
{
    return type->n_bytes + type->held_exclusive + type->held_split +
           type->pinned_exclusive + type->pinned_split + type->low_held;
}

static int
compare_weights(const void *left, const void *right)
{
    const uint64_t a = weight(left);
    const uint64_t b = weight(right);
    return a != b ? (a < b) - (a > b) : compare_names(left, right);
}

static size_t
merge_names(struct census_type *rows, size_t n)
{
    size_t kept = 0;
    if (n != 0)
        qsort(rows, n, sizeof(*rows), compare_names);
    for (size_t i = 0; i < n; i++) {
        if (kept != 0 && strcmp(rows[kept - 1].name, rows[i].name) == 0) {
            add_type(&rows[kept - 1], &rows[i]);
            free(rows[i].name);
        } else {
            rows[kept++] = rows[i];
        }
    }
    return kept;
}

/* A class of the program's may be called like the row: then it is part of it.
 */
static size_t
fold(struct census_type *rows, size_t n)
{
    struct census_type *other = &rows[RECORDING_MOST_TYPES - 1];
    qsort(rows, n, sizeof(*rows), compare_weights);
    for (size_t i = RECORDING_MOST_TYPES; i < n; i++) {
        add_type(other, &rows[i]);
        free(rows[i].name);
    }
    free(other->name);
    other->name = xstrdup(RECORDING_TYPE_OTHER);
    return merge_names(rows, RECORDING_MOST_TYPES);
}

size_t
typerows_settle(struct census_type *rows, size_t n)
{
    size_t kept = merge_names(rows, n);
    if (kept > RECORDING_MOST_TYPES)
        kept = fold(rows, kept);
    if (kept != 0)
        qsort(rows, kept, sizeof(*rows), compare_types);
    return kept;
}
