#include <stdlib.h>
#include <string.h>

#include "include/xalloc.h"
#include "report/formats/stats_format.h"
#include "report/units.h"
#include "report/verdict/rules.h"

enum { MOST_LISTS = 5 };

/* ---- JSON -------------------------------------------------------------- */

/* 3.x has no blocks: null, as are lists of which none is known. */
static void
put_blocks27(struct json *json, const struct query_never_returned *never,
             const char *name)
{
    for (size_t i = 0; i < never->n_blocks27; i++) {
        const struct query_blocks27 *blocks = &never->blocks27[i];
        if (strcmp(blocks->name, name) != 0)
            continue;
        json_open(json, name, '{');
        json_number(json, "blocks", blocks->blocks);
        json_number(json, "reserved_bytes", blocks->reserved_bytes);
        json_number(json, "live_bytes", blocks->live_bytes);
        json_number(json, "free_bytes", blocks->free_bytes);
        json_number(json, "pinned_blocks", blocks->pinned_blocks);
        json_number(json, "empty_blocks", blocks->empty_blocks);
        json_close(json, '}');
        return;
    }
    json_null(json, name);
}

static void
put_free_lists(struct json *json, const struct query_never_returned *never)
{
    if (never->n_free_lists == 0) {
        json_null(json, "free_lists");
        return;
    }
    json_open(json, "free_lists", '[');
    for (size_t i = 0; i < never->n_free_lists; i++) {
        json_open(json, NULL, '{');
        json_string(json, "name", never->free_lists[i].name);
        json_number(json, "count", never->free_lists[i].count);
        json_number(json, "bytes", never->free_lists[i].bytes);
        json_close(json, '}');
    }
    json_close(json, ']');
}

static void
put_single(struct json *json, const char *key,
           const struct query_single *single,
           const struct query_single *immortal)
{
    if (single->count == QUERY_UNKNOWN) {
        json_null(json, key);
        return;
    }
    json_open(json, key, '{');
    json_number(json, "count", single->count);
    json_number(json, "bytes", single->bytes);
    if (immortal != NULL) {
        json_number(json, "immortal_count", immortal->count);
        json_number(json, "immortal_bytes", immortal->bytes);
    }
    json_close(json, '}');
}

static void
put_singles(struct json *json, struct query *query,
            const struct query_census *census)
{
    const struct query_singles singles = query_singles(query, census->id);
    put_single(json, "small_ints", &singles.all[SINGLE_small_int], NULL);
    put_single(json, "interned_strings", &singles.all[SINGLE_interned_str],
               &singles.all[SINGLE_immortal_str]);
}

/* 2.7's blocks at each census. */
static void
put_over_time(struct json *json, struct query *query, int64_t process)
{
    size_t n;
    struct query_kept *kept = query_kept(query, process, &n);
    json_open(json, "over_time", '[');
    for (size_t i = 0; i < n; i++) {
        json_open(json, NULL, '{');
        json_number(json, "t_us", kept[i].t_us);
        json_string(json, "name", kept[i].blocks.name);
        json_number(json, "blocks", kept[i].blocks.blocks);
        json_number(json, "live_bytes", kept[i].blocks.live_bytes);
        json_number(json, "free_bytes", kept[i].blocks.free_bytes);
        json_number(json, "pinned_blocks", kept[i].blocks.pinned_blocks);
        json_number(json, "empty_blocks", kept[i].blocks.empty_blocks);
        json_number(json, "given_back_blocks", kept[i].given_back);
        json_close(json, '}');
    }
    json_close(json, ']');
    query_free_kept(kept, n);
}

/* What the version has not, as apart from what is not known. */
static void
put_design(struct json *json, const struct query_census *census,
           bool has_no_blocks)
{
    json_open(json, "none_by_design", '[');
    if (has_no_blocks) {
        json_string(json, NULL, "int");
        json_string(json, NULL, "float");
    }
    json_close(json, ']');
    if (!has_no_blocks) {
        json_null(json, "instead");
        return;
    }
    json_open(json, "instead", '{');
    json_number(json, "pinned_held_bytes", census->pinned_held);
    json_number(json, "holes_bytes", census->ledger[CAUSE_python_holes]);
    json_number(json, "free_pools_bytes",
                census->ledger[CAUSE_python_free_pools]);
    json_close(json, '}');
}

void
stats_kept(struct json *json, struct query *query,
           const struct query_process *process,
           const struct query_census *census)
{
    struct query_never_returned never = query_never_returned(query, census->id);
    const bool has_no_blocks =
        census->id != 0 && rules_has_no_blocks27(process);
    if (never.n_blocks27 == 0 && never.n_free_lists == 0 && !has_no_blocks) {
        json_null(json, "never_returned");
    } else {
        json_open(json, "never_returned", '{');
        put_blocks27(json, &never, "int");
        put_blocks27(json, &never, "float");
        put_free_lists(json, &never);
        put_singles(json, query, census);
        put_design(json, census, has_no_blocks);
        put_over_time(json, query, process->id);
        json_close(json, '}');
    }
    query_free_never_returned(&never);
}

/* ---- text -------------------------------------------------------------- */

/* A paragraph; takes the words. */
static void
put_words(struct text *text, char *words)
{
    text_add(text, "  ");
    stats_put_wrapped(text, 4, words);
    free(words);
}

static void
put_blocks27_text(struct text *text, const struct query_blocks27 *blocks)
{
    char figures[6][UNITS_BYTES];
    put_words(text,
              xasprintf("%s block%s of %ss: %s, %s of it live, %s free; one %s "
                        "alone keeps %s of them, none %s",
                        units_count(figures[0], blocks->blocks),
                        blocks->blocks == 1 ? "" : "s", blocks->name,
                        units_bytes(figures[1], blocks->reserved_bytes),
                        units_bytes(figures[2], blocks->live_bytes),
                        units_bytes(figures[3], blocks->free_bytes),
                        blocks->name,
                        units_count(figures[4], blocks->pinned_blocks),
                        units_count(figures[5], blocks->empty_blocks)));
}

static void
put_lists(struct text *text, const struct query_never_returned *never)
{
    struct text words = {0};
    for (size_t i = 0; i < never->n_free_lists && i < MOST_LISTS; i++) {
        const struct query_free_list *list = &never->free_lists[i];
        char count[UNITS_BYTES];
        char size[UNITS_BYTES];
        if (list->count != 0)
            text_addf(&words, "%s%s %s (%s)", i == 0 ? "" : ", ",
                      units_count(count, list->count), list->name,
                      units_bytes(size, list->bytes));
    }
    if (words.n_bytes != 0) {
        text_add(text, "  free lists: ");
        stats_put_wrapped(text, 14, text_of(&words));
    }
    text_finish(&words);
}

/* How many blocks of a kind were given back, and when most of them. */
static void
put_given_back(struct text *text, const struct query_kept *kept, size_t n,
               const char *name)
{
    char figures[4][UNITS_BYTES];
    int64_t sum = 0;
    size_t most = n;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(kept[i].blocks.name, name) != 0 ||
            query_known(kept[i].given_back) <= 0)
            continue;
        sum += kept[i].given_back;
        if (most == n || kept[i].given_back > kept[most].given_back)
            most = i;
    }
    if (most == n || most == 0)
        return;
    put_words(text,
              xasprintf("at least %s blocks of %ss were given back by full "
                        "collections, most of them (%s) from %s to %s",
                        units_count(figures[0], sum), name,
                        units_count(figures[1], kept[most].given_back),
                        units_clock(figures[2], kept[most - 1].t_us),
                        units_clock(figures[3], kept[most].t_us)));
}

static void
put_history(struct text *text, struct query *query, int64_t process)
{
    size_t n;
    struct query_kept *kept = query_kept(query, process, &n);
    put_given_back(text, kept, n, "int");
    put_given_back(text, kept, n, "float");
    query_free_kept(kept, n);
}

/* Objects that are there once for all who use them. */
static void
put_singles_text(struct text *text, struct query *query,
                 const struct query_process *process,
                 const struct query_census *census)
{
    const struct query_singles singles = query_singles(query, census->id);
    const struct query_single *ints = &singles.all[SINGLE_small_int];
    const struct query_single *strings = &singles.all[SINGLE_interned_str];
    const struct query_single *immortal = &singles.all[SINGLE_immortal_str];
    char figures[4][UNITS_BYTES];
    if (ints->count == 0 && rules_has_no_blocks27(process))
        put_words(text, xstrdup("small ints: none in the heap by design, they "
                                "are in the interpreter's image"));
    else if (ints->count != QUERY_UNKNOWN)
        put_words(text, xasprintf("small ints: %s (%s), there for ever",
                                  units_count(figures[0], ints->count),
                                  units_bytes(figures[1], ints->bytes)));
    if (strings->count != QUERY_UNKNOWN)
        put_words(text,
                  xasprintf("interned strings: %s (%s), there for ever %s (%s)",
                            units_count(figures[0], strings->count),
                            units_bytes(figures[1], strings->bytes),
                            units_count(figures[2], immortal->count),
                            units_bytes(figures[3], immortal->bytes)));
}

/* A version without such blocks, and what holds memory there. */
static void
put_design_text(struct text *text, const struct query_process *process,
                const struct query_census *census)
{
    char figures[4][UNITS_BYTES];
    if (!rules_has_no_blocks27(process))
        return;
    put_words(
        text,
        xasprintf(
            "blocks of ints and floats: none by design. CPython 3 "
            "has its ints and floats in arenas; what holds memory "
            "instead are pinned arenas (%s, which hold %s), holes "
            "(%s) and free pools (%s)",
            units_count(figures[0], census->arenas_pinned),
            units_bytes(figures[1], census->pinned_held),
            units_bytes(figures[2], census->ledger[CAUSE_python_holes]),
            units_bytes(figures[3], census->ledger[CAUSE_python_free_pools])));
}

void
stats_kept_text(struct text *text, struct query *query,
                const struct query_process *process,
                const struct query_census *census)
{
    struct query_never_returned never = query_never_returned(query, census->id);
    if (never.n_blocks27 != 0 || never.n_free_lists != 0 ||
        rules_has_no_blocks27(process))
        text_add(text, "\n  never returned\n");
    for (size_t i = 0; i < never.n_blocks27; i++)
        put_blocks27_text(text, &never.blocks27[i]);
    put_history(text, query, process->id);
    put_design_text(text, process, census);
    put_lists(text, &never);
    put_singles_text(text, query, process, census);
    query_free_never_returned(&never);
}
