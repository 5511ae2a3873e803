/*
 * rules.h - the rules, by the file they are in
 *
 * Each is a pure function of the facts of one process; verdict.c weighs and
 * ranks what they say. The table of them all is in rules.c.
 */
#ifndef REPORT_VERDICT_RULES_H
#define REPORT_VERDICT_RULES_H

#include "include/text.h"
#include "report/verdict/verdict.h"

/* How sure a figure of this census is. */
const char *rules_confidence(const struct query_census *census);

/*
 * Whether it is of a version that has none of 2.7's blocks of ints and floats,
 * by design. False as well where the version is not known.
 */
bool rules_has_no_blocks27(const struct query_process *process);

/* If ints or floats are the owner, that there they have no blocks. */
void rules_add_design(struct text *text, const struct facts *facts,
                      const char *owner);

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
