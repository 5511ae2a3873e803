#include "report/difference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "include/text.h"
#include "include/xalloc.h"
#include "report/words.h"

/* ---- joining ----------------------------------------------------------- */

/* One side's figures under a name. */
struct entry {
    char *name; /* owned */
    unsigned side;
    int64_t count;
    int64_t bytes;
    int64_t count_error;
    int64_t bytes_error;
};

struct entries {
    struct entry *entries;
    size_t n;
    size_t capacity;
    bool has_rest[2]; /* a side: what it does not name may be in a sum */
};

static void
add(struct entries *entries, struct entry entry)
{
    XGROW(entries->entries, entries->capacity, entries->n);
    entries->entries[entries->n++] = entry;
}

static int
compare_names(const void *left, const void *right)
{
    const struct entry *a = left;
    const struct entry *b = right;
    const int order = strcmp(a->name, b->name);
    return order != 0 ? order : (int)a->side - (int)b->side;
}

int64_t
difference_change(const int64_t figures[2])
{
    if (figures[0] == QUERY_UNKNOWN || figures[1] == QUERY_UNKNOWN)
        return QUERY_UNKNOWN;
    return (int64_t)((uint64_t)figures[1] - (uint64_t)figures[0]);
}

/* A change that is not known may be as much as there is. */
static double
weight(const struct difference_row *row)
{
    const int64_t change = difference_change(row->bytes);
    return fabs((double)(change != QUERY_UNKNOWN
                             ? change
                             : query_known(row->bytes[0]) +
                                   query_known(row->bytes[1])));
}

static int
compare_weights(const void *left, const void *right)
{
    const double a = weight(left);
    const double b = weight(right);
    const struct difference_row *const l = left;
    const struct difference_row *const r = right;
    return a != b ? (a < b) - (a > b) : strcmp(l->name, r->name);
}

static bool
has_changed(const struct difference_row *row)
{
    return row->count[0] != row->count[1] || row->bytes[0] != row->bytes[1];
}

static void
fold(struct difference_row *row, const struct entry *entry)
{
    row->count[entry->side] += query_known(entry->count);
    row->bytes[entry->side] += query_known(entry->bytes);
    row->count_error =
        hypot(row->count_error, (double)query_known(entry->count_error));
    row->bytes_error =
        hypot(row->bytes_error, (double)query_known(entry->bytes_error));
}

/* Of what a side does not name it has none, or nobody knows. */
static void
doubt(struct difference_row *row, const struct entries *entries,
      const bool is_named[2])
{
    for (unsigned side = 0; side < 2; side++) {
        if (!is_named[side] && entries->has_rest[side])
            row->count[side] = row->bytes[side] = QUERY_UNKNOWN;
    }
}

/* Takes the entries. */
static void
join(struct difference_table *table, struct entries *entries)
{
    size_t capacity = 0;
    if (entries->n != 0)
        qsort(entries->entries, entries->n, sizeof(entries->entries[0]),
              compare_names);
    for (size_t i = 0; i < entries->n;) {
        struct difference_row row = {.name = entries->entries[i].name};
        bool is_named[2] = {false, false};
        is_named[entries->entries[i].side] = true;
        fold(&row, &entries->entries[i++]);
        while (i < entries->n &&
               strcmp(entries->entries[i].name, row.name) == 0) {
            is_named[entries->entries[i].side] = true;
            fold(&row, &entries->entries[i]);
            free(entries->entries[i++].name);
        }
        doubt(&row, entries, is_named);
        if (!has_changed(&row)) {
            free(row.name);
            continue;
        }
        XGROW(table->rows, capacity, table->n);
        table->rows[table->n++] = row;
    }
    if (table->n != 0)
        qsort(table->rows, table->n, sizeof(table->rows[0]), compare_weights);
    free(entries->entries);
}

void
difference_free(struct difference_table *table)
{
    for (size_t i = 0; i < table->n; i++)
        free(table->rows[i].name);
    free(table->rows);
}

/* ---- what is joined ---------------------------------------------------- */

/* False: the side does not know. */
typedef bool read_side(const struct difference_side *side, unsigned which,
                       struct entries *entries, int64_t *t_us);

static struct difference_table
table_of(read_side *read, const struct difference_side *before,
         const struct difference_side *after)
{
    struct difference_table table = {0};
    struct entries entries = {0};
    const bool has_before = read(before, 0, &entries, &table.t_us[0]);
    const bool has_after = read(after, 1, &entries, &table.t_us[1]);
    table.is_known = has_before && has_after;
    if (table.is_known) {
        join(&table, &entries);
        return table;
    }
    for (size_t i = 0; i < entries.n; i++)
        free(entries.entries[i].name);
    free(entries.entries);
    return table;
}

static bool
read_types(const struct difference_side *side, unsigned which,
           struct entries *entries, int64_t *t_us)
{
    const struct query_census typed =
        query_census_with_types(side->query, &side->census);
    size_t n = 0;
    struct query_type *types =
        typed.id == 0 ? NULL : query_types(side->query, typed.id, &n);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(types[i].name, RECORDING_TYPE_OTHER) == 0)
            entries->has_rest[which] = true;
        add(entries, (struct entry){
                         .name = xstrdup(types[i].name),
                         .side = which,
                         .count = types[i].count,
                         .bytes = types[i].bytes,
                         .count_error = types[i].count_error,
                         .bytes_error = types[i].bytes_error,
                     });
    }
    query_free_types(types, n);
    *t_us = typed.t_us;
    return typed.id != 0;
}

struct difference_table
difference_types(const struct difference_side *before,
                 const struct difference_side *after)
{
    return table_of(read_types, before, after);
}

/* A frame by its function; without one by its place in a file. */
static void
name_frame(struct text *name, const struct query_frame *frame)
{
    if (frame->function != NULL)
        text_add(name, frame->function);
    else
        text_addf(name, "%s+0x%llx",
                  frame->module == NULL ? "" : words_base_name(frame->module),
                  (unsigned long long)query_known(frame->offset));
    if (frame->line != QUERY_UNKNOWN && frame->file != NULL)
        text_addf(name, " (%s:%lld)", words_base_name(frame->file),
                  (long long)frame->line);
}

static char *
name_site(const struct query_site *site)
{
    struct text name = {0};
    if (site->id == RECORDING_SITE_UNKNOWN)
        text_add(&name, "(their stack is not known)");
    else if (site->id == RECORDING_SITE_OTHER)
        text_add(&name, "(all smaller sites)");
    for (size_t i = 0; i < site->n_frames; i++) {
        text_add(&name, i == 0 ? "" : " < ");
        name_frame(&name, &site->frames[i]);
    }
    return text_take(&name);
}

static bool
read_sites(const struct difference_side *side, unsigned which,
           struct entries *entries, int64_t *t_us)
{
    struct query_sites sites =
        query_sites(side->query, side->process->id, &side->census);
    for (size_t i = 0; i < sites.n; i++)
        add(entries, (struct entry){
                         .name = name_site(&sites.sites[i]),
                         .side = which,
                         .count = sites.sites[i].live_blocks,
                         .bytes = sites.sites[i].live_bytes,
                         .count_error = sites.sites[i].live_blocks_error,
                         .bytes_error = sites.sites[i].live_bytes_error,
                     });
    *t_us = sites.t_us;
    const bool is_known = sites.is_known;
    query_free_sites(&sites);
    return is_known;
}

struct difference_table
difference_sites(const struct difference_side *before,
                 const struct difference_side *after)
{
    return table_of(read_sites, before, after);
}

static bool
read_kept(const struct difference_side *side, unsigned which,
          struct entries *entries, int64_t *t_us)
{
    *t_us = side->census.t_us;
    if (side->census.id == 0 ||
        side->census.ledger[CAUSE_python_never_returned] == QUERY_UNKNOWN)
        return false;
    struct query_never_returned never =
        query_never_returned(side->query, side->census.id);
    for (size_t i = 0; i < never.n_blocks27; i++)
        add(entries,
            (struct entry){
                .name = xasprintf("room for dead %ss", never.blocks27[i].name),
                .side = which,
                .count = never.blocks27[i].blocks,
                .bytes = never.blocks27[i].free_bytes,
            });
    for (size_t i = 0; i < never.n_free_lists; i++)
        add(entries, (struct entry){
                         .name = xstrdup(never.free_lists[i].name),
                         .side = which,
                         .count = never.free_lists[i].count,
                         .bytes = never.free_lists[i].bytes,
                     });
    query_free_never_returned(&never);
    return true;
}

struct difference_table
difference_kept(const struct difference_side *before,
                const struct difference_side *after)
{
    return table_of(read_kept, before, after);
}

/* ---- processes --------------------------------------------------------- */

static const char *
program_of(const struct query_process *process)
{
    return process->exe == NULL ? "" : words_base_name(process->exe);
}

/* Of each process the how many-th of its program it is, from 0. */
static size_t *
places_of(const struct query_process *processes, size_t n)
{
    size_t *places = xcalloc(n + 1, sizeof(*places));
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < i; k++)
            places[i] += strcmp(program_of(&processes[k]),
                                program_of(&processes[i])) == 0;
    }
    return places;
}

struct difference_pair *
difference_pairs(const struct difference_processes *before,
                 const struct difference_processes *after,
                 bool is_same_recording, size_t *n)
{
    struct difference_pair *pairs = xcalloc(before->n + 1, sizeof(*pairs));
    size_t *were = places_of(before->processes, before->n);
    size_t *are = places_of(after->processes, after->n);
    *n = 0;
    for (size_t i = 0; i < before->n; i++) {
        const struct query_process *was = &before->processes[i];
        for (size_t k = 0; k < after->n; k++) {
            const struct query_process *is = &after->processes[k];
            const bool is_it =
                is_same_recording
                    ? was->id == is->id
                    : were[i] == are[k] &&
                          strcmp(program_of(was), program_of(is)) == 0;
            if (!is_it)
                continue;
            pairs[(*n)++] = (struct difference_pair){was, is};
            break;
        }
    }
    free(were);
    free(are);
    return pairs;
}
