/*
 * residue why - the verdict: ranked sentences, bytes, evidence, what to do
 */
#include <string.h>

#include "include/text.h"
#include "report/formats/stats_format.h"
#include "report/units.h"
#include "report/verb.h"
#include "report/verbs/arguments.h"
#include "report/verdict/verdict.h"

static const char help[] =
    "usage: residue why [--json] REC[@MOMENT]|PID\n"
    "\n"
    "Says what keeps the memory of a recorded program, the worst first.\n"
    "MOMENT is start, peak, end (the default), a time (01:10.5) or a mark.\n"
    "\n"
    "  --json   {\"schema\":\"residue.why/1\",\"verdict\":[...]}\n";

/* Indented under its number, 78 columns wide. */
static void
put_wrapped(struct text *text, const char *label, const char *words)
{
    enum { INDENT = 14, WIDTH = 78 };
    size_t column = INDENT;
    bool is_first = true;
    text_addf(text, "    %-10s", label);
    while (*words != '\0') {
        const size_t length = strcspn(words, " ");
        if (!is_first && column + 1 + length > WIDTH) {
            text_addf(text, "\n%*s", INDENT, "");
            column = INDENT;
        } else if (!is_first) {
            text_add(text, " ");
            column++;
        }
        text_add_bytes(text, words, length);
        column += length;
        is_first = false;
        words += length + strspn(words + length, " ");
    }
    text_add(text, "\n");
}

static void
put_finding(struct text *text, size_t rank, const struct finding *finding)
{
    char size[UNITS_BYTES];
    text_addf(text, "\n%2zu. %s  %s (%s; confidence %s)\n", rank,
              units_bytes(size, finding->bytes), finding->id, finding->who,
              finding->confidence);
    put_wrapped(text, "", finding->sentence);
    put_wrapped(text, "evidence", finding->evidence);
    put_wrapped(text, "do", finding->action);
}

static void
put_text(struct text *text, const struct verdict *verdict)
{
    text_addf(text, "%s\n", verdict->headline);
    if (verdict->caveat != NULL)
        text_addf(text, "%s\n", verdict->caveat);
    for (size_t i = 0; i < verdict->n_findings; i++)
        put_finding(text, i + 1, &verdict->findings[i]);
}

static void
put_json(struct text *text, const struct verdict *verdict)
{
    struct json json = {0};
    json_open(&json, NULL, '{');
    json_string(&json, "schema", "residue.why/1");
    stats_findings(&json, "verdict", verdict);
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
    (arguments.is_json ? put_json : put_text)(&text, &verdict);
    arguments_print(text_of(&text));
    text_finish(&text);
    verdict_finish(&verdict);
    query_close(query);
    return EXIT_FINE;
}
