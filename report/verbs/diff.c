/*
 * residue diff - what two moments differ in
 */
#include <stdlib.h>
#include <string.h>

#include "include/text.h"
#include "include/xalloc.h"
#include "report/formats/diff.h"
#include "report/verb.h"
#include "report/verbs/arguments.h"

static const char help[] =
    "usage: residue diff [--json] A[@MOMENT] B[@MOMENT]\n"
    "\n"
    "What changed from A to B, of one recording or of two: the causes of\n"
    "resident bytes, objects by type, live blocks by the place they were born\n"
    "at, what the interpreter keeps. Of two recordings the programs that both\n"
    "have are compared, in the order of their start.\n"
    "MOMENT is start, peak, end (the default), a time (01:10.5) or a mark.\n"
    "\n"
    "  --json   {\"schema\":\"residue.diff/1\", ...}\n";

struct side {
    struct query *query;
    struct query_process *processes;
    size_t n;
};

static struct side
open_side(const char *target)
{
    struct side side = {.query = arguments_open(target)};
    side.processes = query_processes(side.query, &side.n);
    arguments_check(side.query);
    return side;
}

static void
close_side(struct side *side)
{
    query_free_processes(side->processes, side->n);
    query_close(side->query);
}

/* Malloc's counters go with the moment. */
static struct difference_side
at_moment(const struct side *side, const struct query_process *process)
{
    struct difference_side at = {.query = side->query, .process = process};
    at.census =
        query_census_at(side->query, process->id, query_moment(side->query));
    query_count_at(side->query, &side->processes[process - side->processes],
                   &at.census);
    return at;
}

static struct diff_process *
pair_up(const struct side *before, const struct side *after, size_t *n)
{
    const struct difference_processes were = {before->processes, before->n};
    const struct difference_processes are = {after->processes, after->n};
    const bool is_same =
        strcmp(query_path(before->query), query_path(after->query)) == 0;
    struct difference_pair *pairs = difference_pairs(&were, &are, is_same, n);
    struct diff_process *processes = xcalloc(*n + 1, sizeof(*processes));
    for (size_t i = 0; i < *n; i++) {
        processes[i].before = at_moment(before, pairs[i].before);
        processes[i].after = at_moment(after, pairs[i].after);
    }
    free(pairs);
    return processes;
}

int
verb_diff(int argc, char **argv)
{
    const struct arguments arguments =
        arguments_parse(argc, argv, help, true, true);
    struct side before = open_side(arguments.target);
    struct side after = open_side(arguments.rest);
    size_t n;
    struct diff_process *processes = pair_up(&before, &after, &n);
    struct text text = {0};
    if (arguments.is_json) {
        struct json json = {0};
        diff_json(&json, before.query, after.query, processes, n);
        text = json.text;
        text_add(&text, "\n");
    } else {
        diff_text(&text, before.query, after.query, processes, n);
    }
    arguments_check(before.query);
    arguments_check(after.query);
    arguments_print(&text, arguments.is_json);
    text_finish(&text);
    free(processes);
    close_side(&before);
    close_side(&after);
    return EXIT_FINE;
}
