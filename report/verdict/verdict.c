#include "report/verdict/verdict.h"

#include <string.h>

#include "include/xalloc.h"
#include "report/units.h"

enum {
    LEAST_SHARE = 20, /* 5 % of RSS */
    LEAST_BYTES = 4 * 1024 * 1024,
};

static int64_t
known(int64_t number)
{
    return number == QUERY_UNKNOWN ? 0 : number;
}

int64_t
verdict_threshold(const struct facts *facts)
{
    const int64_t share = facts->census.rss_bytes / LEAST_SHARE;
    return share > LEAST_BYTES ? share : LEAST_BYTES;
}

int64_t
verdict_held(const struct query_census *census)
{
    static const enum recording_cause held[] = {
        CAUSE_python_never_returned,
        CAUSE_python_holes,
        CAUSE_python_free_pools,
        CAUSE_native_free,
    };
    int64_t n_bytes = 0;
    for (size_t i = 0; i < countof(held); i++) {
        n_bytes += known(census->ledger[held[i]]);
    }
    return n_bytes;
}

/* ---- facts ------------------------------------------------------------- */

static struct facts
gather(struct query *query, const struct query_process *process)
{
    struct facts facts = {
        .process = process,
        .census = query_census_at(query, process->id, query_moment(query)),
    };
    facts.censuses = query_censuses(query, process->id, &facts.n_censuses);
    if (facts.census.id != 0) {
        const struct query_census typed =
            query_census_with_types(query, &facts.census);
        if (typed.id != 0)
            facts.types = query_types(query, typed.id, &facts.n_types);
        if (facts.census.has_low_types == 1)
            facts.pinners =
                query_types(query, facts.census.id, &facts.n_pinners);
    }
    return facts;
}

static void
let_go(struct facts *facts)
{
    query_free_types(facts->types, facts->n_types);
    query_free_types(facts->pinners, facts->n_pinners);
    free(facts->censuses);
}

/* ---- weighing ---------------------------------------------------------- */

static void
drop(struct finding *finding)
{
    free(finding->owner);
    free(finding->sentence);
    free(finding->evidence);
    free(finding->action);
}

static int
score_of(int64_t bytes, int64_t rss)
{
    if (rss <= 0)
        return 0;
    const int64_t score = bytes * 100 / rss;
    return score > 100 ? 100 : (int)score;
}

/* Only a process without a census is told about without being worth it. */
static bool
is_worth_it(const struct facts *facts, const struct finding *finding)
{
    return facts->census.id == 0 || finding->bytes >= verdict_threshold(facts);
}

static void
judge(const struct facts *facts, struct verdict *verdict)
{
    for (size_t i = 0; i < verdict_n_rules; i++) {
        struct finding finding = {0};
        if (!verdict_rules[i](facts, &finding))
            continue;
        if (!is_worth_it(facts, &finding)) {
            drop(&finding);
            continue;
        }
        finding.process = facts->process->id;
        finding.score = score_of(finding.bytes, facts->census.rss_bytes);
        verdict->findings = xrealloc(verdict->findings, verdict->n_findings + 1,
                                     sizeof(verdict->findings[0]));
        verdict->findings[verdict->n_findings++] = finding;
    }
}

static bool
is_no_evidence(const struct finding *finding)
{
    return strcmp(finding->id, "not-enough-evidence") == 0;
}

/* What would come back first; doubts last. */
static int
compare(const void *left, const void *right)
{
    const struct finding *a = left;
    const struct finding *b = right;
    if (is_no_evidence(a) != is_no_evidence(b))
        return is_no_evidence(a) ? 1 : -1;
    if (a->bytes != b->bytes)
        return a->bytes < b->bytes ? 1 : -1;
    return (a->process > b->process) - (a->process < b->process);
}

/* ---- the whole --------------------------------------------------------- */

static char *
headline_of(const struct facts *facts)
{
    const struct query_census *census = &facts->census;
    if (census->id == 0)
        return xstrdup("No census was taken.");
    char rss[UNITS_BYTES];
    char held[UNITS_BYTES];
    char needed[UNITS_BYTES];
    char unexplained[UNITS_BYTES];
    const int64_t free_bytes = verdict_held(census);
    const int64_t no_cause = known(census->ledger[CAUSE_unexplained]);
    const int64_t need = census->rss_bytes - free_bytes - no_cause -
                         known(census->ledger[CAUSE_profiler]);
    return xasprintf(
        "RSS %s: the program needs %s, %s are free but held, %s unexplained.",
        units_bytes(rss, census->rss_bytes), units_bytes(needed, need),
        units_bytes(held, free_bytes), units_bytes(unexplained, no_cause));
}

/* Said when nothing else is worth saying: of the first process. */
static struct finding
nothing_held(const struct facts *facts)
{
    char held[UNITS_BYTES];
    char least[UNITS_BYTES];
    const int64_t free_bytes =
        facts->census.id == 0 ? 0 : verdict_held(&facts->census);
    return (struct finding){
        .id = "nothing-held",
        .process = facts->process->id,
        .bytes = free_bytes,
        .returns_bytes = 0,
        .score = score_of(free_bytes, facts->census.rss_bytes),
        .confidence =
            strcmp(facts->census.kind, "end") == 0 ? "high" : "medium",
        .sentence = xasprintf(
            "Nothing is held worth mentioning: %s are free but not returned.",
            units_bytes(held, free_bytes)),
        .evidence = xasprintf("No single cause holds 5 %% of RSS and %s.",
                              units_bytes(least, verdict_threshold(facts))),
        .action = xstrdup("If RSS is higher than expected, the program uses "
                          "it: see the types in `residue stats`."),
    };
}

struct verdict
verdict_reach(struct query *query)
{
    struct verdict verdict = {0};
    size_t n_processes;
    struct query_process *processes = query_processes(query, &n_processes);
    struct finding nothing = {0};
    for (size_t i = 0; i < n_processes; i++) {
        struct facts facts = gather(query, &processes[i]);
        /* A helper that came and went without a census is no news. */
        if (i == 0 || facts.census.id != 0)
            judge(&facts, &verdict);
        if (i == 0) {
            verdict.headline = headline_of(&facts);
            nothing = nothing_held(&facts);
        }
        let_go(&facts);
    }
    query_free_processes(processes, n_processes);
    if (verdict.n_findings == 0 && nothing.id != NULL) {
        verdict.findings = xcalloc(1, sizeof(nothing));
        verdict.findings[verdict.n_findings++] = nothing;
    } else {
        drop(&nothing);
    }
    if (verdict.headline == NULL)
        verdict.headline = xstrdup("No process introduced itself.");
    if (verdict.n_findings != 0)
        qsort(verdict.findings, verdict.n_findings, sizeof(verdict.findings[0]),
              compare);
    return verdict;
}

void
verdict_finish(struct verdict *verdict)
{
    for (size_t i = 0; i < verdict->n_findings; i++)
        drop(&verdict->findings[i]);
    free(verdict->findings);
    free(verdict->headline);
    *verdict = (struct verdict){0};
}

struct query_finding *
verdict_rows(const struct verdict *verdict)
{
    struct query_finding *rows = xcalloc(verdict->n_findings, sizeof(*rows));
    for (size_t i = 0; i < verdict->n_findings; i++) {
        const struct finding *finding = &verdict->findings[i];
        rows[i] = (struct query_finding){
            .process = finding->process,
            .id = finding->id,
            .bytes = finding->bytes,
            .returns_bytes = finding->returns_bytes,
            .owner = finding->owner,
            .score = finding->score,
            .confidence = finding->confidence,
            .sentence = finding->sentence,
            .evidence = finding->evidence,
            .action = finding->action,
        };
    }
    return rows;
}
