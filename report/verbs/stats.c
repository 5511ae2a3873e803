/*
 * residue stats - the tables behind the verdict
 */
#include "include/text.h"
#include "report/formats/stats_format.h"
#include "report/verb.h"
#include "report/verbs/arguments.h"
#include "report/verdict/verdict.h"

static const char help[] =
    "usage: residue stats [--json] [--type NAME] REC[@MOMENT]|PID\n"
    "\n"
    "Every process of a recording: its ledger (the causes of every resident\n"
    "byte), arenas, size classes, types, collections, malloc's counters, and "
    "the\n"
    "sites where live blocks were born.\n"
    "MOMENT is start, peak, end (the default), a time (01:10.5) or a mark.\n"
    "\n"
    "  --json        {\"schema\":\"residue.stats/1\", ...}\n"
    "  --type NAME   instead the objects of one type, at each census there is\n"
    "                ({\"schema\":\"residue.population/1\", ...})\n";

static struct text
all_tables(struct query *query, bool is_json)
{
    struct verdict verdict = verdict_reach(query);
    struct text text = {0};
    if (is_json) {
        struct json json = {0};
        stats_json(&json, query, &verdict);
        text = json.text;
        text_add(&text, "\n");
    } else {
        stats_text(&text, query, &verdict);
    }
    verdict_finish(&verdict);
    return text;
}

static struct text
population(struct query *query, const char *type, bool is_json)
{
    struct text text = {0};
    if (is_json) {
        struct json json = {0};
        stats_population(&json, query, type);
        text = json.text;
        text_add(&text, "\n");
    } else {
        stats_population_text(&text, query, type);
    }
    return text;
}

int
verb_stats(int argc, char **argv)
{
    const struct arguments arguments = arguments_parse_type(argc, argv, help);
    struct query *query = arguments_open(arguments.target);
    struct text text =
        arguments.type == NULL
            ? all_tables(query, arguments.is_json)
            : population(query, arguments.type, arguments.is_json);
    arguments_check(query);
    arguments_print(&text, arguments.is_json);
    text_finish(&text);
    query_close(query);
    return EXIT_FINE;
}
