#include "include/text.h"
#include "include/xalloc.h"
#include "report/units.h"
#include "report/verdict/rules.h"

static bool
is_inspected(const struct facts *facts)
{
    const char *level = facts->process == NULL ? NULL : facts->process->level;
    return level != NULL && strcmp(level, "inspect") == 0;
}

static unsigned
n_torn_heaps(const struct facts *facts)
{
    unsigned n = 0;
    for (size_t i = 0; i < facts->n_heaps; i++)
        n += facts->heaps[i].is_torn == 1;
    return n;
}

static void
say_that_there_is_none(struct finding *finding)
{
    finding->sentence = xstrdup("Not enough evidence: no census was taken.");
    finding->evidence = xstrdup("The process ended, or could not be read, "
                                "before there was one.");
    finding->action =
        xstrdup("Let it run for longer, or see `residue doctor`.");
}

/* Who can have them, of what is known about this process and census. */
static char *
doubt_of(const struct facts *facts)
{
    const unsigned n_torn = n_torn_heaps(facts);
    const int64_t n_lost =
        facts->process == NULL ? 0 : query_known(facts->process->lost_events);
    char at[UNITS_BYTES];
    char n[UNITS_BYTES];
    struct text text = {0};
    text_addf(&text,
              "At %s no arena, heap, stack, file or mapping that was seen made "
              "claims these pages, and no cause is guessed.",
              units_clock(at, facts->census.t_us));
    if (n_torn != 0)
        text_addf(&text,
                  " %u of malloc's heaps changed while they were read: the "
                  "rest of them is among it.",
                  n_torn);
    if (n_lost != 0)
        text_addf(&text,
                  " %s events were lost, and perhaps mappings with them.",
                  units_count(n, n_lost));
    if (is_inspected(facts))
        text_add(&text, " Nothing was preloaded: who makes anonymous mappings, "
                        "as other allocators than glibc's do, was not seen.");
    else
        text_add(&text, " Mappings by a system call of the program's own, or "
                        "made before residue was there, are not seen.");
    return text_take(&text);
}

static char *
way_out_of(const struct facts *facts)
{
    if (n_torn_heaps(facts) != 0)
        return xstrdup("Read it at a quieter moment: `residue mark` takes a "
                       "census that is complete.");
    if (is_inspected(facts))
        return xstrdup("Start it with `residue run`, which sees every mapping "
                       "and who makes it.");
    return xstrdup("`residue mark` keeps the proof of each page: `residue "
                   "query REC 'SELECT * FROM v_pages'` says which have none.");
}

bool
evidence_lacks(const struct facts *facts, struct finding *finding)
{
    const struct query_census *census = &facts->census;
    const int64_t unexplained = query_known(census->ledger[CAUSE_unexplained]);
    if (census->id != 0 && unexplained * 4 < census->rss_bytes)
        return false;
    if (census->id != 0 && unexplained < verdict_threshold(facts))
        return false;
    char size[UNITS_BYTES];
    char rss[UNITS_BYTES];
    *finding = (struct finding){
        .id = "not-enough-evidence",
        .bytes = census->id == 0 ? 0 : unexplained,
        .returns_bytes = 0,
        .confidence = "low",
    };
    if (census->id == 0) {
        say_that_there_is_none(finding);
        return true;
    }
    finding->sentence = xasprintf(
        "Not enough evidence: %s of %s are unexplained.",
        units_bytes(size, unexplained), units_bytes(rss, census->rss_bytes));
    finding->evidence = doubt_of(facts);
    finding->action = way_out_of(facts);
    return true;
}
