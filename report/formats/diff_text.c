#include <math.h>
#include <stdio.h>
#include <string.h>

#include "include/xalloc.h"
#include "report/formats/diff.h"
#include "report/formats/stats_format.h"
#include "report/units.h"
#include "report/words.h"

enum {
    MOST_ROWS = 10,
    NAME_BYTES = 42, /* what is left of 80 columns */
    LARGE_PART = 10, /* a process under this part of the largest is left out */
};

/* ---- figures ----------------------------------------------------------- */

/* As `units` writes it, with its sign. */
static char *
signed_by(char *(*units)(char *text, int64_t n), char *text, int64_t change)
{
    char size[UNITS_BYTES];
    snprintf(text, UNITS_BYTES, "%s%s", change > 0 ? "+" : "",
             units(size, change));
    return text;
}

static void
put_figure(struct text *text, const char *name, int64_t before, int64_t after)
{
    char was[UNITS_BYTES];
    char is[UNITS_BYTES];
    char change[UNITS_BYTES];
    const int64_t both[] = {before, after};
    if (query_known(before) == 0 && query_known(after) == 0)
        return;
    text_addf(text, "  %-24s %12s %12s %12s\n", name, units_bytes(was, before),
              units_bytes(is, after),
              signed_by(units_bytes, change, difference_change(both)));
}

static void
put_ledger(struct text *text, const struct query_census *before,
           const struct query_census *after)
{
    text_addf(text, "  %-24s %12s %12s %12s\n", "", "before", "after",
              "change");
    put_figure(text, "RSS", before->rss_bytes, after->rss_bytes);
    for (unsigned i = 0; i < N_CAUSES; i++)
        put_figure(text, stats_cause_word(i), before->ledger[i],
                   after->ledger[i]);
    put_figure(text, "live in malloc", before->live_bytes, after->live_bytes);
}

/* ---- tables ------------------------------------------------------------ */

static void
put_row(struct text *text, const struct difference_row *row)
{
    char count[UNITS_BYTES];
    char size[UNITS_BYTES];
    text_addf(text, "  %12s %12s  ",
              signed_by(units_count, count, difference_change(row->count)),
              signed_by(units_bytes, size, difference_change(row->bytes)));
    words_put(text, row->name, NAME_BYTES);
    text_add(text, "\n");
    if (row->bytes_error <= 0)
        return;
    char *blocks = xasprintf(
        "± %s", units_count(count, (int64_t)(row->count_error + 0.5)));
    char *bytes =
        xasprintf("± %s", units_bytes(size, (int64_t)(row->bytes_error + 0.5)));
    text_addf(text, "  %13s %13s\n", blocks, bytes); /* "±" has two bytes */
    free(blocks);
    free(bytes);
}

/* Without any change one of 20 would lie beyond. */
static bool
is_noise(const struct difference_row *row)
{
    return fabs((double)difference_change(row->bytes)) <=
           1.96 * row->bytes_error;
}

static void
put_table(struct text *text, const char *counted, const char *named,
          struct difference_table table)
{
    size_t n_shown = 0;
    size_t n_noise = 0;
    if (table.is_known && table.n != 0)
        text_addf(text, "\n  %12s %12s  %s\n", counted, "bytes", named);
    for (size_t i = 0; table.is_known && i < table.n; i++) {
        const bool is_shown = !is_noise(&table.rows[i]) && n_shown < MOST_ROWS;
        n_noise += is_noise(&table.rows[i]);
        n_shown += is_shown;
        if (is_shown)
            put_row(text, &table.rows[i]);
    }
    if (n_noise != 0)
        text_addf(text, "  %zu whose change is within its error\n", n_noise);
    if (table.n > n_shown + n_noise)
        text_addf(text, "  and %zu more that changed: see --json\n",
                  table.n - n_shown - n_noise);
    difference_free(&table);
}

/* ---- processes --------------------------------------------------------- */

static void
put_side(struct text *text, const char *which,
         const struct difference_side *side)
{
    char at[UNITS_BYTES];
    text_addf(text, "  %-6s  pid %lld, ", which, (long long)side->process->pid);
    if (side->census.id == 0)
        text_add(text, "no census at this moment\n");
    else
        text_addf(text, "%s (%s census)\n", units_clock(at, side->census.t_us),
                  side->census.kind);
}

static void
put_process(struct text *text, const struct diff_process *process)
{
    const struct difference_side *before = &process->before;
    const struct difference_side *after = &process->after;
    const char *program = words_base_name(after->process->exe);
    text_addf(text, "\n%s\n", program == NULL ? "?" : program);
    put_side(text, "before", before);
    put_side(text, "after", after);
    if (before->census.id == 0 || after->census.id == 0)
        return;
    text_add(text, "\n");
    put_ledger(text, &before->census, &after->census);
    put_table(text, "objects", "type", difference_types(before, after));
    put_table(text, "blocks", "live, born at", difference_sites(before, after));
    put_table(text, "objects", "dead, kept for reuse",
              difference_kept(before, after));
}

static int64_t
rss_of(const struct diff_process *process)
{
    const int64_t before =
        process->before.census.id == 0 ? 0 : process->before.census.rss_bytes;
    const int64_t after =
        process->after.census.id == 0 ? 0 : process->after.census.rss_bytes;
    return before > after ? before : after;
}

void
diff_text(struct text *text, struct query *before, struct query *after,
          const struct diff_process *processes, size_t n)
{
    int64_t largest = 0;
    size_t n_small = 0;
    text_addf(text, "before  %s at %s\nafter   %s at %s\n", query_path(before),
              query_moment(before), query_path(after), query_moment(after));
    for (size_t i = 0; i < n; i++)
        largest =
            rss_of(&processes[i]) > largest ? rss_of(&processes[i]) : largest;
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || rss_of(&processes[i]) >= largest / LARGE_PART)
            put_process(text, &processes[i]);
        else
            n_small++;
    }
    if (n == 0)
        text_add(text, "\nNo program is in both.\n");
    if (n_small != 0)
        text_addf(text,
                  "\nand %zu processes under a tenth of the largest: see "
                  "--json\n",
                  n_small);
}
