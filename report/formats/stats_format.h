/*
 * stats_format.h - everything known of a recording at one moment, as JSON or as
 * tables
 *
 * The keys of the JSON are those of DESIGN 8: checks are written against them.
 * Keys may be added; unknown is null, never 0.
 */
#ifndef REPORT_FORMATS_STATS_FORMAT_H
#define REPORT_FORMATS_STATS_FORMAT_H

#include "include/text.h"
#include "report/formats/json.h"
#include "report/query/query.h"
#include "report/verdict/verdict.h"

/* The object {"schema":"residue.stats/1", ...}. */
void stats_json(struct json *json, struct query *query,
                const struct verdict *verdict);

/* Tables for people. */
void stats_text(struct text *text, struct query *query,
                const struct verdict *verdict);

/* A line, if its collector has not finished the recording, or never will. */
void stats_unsealed_text(struct text *text, struct query *query);

/* The findings for people, numbered. */
void stats_findings_text(struct text *text, const struct verdict *verdict);

/* Words from column indent on, 78 columns wide. */
void stats_put_wrapped(struct text *text, size_t indent, const char *words);

/* The array of findings, as `stats` and `why` print it. */
void stats_findings(struct json *json, const char *key,
                    const struct verdict *verdict);

/* What the interpreter never returns: the key `never_returned`, a paragraph. */
void stats_kept(struct json *json, struct query *query,
                const struct query_process *process,
                const struct query_census *census);
void stats_kept_text(struct text *text, struct query *query,
                     const struct query_process *process,
                     const struct query_census *census);

/* What waited for the collector of cycles: `cyclic_garbage`, a table. */
void stats_garbage(struct json *json, struct query *query,
                   const struct query_process *process);
void stats_garbage_text(struct text *text, struct query *query,
                        const struct query_process *process);

/*
 * The objects of one type at each census, of each process that has had one:
 * {"schema":"residue.population/1", ...}, and as a table.
 */
void stats_population(struct json *json, struct query *query, const char *type);
void stats_population_text(struct text *text, struct query *query,
                           const char *type);

/* Where the living blocks of a process were born: the key `sites`, a table. */
void stats_sites(struct json *json, struct query *query, int64_t process,
                 const struct query_census *census);
void stats_sites_text(struct text *text, struct query *query, int64_t process,
                      const struct query_census *census);

/* A cause's word, and what it means in one clause. */
const char *stats_cause_word(enum recording_cause cause);
const char *stats_cause_meaning(enum recording_cause cause);

#endif
