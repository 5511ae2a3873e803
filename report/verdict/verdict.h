/*
 * verdict.h - the findings: what keeps the memory, ranked
 *
 * One rule a function (rules.h), one table of rules (rules.c); each looks at
 * the facts of one process and says at most one sentence. What is worth less
 * than 5 % of RSS or 4 MiB is not said. Ids are those of include/recording.h.
 */
#ifndef REPORT_VERDICT_VERDICT_H
#define REPORT_VERDICT_VERDICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "report/loss.h"
#include "report/query/query.h"

struct finding {
    const char *id;
    int64_t process;
    char *who; /* "python3.11, pid 4711" */
    int64_t bytes;
    int64_t returns_bytes;  /* what goes back if the advice is followed */
    int score;              /* 0 to 100: how much of RSS it explains */
    const char *confidence; /* "high", "medium", "low" */
    char *owner;            /* NULL: none */
    char *sentence;
    char *evidence;
    char *action;
};

struct verdict {
    struct finding *findings; /* the worst first; never none */
    size_t n_findings;
    /*
     * RSS of the process that matters (the one that was asked for, that of the
     * first finding, or the largest), and how much of it the program needs.
     */
    char *headline;
    char *caveat; /* how old this is if its end was not read, loss; or NULL */
    struct loss loss; /* of all processes that were looked at */
};

/* At the query's moment. */
struct verdict verdict_reach(struct query *query);
void verdict_finish(struct verdict *verdict);

/* The rows of the table `finding`; they point into the verdict. */
struct query_finding *verdict_rows(const struct verdict *verdict);

/* ---- what rules see ---------------------------------------------------- */

struct facts {
    const struct query_process *process;
    struct query_census census; /* at the moment; id 0: none */
    struct query_type *types;   /* of the latest census that has them all */
    size_t n_types;
    struct query_type *pinners; /* of this census, in its low arenas at least */
    size_t n_pinners;
    struct query_low low; /* arenas 0: none, or it is known which are pinned */
    struct query_type *sitters; /* in them, those that hold most first */
    size_t n_sitters;
    struct query_heap *heaps; /* of malloc, like the rest at the moment */
    size_t n_heaps;
    struct query_module *modules; /* most resident bytes first */
    size_t n_modules;
    struct query_never_returned never;
    int64_t types_t_us; /* when the types were read; QUERY_UNKNOWN: never */
    struct query_census *censuses; /* all, oldest first */
    size_t n_censuses;
    bool was_oom_killed; /* at its end, which is the moment */
    struct query_tick last_tick;
};

/* True, and *finding is filled in: the rule applies. */
typedef bool (*rule)(const struct facts *facts, struct finding *finding);

extern const rule verdict_rules[];
extern const size_t verdict_n_rules;

/* The least that a finding must be worth in this process. */
int64_t verdict_threshold(const struct facts *facts);

/* Resident bytes that the program does not use: DESIGN 2, held in all. */
int64_t verdict_held(const struct query_census *census);

#endif
