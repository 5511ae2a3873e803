/*
 * residue why - the verdict: ranked sentences, bytes, evidence, what to do
 */
#include "include/text.h"
#include "report/formats/stats_format.h"
#include "report/verb.h"
#include "report/verbs/arguments.h"
#include "report/verdict/verdict.h"

static const char help[] =
    "usage: residue why [--json] REC[@MOMENT]|PID\n"
    "\n"
    "Says what keeps the memory of a recorded program, the worst first.\n"
    "MOMENT is start, peak, end (the default), a time (01:10.5) or a mark.\n"
    "\n"
    "  --json   {\"schema\":\"residue.why/1\",\"verdict\":[...],\n"
    "           \"loss\":{...}}\n";

static void
put_text(struct text *text, struct query *query, const struct verdict *verdict)
{
    text_addf(text, "%s\n", verdict->headline);
    if (verdict->caveat != NULL)
        text_addf(text, "%s\n", verdict->caveat);
    stats_unsealed_text(text, query);
    stats_findings_text(text, verdict);
}

static void
put_json(struct text *text, const struct verdict *verdict)
{
    struct json json = {0};
    json_open(&json, NULL, '{');
    json_string(&json, "schema", "residue.why/1");
    stats_findings(&json, "verdict", verdict);
    json_open(&json, "loss", '{');
    json_number(&json, "events", verdict->loss.events);
    json_number(&json, "batches", verdict->loss.batches);
    json_close(&json, '}');
    json_close(&json, '}');
    text_add(text, text_of(&json.text));
    text_add(text, "\n");
    text_finish(&json.text);
}

int
verb_why(int argc, char **argv)
{
    const struct arguments arguments =
        arguments_parse(argc, argv, help, true, false);
    struct query *query = arguments_open(arguments.target);
    struct verdict verdict = verdict_reach(query);
    arguments_check(query);

    struct text text = {0};
    if (arguments.is_json)
        put_json(&text, &verdict);
    else
        put_text(&text, query, &verdict);
    arguments_print(&text, arguments.is_json);
    text_finish(&text);
    verdict_finish(&verdict);
    query_close(query);
    return EXIT_FINE;
}
