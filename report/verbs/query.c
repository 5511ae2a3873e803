/*
 * residue query - SQL on a recording
 */
#include <stdlib.h>
#include <string.h>

#include "include/text.h"
#include "include/xalloc.h"
#include "report/formats/json.h"
#include "report/verb.h"
#include "report/verbs/arguments.h"

static const char help[] =
    "usage: residue query [--json] REC 'SQL'\n"
    "\n"
    "Runs one SELECT. The views are v_processes, v_censuses, v_ledger,\n"
    "v_arenas, v_classes, v_types, v_never_returned, v_gc, v_collections,\n"
    "v_generations, v_objects, v_timeline, and the table finding. Columns\n"
    "are separated by tabs, the first line names them.\n"
    "\n"
    "  --json   an array of objects; values are strings or null\n";

struct output {
    struct text text;
    struct json json;
    size_t n_rows;
};

/* A tab or a newline inside a value would be taken for a separator. */
static void
put_value(struct text *text, const char *value)
{
    for (; value != NULL && *value != '\0'; value++) {
        if (*value == '\t')
            text_add(text, "\\t");
        else if (*value == '\n')
            text_add(text, "\\n");
        else
            text_add_bytes(text, value, 1);
    }
}

static void
put_line(struct text *text, int n, const char *const *values)
{
    for (int i = 0; i < n; i++) {
        if (i != 0)
            text_add(text, "\t");
        put_value(text, values[i]);
    }
    text_add(text, "\n");
}

static void
text_row(void *context, int n, const char *const *names,
         const char *const *values)
{
    struct output *output = context;
    if (output->n_rows++ == 0)
        put_line(&output->text, n, names);
    put_line(&output->text, n, values);
}

static void
json_row(void *context, int n, const char *const *names,
         const char *const *values)
{
    struct output *output = context;
    json_open(&output->json, NULL, '{');
    for (int i = 0; i < n; i++)
        json_string(&output->json, names[i], values[i]);
    json_close(&output->json, '}');
}

int
verb_query(int argc, char **argv)
{
    const struct arguments arguments =
        arguments_parse(argc, argv, help, true, true);
    struct query *query = arguments_open(arguments.target);
    if (strcmp(query_moment(query), "end") != 0)
        errx(EXIT_BAD_USAGE,
             "%s: a query sees the whole recording; leave the moment out",
             arguments.target);
    struct output output = {0};
    if (arguments.is_json)
        json_open(&output.json, NULL, '[');
    if (!query_sql(query, arguments.rest,
                   arguments.is_json ? json_row : text_row, &output) &&
        !query_is_damaged(query))
        errx(EXIT_BAD_USAGE, "%s; see residue query --help",
             query_complaint(query));
    arguments_check(query);
    if (arguments.is_json) {
        json_close(&output.json, ']');
        text_add(&output.json.text, "\n");
        arguments_print(&output.json.text, true);
    } else {
        arguments_print(&output.text, false);
    }
    text_finish(&output.text);
    text_finish(&output.json.text);
    query_close(query);
    return EXIT_FINE;
}
