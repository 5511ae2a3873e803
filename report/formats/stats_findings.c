#include <string.h>

#include "include/attrs.h"
#include "report/formats/stats_format.h"
#include "report/units.h"

/* Of the first word, and of the unit if it is a number's. */
static size_t
length_of_word(const char *words)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "%", "s"};
    const size_t length = strcspn(words, " ");
    if (words[0] < '0' || words[0] > '9' || words[length] == '\0')
        return length;
    const char *next = words + length + 1;
    const size_t n = strcspn(next, " ,.;:)");
    for (size_t i = 0; i < countof(units); i++) {
        if (strlen(units[i]) == n && memcmp(units[i], next, n) == 0)
            return length + 1 + strcspn(next, " ");
    }
    return length;
}

void
stats_put_wrapped(struct text *text, size_t indent, const char *words)
{
    enum { WIDTH = 78 };
    size_t column = indent;
    bool is_first = true;
    while (*words != '\0') {
        const size_t length = length_of_word(words);
        if (!is_first && column + 1 + length > WIDTH) {
            text_addf(text, "\n%*s", (int)indent, "");
            column = indent;
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

/* Indented under its number. */
static void
put_part(struct text *text, const char *label, const char *words)
{
    enum { INDENT = 14 };
    text_addf(text, "    %-10s", label);
    stats_put_wrapped(text, INDENT, words);
}

static void
put_finding(struct text *text, size_t rank, const struct finding *finding)
{
    char size[UNITS_BYTES];
    text_addf(text, "\n%2zu. %s  %s (%s; confidence %s)\n", rank,
              units_bytes(size, finding->bytes), finding->id, finding->who,
              finding->confidence);
    put_part(text, "", finding->sentence);
    put_part(text, "evidence", finding->evidence);
    put_part(text, "do", finding->action);
}

void
stats_findings_text(struct text *text, const struct verdict *verdict)
{
    for (size_t i = 0; i < verdict->n_findings; i++)
        put_finding(text, i + 1, &verdict->findings[i]);
}
