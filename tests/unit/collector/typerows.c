#include "collector/census/typerows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "include/recording.h"
#include "include/xalloc.h"
#include "tests/unit/check.h"

enum { MOST = RECORDING_MOST_TYPES };

TestSuite(typerows, .timeout = 20);

static struct census_type
row(const char *name, uint64_t n_bytes, uint64_t held)
{
    return (struct census_type){
        .name = xstrdup(name),
        .n_objects = 1,
        .n_bytes = n_bytes,
        .held_split = held,
        .objects_error = 1,
    };
}

/* n of them, named by their number, the first with most bytes. */
static struct census_type *
rows_of(size_t n)
{
    struct census_type *rows = xcalloc(n, sizeof(*rows));
    for (size_t i = 0; i < n; i++) {
        char name[32];
        snprintf(name, sizeof(name), "app.Type%zu", i);
        rows[i] = row(name, 32 * (n - i), 0);
    }
    return rows;
}

static void
free_rows(struct census_type *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(rows[i].name);
    free(rows);
}

static const struct census_type *
find(const struct census_type *rows, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    }
    return NULL;
}

static uint64_t
sum_of(const struct census_type *rows, size_t n)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += rows[i].n_bytes;
    return sum;
}

Test(typerows, types_of_one_name_are_one_row)
{
    struct census_type *rows = xcalloc(3, sizeof(*rows));
    rows[0] = row("app.Same", 32, 5);
    rows[1] = row("app.Other", 80, 0);
    rows[2] = row("app.Same", 64, 6);
    const size_t n = typerows_settle(rows, 3);
    check_eq(n, 2);
    check_text(rows[0].name, "app.Same");
    check_eq(rows[0].n_objects, 2);
    check_eq(rows[0].n_bytes, 96);
    check_eq(rows[0].held_split, 11);
    check_text(rows[1].name, "app.Other");
    free_rows(rows, n);
    check_eq(typerows_settle(NULL, 0), 0);
}

Test(typerows, as_many_as_there_is_room_for_are_kept)
{
    struct census_type *rows = rows_of(MOST);
    check_eq(typerows_settle(rows, MOST), MOST);
    check_true(find(rows, MOST, RECORDING_TYPE_OTHER) == NULL);
    check_text(rows[0].name, "app.Type0");
    free_rows(rows, MOST);
}

Test(typerows, the_least_of_too_many_are_one)
{
    const size_t n_all = MOST + 100;
    struct census_type *rows = rows_of(n_all);
    const uint64_t sum = sum_of(rows, n_all);
    const size_t n = typerows_settle(rows, n_all);
    check_eq(n, MOST);
    const struct census_type *other = find(rows, n, RECORDING_TYPE_OTHER);
    check_true(other != NULL);
    check_eq(other->n_objects, 101);
    check_eq(other->objects_error, 101);
    check_eq(sum_of(rows, n), sum);
    check_true(find(rows, n, "app.Type1022") != NULL);
    check_true(find(rows, n, "app.Type1023") == NULL);
    for (size_t i = 1; i < n; i++)
        check_ge(rows[i - 1].n_bytes, rows[i].n_bytes);
    free_rows(rows, n);
}

Test(typerows, who_holds_much_with_few_bytes_stays)
{
    const size_t n_all = MOST + 100;
    struct census_type *rows = rows_of(n_all);
    rows[n_all - 1].pinned_exclusive = 1 << 20;
    rows[n_all - 2].low_held = 1 << 20;
    rows[n_all - 3].held_exclusive = 1 << 20;
    const size_t n = typerows_settle(rows, n_all);
    for (size_t i = 1; i <= 3; i++) {
        char name[32];
        snprintf(name, sizeof(name), "app.Type%zu", n_all - i);
        check_true(find(rows, n, name) != NULL);
    }
    free_rows(rows, n);
}

Test(typerows, a_class_that_is_called_so_is_part_of_it)
{
    const size_t n_all = MOST + 100;
    struct census_type *rows = rows_of(n_all);
    free(rows[0].name);
    rows[0].name = xstrdup(RECORDING_TYPE_OTHER);
    const uint64_t sum = sum_of(rows, n_all);
    const size_t n = typerows_settle(rows, n_all);
    check_eq(n, MOST - 1);
    check_eq(find(rows, n, RECORDING_TYPE_OTHER)->n_objects, 102);
    check_eq(sum_of(rows, n), sum);
    free_rows(rows, n);
}
