#include "tests/unit/report/asking.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/check.h"

void
drop(struct finding *finding)
{
    free(finding->owner);
    free(finding->sentence);
    free(finding->evidence);
    free(finding->action);
}

struct finding
ask(const struct facts *facts, const char *id)
{
    struct finding said = {0};
    for (size_t i = 0; i < verdict_n_rules; i++) {
        struct finding finding = {0};
        if (!verdict_rules[i](facts, &finding))
            continue;
        cr_assert(finding.sentence != NULL && finding.evidence != NULL &&
                      finding.action != NULL && finding.confidence != NULL,
                  "%s does not say all", finding.id);
        if (strcmp(finding.id, id) == 0)
            said = finding;
        else
            drop(&finding);
    }
    return said;
}

bool
fires(const struct facts *facts, const char *id)
{
    struct finding finding = ask(facts, id);
    const bool is_said = finding.id != NULL;
    drop(&finding);
    return is_said;
}

struct query_census
census_at(int64_t t_us, int64_t rss)
{
    struct query_census census = {
        .id = 1, .t_us = t_us, .kind = "end", .rss_bytes = rss};
    return census;
}

struct facts
facts_of(struct query_census census)
{
    return (struct facts){.census = census};
}

void
check_says(const char *text, const char *part)
{
    cr_assert(strstr(text, part) != NULL, "\"%s\" lacks \"%s\"", text, part);
}
