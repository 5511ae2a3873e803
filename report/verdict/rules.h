/*
 * rules.h - the rules, by the file they are in
 *
 * Each is a pure function of the facts of one process; verdict.c weighs and
 * ranks what they say. The table of them all is in rules.c.
 */
#ifndef REPORT_VERDICT_RULES_H
#define REPORT_VERDICT_RULES_H

#include "report/verdict/verdict.h"

/* How sure a figure of this census is. */
const char *rules_confidence(const struct query_census *census);

/* Of malloc's heaps: whole free pages, and free bytes beside live blocks. */
bool heaps_are_trimmable(const struct facts *facts, struct finding *finding);
bool heaps_are_page_pinned(const struct facts *facts, struct finding *finding);

/* What the interpreter keeps for reuse: 2.7's ints and floats, free lists. */
bool kept_for_ints(const struct facts *facts, struct finding *finding);
bool kept_for_floats(const struct facts *facts, struct finding *finding);
bool kept_in_lists(const struct facts *facts, struct finding *finding);

bool growth_of_python(const struct facts *facts, struct finding *finding);
bool growth_of_native(const struct facts *facts, struct finding *finding);

/* When little can be said. */
bool evidence_lacks(const struct facts *facts, struct finding *finding);

#endif
