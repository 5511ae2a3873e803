#include "report/verdict/verdict.h"

#include <inttypes.h>
#include <string.h>

#include "include/text.h"
#include "include/xalloc.h"
#include "report/units.h"

enum {
    LEAST_SHARE = 20, /* 5 % of RSS */
    LEAST_BYTES = 4 * 1024 * 1024,
};

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
        n_bytes += query_known(census->ledger[held[i]]);
    }
    return n_bytes;
}

/* ---- facts ------------------------------------------------------------- */

static void
gather_tables(struct query *query, struct facts *facts)
{
    const int64_t census = facts->census.id;
    facts->heaps = query_heaps(query, census, &facts->n_heaps);
    facts->modules = query_modules(query, census, &facts->n_modules);
    facts->never = query_never_returned(query, census);
    const struct query_census typed =
        query_census_with_types(query, &facts->census);
    if (typed.id != 0) {
        facts->types = query_types(query, typed.id, &facts->n_types);
        facts->types_t_us = typed.t_us;
    }
    if (facts->census.has_low_types == 1)
        facts->pinners = query_types(query, census, &facts->n_pinners);
}

static struct facts
gather(struct query *query, const struct query_process *process)
{
    struct facts facts = {
        .process = process,
        .census = query_census_at(query, process->id, query_moment(query)),
        .types_t_us = QUERY_UNKNOWN,
    };
    facts.censuses = query_censuses(query, process->id, &facts.n_censuses);
    facts.last_tick = query_last_tick(query, process->id);
    facts.was_oom_killed = strcmp(query_moment(query), "end") == 0 &&
                           query_has_event(query, process->id, "oom-kill");
    if (facts.census.id != 0 && process->level != NULL &&
        strcmp(process->level, "inspect") == 0)
        facts.sitters =
            query_low_types(query, facts.census.id, &facts.n_sitters);
    if (facts.n_sitters != 0)
        facts.low = query_low(query, facts.census.id);
    if (facts.census.id != 0)
        gather_tables(query, &facts);
    return facts;
}

static void
let_go(struct facts *facts)
{
    query_free_types(facts->types, facts->n_types);
    query_free_types(facts->pinners, facts->n_pinners);
    query_free_types(facts->sitters, facts->n_sitters);
    query_free_modules(facts->modules, facts->n_modules);
    query_free_never_returned(&facts->never);
    free(facts->heaps);
    free(facts->censuses);
}

/* ---- weighing ---------------------------------------------------------- */

static void
drop(struct finding *finding)
{
    free(finding->who);
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

static bool
is_end(const struct finding *finding)
{
    return strcmp(finding->id, "cgroup-killed") == 0;
}

/* How it ended is told at any size, and a process without a census is. */
static bool
is_worth_it(const struct facts *facts, const struct finding *finding)
{
    return facts->census.id == 0 || is_end(finding) ||
           finding->bytes >= verdict_threshold(facts);
}

static char *
name_of(const struct query_process *process)
{
    const char *slash =
        process->exe == NULL ? NULL : strrchr(process->exe, '/');
    return xasprintf("%s, pid %" PRId64, slash == NULL ? "?" : slash + 1,
                     process->pid);
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
        finding.who = name_of(facts->process);
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

/* How it ended, then what would come back; doubts last. */
static int
compare(const void *left, const void *right)
{
    const struct finding *a = left;
    const struct finding *b = right;
    if (is_end(a) != is_end(b))
        return is_end(a) ? -1 : 1;
    if (is_no_evidence(a) != is_no_evidence(b))
        return is_no_evidence(a) ? 1 : -1;
    if (a->bytes != b->bytes)
        return a->bytes < b->bytes ? 1 : -1;
    return (a->process > b->process) - (a->process < b->process);
}

/* ---- the whole --------------------------------------------------------- */

static char *
headline_of(const struct facts *facts, bool has_others)
{
    const struct query_census *census = &facts->census;
    if (census->id == 0)
        return xstrdup("No census was taken.");
    char rss[UNITS_BYTES];
    char held[UNITS_BYTES];
    char needed[UNITS_BYTES];
    char unexplained[UNITS_BYTES];
    char *who = has_others ? name_of(facts->process) : xstrdup("");
    const int64_t free_bytes = verdict_held(census);
    const int64_t no_cause = query_known(census->ledger[CAUSE_unexplained]);
    const int64_t need = census->rss_bytes - free_bytes - no_cause -
                         query_known(census->ledger[CAUSE_profiler]);
    char *headline = xasprintf(
        "%s%sRSS %s: the program needs %s, %s are free but held, %s "
        "unexplained.",
        who, has_others ? ": " : "", units_bytes(rss, census->rss_bytes),
        units_bytes(needed, need), units_bytes(held, free_bytes),
        units_bytes(unexplained, no_cause));
    free(who);
    return headline;
}

/* NULL: the end was read, or something else was asked for, or it lives. */
static char *
caveat_of(const struct facts *facts, const char *moment)
{
    const struct query_census *census = &facts->census;
    if (census->id == 0 || strcmp(moment, "end") != 0 ||
        strcmp(census->kind, "end") == 0 ||
        facts->process->end_us == QUERY_UNKNOWN)
        return NULL;
    char age[UNITS_BYTES];
    return xasprintf(
        "(Its end could not be read: this is how it was %s before.)",
        units_duration(age, facts->process->end_us - census->t_us));
}

/* Beside it what was lost, which weakens all of this. */
static char *
add_loss(char *caveat, const struct loss *loss)
{
    if (!loss_is_any(loss))
        return caveat;
    struct text text = {0};
    if (caveat != NULL)
        text_addf(&text, "%s ", caveat);
    text_add(&text, "(");
    loss_put(&text, loss);
    text_add(&text, ": figures of malloc's blocks and of mappings are not "
                    "whole.)");
    free(caveat);
    return text_take(&text);
}

/* How much of what no rule calls growth has come since the first census. */
static int64_t
risen_bytes(const struct facts *facts)
{
    if (facts->n_censuses < 2)
        return 0;
    const struct query_census *first = &facts->censuses[0];
    return query_known(facts->census.ledger[CAUSE_python_live]) -
           query_known(first->ledger[CAUSE_python_live]);
}

/* An interpreter, of which only the native side is seen. */
static bool
is_native_view(const struct facts *facts)
{
    return facts->process->python != NULL && facts->census.id != 0 &&
           facts->census.ledger[CAUSE_python_live] == QUERY_UNKNOWN;
}

static char *
nothing_evidence(const struct facts *facts)
{
    const char *note = facts->process->note;
    if (is_native_view(facts))
        return xasprintf("What Python itself holds is not known%s%s.",
                         note == NULL ? "" : ": ", note == NULL ? "" : note);
    char least[UNITS_BYTES];
    char risen[UNITS_BYTES];
    char span[UNITS_BYTES];
    const int64_t rise = risen_bytes(facts);
    units_bytes(least, verdict_threshold(facts));
    if (rise < verdict_threshold(facts))
        return xasprintf("No single cause holds %s, the least worth a finding.",
                         least);
    return xasprintf(
        "No single cause holds %s, the least worth a finding. Live Python "
        "memory rose by %s in %s, which is use, and not yet called growth.",
        least, units_bytes(risen, rise),
        units_duration(span, facts->census.t_us - facts->censuses[0].t_us));
}

/* Said when nothing else is worth saying. */
static struct finding
nothing_held(const struct facts *facts)
{
    char held[UNITS_BYTES];
    char doubt[UNITS_BYTES];
    const struct query_census *census = &facts->census;
    const int64_t free_bytes = census->id == 0 ? 0 : verdict_held(census);
    const int64_t no_cause =
        census->id == 0 ? 0 : query_known(census->ledger[CAUSE_unexplained]);
    const bool is_sure = strcmp(census->kind, "end") == 0 &&
                         !is_native_view(facts) &&
                         no_cause < census->rss_bytes / LEAST_SHARE;
    return (struct finding){
        .id = "nothing-held",
        .process = facts->process->id,
        .who = name_of(facts->process),
        .bytes = free_bytes,
        .returns_bytes = 0,
        .score = score_of(free_bytes, census->rss_bytes),
        .confidence = is_sure ? "high" : "medium",
        .sentence = xasprintf(
            "Nothing is held worth mentioning: %s are free but not returned, "
            "%s are unexplained.",
            units_bytes(held, free_bytes), units_bytes(doubt, no_cause)),
        .evidence = nothing_evidence(facts),
        .action = xstrdup("If RSS is higher than expected, the program uses "
                          "it: see `residue stats`."),
    };
}

/* ---- which process matters --------------------------------------------- */

static const struct query_process *
largest(struct query *query, const struct query_process *processes, size_t n)
{
    const struct query_process *found = processes;
    int64_t most = -1;
    for (size_t i = 0; i < n; i++) {
        const struct query_census census =
            query_census_at(query, processes[i].id, query_moment(query));
        if (census.id != 0 && census.rss_bytes > most) {
            most = census.rss_bytes;
            found = &processes[i];
        }
    }
    return found;
}

/* The latest of the pid that was asked for, or NULL. */
static const struct query_process *
asked_for(const struct query *query, const struct query_process *processes,
          size_t n)
{
    while (n-- > 0) {
        if (query_pid(query) != 0 && processes[n].pid == query_pid(query))
            return &processes[n];
    }
    return NULL;
}

static const struct query_process *
subject_of(struct query *query, const struct query_process *processes, size_t n,
           const struct verdict *verdict)
{
    const struct query_process *asked = asked_for(query, processes, n);
    if (asked != NULL)
        return asked;
    for (size_t i = 0; verdict->n_findings != 0 && i < n; i++) {
        if (processes[i].id == verdict->findings[0].process)
            return &processes[i];
    }
    return largest(query, processes, n);
}

static void
sum_up(struct query *query, const struct query_process *subject,
       bool has_others, struct verdict *verdict)
{
    struct facts facts = gather(query, subject);
    verdict->headline = headline_of(&facts, has_others);
    verdict->caveat =
        add_loss(caveat_of(&facts, query_moment(query)), &verdict->loss);
    if (verdict->n_findings == 0) {
        verdict->findings = xcalloc(1, sizeof(verdict->findings[0]));
        verdict->findings[verdict->n_findings++] = nothing_held(&facts);
    }
    let_go(&facts);
}

struct verdict
verdict_reach(struct query *query)
{
    struct verdict verdict = {0};
    size_t n;
    struct query_process *processes = query_processes(query, &n);
    const struct query_process *asked = asked_for(query, processes, n);
    for (size_t i = 0; i < n; i++) {
        if (asked != NULL && asked != &processes[i])
            continue;
        struct facts facts = gather(query, &processes[i]);
        loss_add(&verdict.loss, &processes[i]);
        /* A helper that came and went without a census is no news. */
        if (i == 0 || facts.census.id != 0 || facts.was_oom_killed)
            judge(&facts, &verdict);
        let_go(&facts);
    }
    if (verdict.n_findings != 0)
        qsort(verdict.findings, verdict.n_findings, sizeof(verdict.findings[0]),
              compare);
    if (n == 0)
        verdict.headline = xstrdup("No process introduced itself.");
    else
        sum_up(query, subject_of(query, processes, n, &verdict), n > 1,
               &verdict);
    query_free_processes(processes, n);
    return verdict;
}

void
verdict_finish(struct verdict *verdict)
{
    for (size_t i = 0; i < verdict->n_findings; i++)
        drop(&verdict->findings[i]);
    free(verdict->findings);
    free(verdict->headline);
    free(verdict->caveat);
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
