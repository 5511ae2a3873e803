/*
 * The rules. Each is a pure function of the facts of one process; verdict.c
 * weighs and ranks what they say.
 */
#include <string.h>

#include "include/attrs.h"
#include "include/text.h"
#include "include/xalloc.h"
#include "report/units.h"
#include "report/verdict/verdict.h"

enum {
    GROWTH_WINDOW_US = 30000000,
    GROWTH_CENSUSES = 8,
    QUARTERS = 4,
};

/* How sure a figure of this census is. */
static const char *
confidence_of(const struct query_census *census)
{
    if (query_known(census->torn) != 0 ||
        query_known(census->in_swap_bytes) != 0)
        return "medium";
    return strcmp(census->kind, "end") == 0 || strcmp(census->kind, "mark") == 0
               ? "high"
               : "medium";
}

/* ---- arena-pinning ----------------------------------------------------- */

static int64_t
pinned_by(const struct query_type *type)
{
    return query_known(type->pinned_exclusive) +
           query_known(type->pinned_split);
}

static int64_t
held_by(const struct query_type *type)
{
    return query_known(type->held_exclusive) + query_known(type->held_split);
}

/* The type with the greatest value, or NULL: all are 0. */
static const struct query_type *
greatest(const struct query_type *types, size_t n,
         int64_t (*value)(const struct query_type *type))
{
    const struct query_type *found = NULL;
    for (size_t i = 0; i < n; i++) {
        if (value(&types[i]) > (found == NULL ? 0 : value(found)))
            found = &types[i];
    }
    return found;
}

/* "objects of type float", or what those are that are no objects. */
static void
add_owner(struct text *text, const struct query_type *owner)
{
    if (strcmp(owner->name, "(raw)") == 0)
        text_add(text, "blocks that are no objects (tables, buffers)");
    else if (strcmp(owner->name, "(free list)") == 0)
        text_add(text, "dead objects that are kept for reuse");
    else
        text_addf(text, "objects of type %s", owner->name);
}

static char *
pinning_sentence(const struct query_census *census,
                 const struct query_type *owner)
{
    char held[UNITS_BYTES];
    char blocks[UNITS_BYTES];
    char live[UNITS_BYTES];
    char arenas[UNITS_BYTES];
    struct text text = {0};
    text_addf(&text,
              "%s of free memory cannot go back to the system, because %s live "
              "blocks (%s) are spread over %s otherwise empty arenas",
              units_bytes(held, census->pinned_held),
              units_count(blocks, census->pinned_blocks),
              units_bytes(live, census->pinned_live),
              units_count(arenas, census->arenas_pinned));
    if (owner != NULL) {
        char share[UNITS_BYTES];
        text_addf(&text, ": %s of it is held by ",
                  units_share(share, pinned_by(owner), census->pinned_held));
        add_owner(&text, owner);
    }
    text_add(&text, ".");
    return text_take(&text);
}

static char *
pinning_evidence(const struct facts *facts, const struct query_type *owner)
{
    const struct query_census *census = &facts->census;
    char at[UNITS_BYTES];
    char pinned[UNITS_BYTES];
    char all[UNITS_BYTES];
    struct text text = {0};
    text_addf(&text,
              "At %s: %s of %s arenas are under 25 %% occupied and have been "
              "full",
              units_clock(at, census->t_us),
              units_count(pinned, census->arenas_pinned),
              units_count(all, census->arenas));
    if (owner != NULL) {
        char n[UNITS_BYTES];
        char own[UNITS_BYTES];
        text_addf(&text, "; %s ", units_count(n, owner->pinned_count));
        add_owner(&text, owner);
        text_addf(&text, " (%s) live in them",
                  units_bytes(own, owner->pinned_bytes));
    }
    if (owner != NULL && query_known(owner->pinned_exclusive) != 0) {
        char alone[UNITS_BYTES];
        text_addf(&text, ", alone in those that hold %s",
                  units_bytes(alone, owner->pinned_exclusive));
    }
    const struct query_type *holder =
        owner == NULL ? greatest(facts->types, facts->n_types, held_by) : NULL;
    if (holder != NULL) {
        char then[UNITS_BYTES];
        text_addf(&text,
                  "; there was no time to read whose; at %s most was "
                  "held by ",
                  units_clock(then, facts->types_t_us));
        add_owner(&text, holder);
    }
    text_add(&text, ".");
    return text_take(&text);
}

static char *
pinning_action(const struct query_census *census,
               const struct query_type *owner)
{
    char back[UNITS_BYTES];
    units_bytes(back, census->pinned_resident);
    if (owner != NULL && strcmp(owner->name, "(free list)") == 0)
        return xasprintf(
            "The interpreter keeps these dead objects for reuse: build the big "
            "batch in a process of its own; here %s would go back.",
            back);
    return xasprintf(
        "Let go of what lives in these arenas, or build it anew once the big "
        "batch is gone, so that it shares one: %s go back.",
        back);
}

static bool
arena_pinning(const struct facts *facts, struct finding *finding)
{
    const struct query_census *census = &facts->census;
    if (query_known(census->arenas_pinned) == 0)
        return false;
    const struct query_type *owner =
        greatest(facts->pinners, facts->n_pinners, pinned_by);
    *finding = (struct finding){
        .id = "arena-pinning",
        .bytes = census->pinned_held,
        .returns_bytes = census->pinned_resident,
        .confidence = confidence_of(census),
        .owner = owner == NULL ? NULL : xstrdup(owner->name),
        .sentence = pinning_sentence(census, owner),
        .evidence = pinning_evidence(facts, owner),
        .action = pinning_action(census, owner),
    };
    return true;
}

/* ---- pool-holes -------------------------------------------------------- */

static bool
pool_holes(const struct facts *facts, struct finding *finding)
{
    const struct query_census *census = &facts->census;
    const int64_t holes = query_known(census->ledger[CAUSE_python_holes]) -
                          query_known(census->pinned_holes);
    if (holes <= 0)
        return false;
    char size[UNITS_BYTES];
    char live[UNITS_BYTES];
    char at[UNITS_BYTES];
    *finding = (struct finding){
        .id = "pool-holes",
        .bytes = holes,
        .returns_bytes = 0,
        .confidence = confidence_of(census),
        .sentence = xasprintf(
            "%s are free blocks between live ones: only objects of the same "
            "size can use them.",
            units_bytes(size, holes)),
        .evidence = xasprintf(
            "At %s: %s of live blocks share their pools with that much free "
            "room, in arenas that are not pinned.",
            units_clock(at, census->t_us),
            units_bytes(live, census->ledger[CAUSE_python_live])),
        .action = xstrdup("Allocate what lives long apart from what dies soon, "
                          "or let the long-lived part be built anew."),
    };
    return true;
}

/* ---- growth ------------------------------------------------------------ */

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
           query_known(census->ledger[CAUSE_python_live]) -
           query_known(census->ledger[CAUSE_python_holes]) -
           query_known(census->ledger[CAUSE_python_free_pools]) -
           query_known(census->ledger[CAUSE_python_overhead]);
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
        int64_t quarter = (census->t_us - start) * QUARTERS / span;
        quarter = quarter == QUARTERS ? QUARTERS - 1 : quarter;
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

static bool
python_growth(const struct facts *facts, struct finding *finding)
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

static bool
native_growth(const struct facts *facts, struct finding *finding)
{
    const int64_t growth = steady_growth(facts, native_bytes);
    if (growth <= 0)
        return false;
    char size[UNITS_BYTES];
    *finding = (struct finding){
        .id = "native-growth",
        .bytes = growth,
        .returns_bytes = growth,
        .confidence = "medium",
        .sentence = xasprintf(
            "Memory outside of Python's small objects grew by %s and has not "
            "stopped.",
            units_bytes(size, growth)),
        .evidence = growth_evidence(facts),
        .action = xstrdup("Suspect an extension module, or large Python "
                          "objects: blocks of more than 512 bytes lie here "
                          "too."),
    };
    return true;
}

/* ---- when nothing can be said ------------------------------------------ */

static bool
not_enough_evidence(const struct facts *facts, struct finding *finding)
{
    const struct query_census *census = &facts->census;
    const int64_t unexplained = query_known(census->ledger[CAUSE_unexplained]);
    const int64_t threshold = verdict_threshold(facts);
    if (census->id != 0 && unexplained * 4 < census->rss_bytes)
        return false;
    if (census->id != 0 && unexplained < threshold)
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
        finding->sentence =
            xstrdup("Not enough evidence: no census was taken.");
        finding->evidence = xstrdup("The process ended, or could not be read, "
                                    "before there was one.");
        finding->action =
            xstrdup("Let it run for longer, or see `residue doctor`.");
        return true;
    }
    finding->sentence = xasprintf(
        "Not enough evidence: %s of %s are unexplained, most of it what malloc "
        "manages.",
        units_bytes(size, unexplained), units_bytes(rss, census->rss_bytes));
    char live[UNITS_BYTES];
    finding->evidence = xasprintf(
        "This version does not read malloc's heaps: their pages are shown as "
        "unexplained, not guessed at. By malloc's counters %s were in use at "
        "that moment.",
        units_bytes(live, census->live_bytes));
    finding->action =
        query_known(census->live_bytes) * 2 > unexplained
            ? xstrdup("If this is more than expected, a native library or "
                      "large Python objects use it.")
            : xstrdup("Most of it is not in use: malloc keeps free memory, or "
                      "something has mapped memory on its own.");
    return true;
}

const rule verdict_rules[] = {
    arena_pinning, pool_holes,          python_growth,
    native_growth, not_enough_evidence,
};

const size_t verdict_n_rules = countof(verdict_rules);
