/*
 * residue stats - the tables behind the verdict
 */
#include "include/text.h"
#include "report/formats/stats_format.h"
#include "report/verb.h"
#include "report/verbs/arguments.h"
#include "report/verdict/verdict.h"

static const char help[] =
    "usage: residue stats [--json] REC[@MOMENT]|PID\n"
    "\n"
    "Every process of a recording: its ledger (the causes of every resident\n"
    "byte), arenas, size classes, types, collections, malloc's counters, and "
    "the\n"
    "sites where live blocks were born.\n"
    "MOMENT is start, peak, end (the default), a time (01:10.5) or a mark.\n"
    "\n"
    "  --json   {\"schema\":\"residue.stats/1\", ...}\n";

int
verb_stats(int argc, char **argv)
{
    const struct arguments arguments =
        arguments_parse(argc, argv, help, true, false);
    struct query *query = arguments_open(arguments.target);
    struct verdict verdict = verdict_reach(query);
    struct text text = {0};
    if (arguments.is_json) {
        struct json json = {0};
        stats_json(&json, query, &verdict);
        text = json.text;
        text_add(&text, "\n");
    } else {
        stats_text(&text, query, &verdict);
    }
    arguments_check(query);
    arguments_print(&text, arguments.is_json);
    text_finish(&text);
    verdict_finish(&verdict);
    query_close(query);
    return EXIT_FINE;
}
