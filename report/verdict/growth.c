#include "include/attrs.h"
#include "include/text.h"
#include "include/xalloc.h"
#include "report/units.h"
#include "report/verdict/rules.h"

enum {
    GROWTH_WINDOW_US = 30000000,
    GROWTH_CENSUSES = 8,
    QUARTERS = 4,
};

static int64_t
python_bytes(const struct query_census *census)
{
    return query_known(census->ledger[CAUSE_python_live]);
}

/* What is resident outside of Python's arenas, files and the profiler. */
static int64_t
native_bytes(const struct query_census *census)
{
    return census->rss_bytes - query_known(census->ledger[CAUSE_profiler]) -
           query_known(census->ledger[CAUSE_file]) -
           query_known(census->ledger[CAUSE_python_never_returned]) -
           query_known(census->ledger[CAUSE_python_live]) -
           query_known(census->ledger[CAUSE_python_holes]) -
           query_known(census->ledger[CAUSE_python_free_pools]) -
           query_known(census->ledger[CAUSE_python_overhead]);
}

/* Times come in their order, if the recording is no hostile one. */
static unsigned
quarter_of(int64_t after, int64_t span)
{
    const int64_t quarter = after / (span / QUARTERS);
    return after < 0            ? 0
           : quarter < QUARTERS ? (unsigned)quarter
                                : QUARTERS - 1;
}

/*
 * Growth that a load which comes and goes does not make: the least value of
 * each quarter of the time is above that of the quarter before, and the last
 * quarter still adds its share. 0: there is none, or too little was seen.
 */
static int64_t
steady_growth(const struct facts *facts,
              int64_t (*value)(const struct query_census *census))
{
    if (facts->n_censuses < GROWTH_CENSUSES)
        return 0;
    const int64_t start = facts->censuses[0].t_us;
    const int64_t span = facts->censuses[facts->n_censuses - 1].t_us - start;
    if (span < GROWTH_WINDOW_US)
        return 0;

    int64_t least[QUARTERS] = {INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX};
    for (size_t i = 0; i < facts->n_censuses; i++) {
        const struct query_census *census = &facts->censuses[i];
        const unsigned quarter = quarter_of(census->t_us - start, span);
        const int64_t now = value(census);
        if (now < least[quarter])
            least[quarter] = now;
    }
    for (unsigned i = 1; i < QUARTERS; i++) {
        if (least[i] == INT64_MAX || least[i - 1] == INT64_MAX ||
            least[i] <= least[i - 1])
            return 0;
    }
    const int64_t all = least[QUARTERS - 1] - least[0];
    const int64_t lately = least[QUARTERS - 1] - least[QUARTERS - 3];
    return lately * QUARTERS >= all ? all : 0;
}

static char *
growth_evidence(const struct facts *facts)
{
    char from[UNITS_BYTES];
    char to[UNITS_BYTES];
    return xasprintf(
        "In %zu censuses from %s to %s the least of each quarter lies above "
        "that of the one before.",
        facts->n_censuses, units_clock(from, facts->censuses[0].t_us),
        units_clock(to, facts->censuses[facts->n_censuses - 1].t_us));
}

bool
growth_of_python(const struct facts *facts, struct finding *finding)
{
    const int64_t growth = steady_growth(facts, python_bytes);
    if (growth <= 0)
        return false;
    const struct query_type *most = facts->n_types == 0 ? NULL : facts->types;
    char size[UNITS_BYTES];
    *finding = (struct finding){
        .id = "python-growth",
        .bytes = growth,
        .returns_bytes = growth,
        .confidence = "medium",
        .owner = most == NULL ? NULL : xstrdup(most->name),
        .sentence = xasprintf(
            "Live Python objects grew by %s and have not stopped%s%s.",
            units_bytes(size, growth),
            most == NULL ? "" : "; most of what lives is of type ",
            most == NULL ? "" : most->name),
        .evidence = growth_evidence(facts),
        .action = xstrdup("Look for a cache, a list or a registry that only "
                          "grows; compare the types of two moments with "
                          "`residue stats REC@MOMENT`."),
    };
    return true;
}

/* ---- what grew outside of Python's arenas ------------------------------ */

struct suspect {
    enum recording_cause cause;
    const char *word;
    const char *action;
};

static const struct suspect suspects[] = {
    {CAUSE_native_live,   "blocks in use that malloc gave to native code",
     "Suspect a library or an extension module: what it is handed it must "
     "free."                                                         },
    {CAUSE_python_large,  "large Python objects, and tables of others",
     "Look for a list, a dict, a string or a buffer that only grows."},
    {CAUSE_native_free,   "free memory that malloc keeps",
     "It is not in use: call malloc_trim(0) now and then, or see what lives "
     "between."                                                      },
    {CAUSE_mapped_anon,   "anonymous mappings",
     "Look for what maps it: the module is in `residue stats`."      },
    {CAUSE_stacks,        "stacks of threads",
     "Look for threads that are started and never end."              },
    {CAUSE_image_private, "data of libraries",
     "Look for libraries that are loaded again and again."           },
    {CAUSE_shmem,         "shared memory",
     "Look for segments that are mapped and never let go."           },
    {CAUSE_unexplained,   "memory without a cause",
     "`residue mark` keeps what is known of each page: see v_pages." },
};

static int64_t
rise_of(const struct facts *facts, enum recording_cause cause)
{
    const int64_t last = facts->censuses[facts->n_censuses - 1].ledger[cause];
    const int64_t first = facts->censuses[0].ledger[cause];
    return last == QUERY_UNKNOWN || first == QUERY_UNKNOWN ? 0 : last - first;
}

/* The one that is most of the growth, or NULL. */
static const struct suspect *
suspect_of(const struct facts *facts, int64_t growth)
{
    const struct suspect *most = &suspects[0];
    for (size_t i = 1; i < countof(suspects); i++) {
        if (rise_of(facts, suspects[i].cause) > rise_of(facts, most->cause))
            most = &suspects[i];
    }
    return rise_of(facts, most->cause) * 2 > growth ? most : NULL;
}

/* Who has mapped most of it, where that is what grew; or NULL. */
static const char *
mapper_of(const struct facts *facts, const struct suspect *suspect)
{
    if (suspect == NULL || suspect->cause != CAUSE_mapped_anon ||
        facts->n_modules == 0 ||
        facts->modules[0].resident_bytes * 2 <
            facts->census.ledger[CAUSE_mapped_anon])
        return NULL;
    return facts->modules[0].name;
}

static char *
native_sentence(const struct facts *facts, int64_t growth,
                const struct suspect *suspect)
{
    const char *mapper = mapper_of(facts, suspect);
    char size[UNITS_BYTES];
    char rise[UNITS_BYTES];
    struct text text = {0};
    text_addf(&text,
              "Memory outside of Python's small objects grew by %s and "
              "has not stopped",
              units_bytes(size, growth));
    if (suspect != NULL)
        text_addf(&text, ": %s by %s", suspect->word,
                  units_bytes(rise, rise_of(facts, suspect->cause)));
    if (mapper != NULL)
        text_addf(&text, ", most of what is mapped by %s", mapper);
    text_add(&text, ".");
    return text_take(&text);
}

bool
growth_of_native(const struct facts *facts, struct finding *finding)
{
    const int64_t growth = steady_growth(facts, native_bytes);
    if (growth <= 0)
        return false;
    const struct suspect *suspect = suspect_of(facts, growth);
    const char *mapper = mapper_of(facts, suspect);
    *finding = (struct finding){
        .id = "native-growth",
        .bytes = growth,
        .returns_bytes = growth,
        .confidence = "medium",
        .owner = mapper == NULL ? NULL : xstrdup(mapper),
        .sentence = native_sentence(facts, growth, suspect),
        .evidence = growth_evidence(facts),
        .action = xstrdup(
            suspect != NULL
                ? suspect->action
                : "No single cause is most of it: compare the ledgers of two "
                  "moments with `residue stats REC@MOMENT`."),
    };
    return true;
}
