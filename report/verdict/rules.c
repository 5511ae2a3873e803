#include "report/verdict/rules.h"

#include <string.h>

#include "include/attrs.h"
#include "include/text.h"
#include "include/xalloc.h"
#include "report/units.h"

enum { KILLED_STATUS = 128 + 9 };

const char *
rules_confidence(const struct query_census *census)
{
    if (query_known(census->torn) != 0 ||
        query_known(census->in_swap_bytes) != 0)
        return "medium";
    return strcmp(census->kind, "end") == 0 || strcmp(census->kind, "mark") == 0
               ? "high"
               : "medium";
}

/* ---- cgroup-killed ----------------------------------------------------- */

static char *
killed_sentence(const struct facts *facts)
{
    const struct query_census *census = &facts->census;
    char max[UNITS_BYTES];
    if (census->id == 0)
        return xstrdup("The kernel's OOM killer ended the process before a "
                       "census was taken.");
    if (census->cgroup.max == QUERY_UNKNOWN)
        return xstrdup("The kernel's OOM killer ended the process: its cgroup "
                       "has no limit that is visible, so an outer one, or the "
                       "machine's memory, had run out.");
    return xasprintf("The kernel's OOM killer ended the process, whose cgroup "
                     "may use %s in all.",
                     units_bytes(max, census->cgroup.max));
}

/* What the cgroup's use is made of, beside this process. */
static void
add_shares(struct text *text, const struct query_cgroup *cgroup)
{
    const struct {
        const char *what;
        int64_t n_bytes;
    } shares[] = {
        {"other processes", cgroup->others},
        {"page cache",      cgroup->file  },
        {"shared memory",   cgroup->shmem },
        {"the kernel",      cgroup->kernel},
    };
    const char *separator = ", of which ";
    for (size_t i = 0; i < countof(shares); i++) {
        char size[UNITS_BYTES];
        if (shares[i].n_bytes == QUERY_UNKNOWN)
            continue;
        text_addf(text, "%s%s %s", separator, shares[i].what,
                  units_bytes(size, shares[i].n_bytes));
        separator = ", ";
    }
}

static void
add_last_census(struct text *text, const struct facts *facts)
{
    const struct query_census *census = &facts->census;
    char age[UNITS_BYTES];
    char rss[UNITS_BYTES];
    char current[UNITS_BYTES];
    if (census->id == 0)
        return;
    text_addf(text, " The last census, %s before, found RSS %s",
              units_duration(age, facts->process->end_us - census->t_us),
              units_bytes(rss, census->rss_bytes));
    if (census->cgroup.current != QUERY_UNKNOWN) {
        text_addf(text, " and %s used by the cgroup",
                  units_bytes(current, census->cgroup.current));
        add_shares(text, &census->cgroup);
    }
    text_add(text, ".");
}

static void
add_last_tick(struct text *text, const struct facts *facts)
{
    const struct query_tick *tick = &facts->last_tick;
    char age[UNITS_BYTES];
    char rss[UNITS_BYTES];
    char current[UNITS_BYTES];
    if (tick->t_us == QUERY_UNKNOWN || tick->t_us <= facts->census.t_us)
        return;
    text_addf(text, " The last tick, %s before, found RSS %s",
              units_duration(age, facts->process->end_us - tick->t_us),
              units_bytes(rss, tick->rss_last));
    if (tick->cgroup_last != QUERY_UNKNOWN)
        text_addf(text, " and %s used",
                  units_bytes(current, tick->cgroup_last));
    text_add(text, ".");
}

static char *
killed_evidence(const struct facts *facts, bool is_told)
{
    const int64_t n = query_known(facts->process->oom_kills);
    struct text text = {0};
    text_addf(&text,
              "%s, and its cgroup's count of OOM kills had just risen to "
              "%lld.",
              is_told ? "It got SIGKILL" : "It ended without a word",
              (long long)n);
    add_last_census(&text, facts);
    add_last_tick(&text, facts);
    return text_take(&text);
}

static bool
cgroup_killed(const struct facts *facts, struct finding *finding)
{
    if (!facts->was_oom_killed)
        return false;
    const bool is_told = facts->process->exit_status == KILLED_STATUS;
    const int64_t rss = query_known(facts->census.rss_bytes);
    const int64_t last = query_known(facts->last_tick.rss_last);
    *finding = (struct finding){
        .id = "cgroup-killed",
        .bytes = last > rss ? last : rss,
        .returns_bytes = 0,
        .confidence = is_told ? "high" : "medium",
        .sentence = killed_sentence(facts),
        .evidence = killed_evidence(facts, is_told),
        .action = xstrdup("Allow the cgroup more, or need less: what was "
                          "resident is in `residue stats`, and what of it was "
                          "held in the other findings."),
    };
    return true;
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
    else if (strcmp(owner->name, RECORDING_TYPE_OTHER) == 0)
        text_add(text, "objects of many types");
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
    if (owner != NULL)
        rules_add_design(&text, facts, owner->name);
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

/*
 * One look at a process without a history: which arenas are low, and who sits
 * in them, but not for how long.
 */
static bool
perhaps_pinning(const struct facts *facts, struct finding *finding)
{
    const struct query_low *low = &facts->low;
    char texts[6][UNITS_BYTES];
    if (low->arenas == 0 || facts->n_sitters == 0)
        return false;
    const struct query_type *owner = &facts->sitters[0];
    struct text text = {0};
    text_addf(
        &text,
        "%s of free memory lie in %s arenas that are less than a quarter "
        "full, where %s blocks live (%s): %s of it is held by ",
        units_bytes(texts[0], low->held), units_count(texts[1], low->arenas),
        units_count(texts[2], low->blocks), units_bytes(texts[3], low->live),
        units_share(texts[4], owner->held_split, low->held));
    add_owner(&text, owner);
    text_add(&text, ". One look cannot tell whether they are pinned, or are "
                    "only filling up.");
    struct text evidence = {0};
    text_addf(&evidence, "At %s: %s of %s arenas are under 25 %% occupied.",
              units_clock(texts[0], facts->census.t_us),
              units_count(texts[1], low->arenas),
              units_count(texts[2], facts->census.arenas));
    rules_add_design(&evidence, facts, owner->name);
    *finding = (struct finding){
        .id = "arena-pinning",
        .bytes = low->held,
        .returns_bytes = low->resident,
        .confidence = "low",
        .owner = xstrdup(owner->name),
        .sentence = text_take(&text),
        .evidence = text_take(&evidence),
        .action = xasprintf(
            "Look more than once: `residue inspect --every 10s %lld` tells "
            "which of them stay so. If they do, let go of what lives in them: "
            "%s go back.",
            (long long)facts->process->pid,
            units_bytes(texts[5], low->resident)),
    };
    return true;
}

static bool
arena_pinning(const struct facts *facts, struct finding *finding)
{
    const struct query_census *census = &facts->census;
    if (query_known(census->arenas_pinned) == 0)
        return perhaps_pinning(facts, finding);
    const struct query_type *owner =
        greatest(facts->pinners, facts->n_pinners, pinned_by);
    *finding = (struct finding){
        .id = "arena-pinning",
        .bytes = census->pinned_held,
        .returns_bytes = census->pinned_resident,
        .confidence = rules_confidence(census),
        .owner = owner == NULL ? NULL : xstrdup(owner->name),
        .sentence = pinning_sentence(census, owner),
        .evidence = pinning_evidence(facts, owner),
        .action = pinning_action(census, owner),
    };
    return true;
}

/* ---- pool-holes -------------------------------------------------------- */

static char *
holes_evidence(const struct facts *facts)
{
    const struct query_type *holder =
        greatest(facts->types, facts->n_types, held_by);
    char live[UNITS_BYTES];
    char at[UNITS_BYTES];
    struct text text = {0};
    text_addf(&text,
              "At %s: %s of live blocks share their pools with that much free "
              "room, in arenas that are not pinned.",
              units_clock(at, facts->census.t_us),
              units_bytes(live, facts->census.ledger[CAUSE_python_live]));
    if (holder != NULL)
        rules_add_design(&text, facts, holder->name);
    return text_take(&text);
}

static bool
pool_holes(const struct facts *facts, struct finding *finding)
{
    const struct query_census *census = &facts->census;
    const int64_t holes = query_known(census->ledger[CAUSE_python_holes]) -
                          query_known(census->pinned_holes) - facts->low.holes;
    if (holes <= 0)
        return false;
    char size[UNITS_BYTES];
    *finding = (struct finding){
        .id = "pool-holes",
        .bytes = holes,
        .returns_bytes = 0,
        .confidence = rules_confidence(census),
        .sentence = xasprintf(
            "%s are free blocks between live ones: only objects of the same "
            "size can use them.",
            units_bytes(size, holes)),
        .evidence = holes_evidence(facts),
        .action = xstrdup("Allocate what lives long apart from what dies soon, "
                          "or let the long-lived part be built anew."),
    };
    return true;
}

const rule verdict_rules[] = {
    cgroup_killed,       arena_pinning,         pool_holes,
    heaps_are_trimmable, heaps_are_page_pinned, kept_for_ints,
    kept_for_floats,     kept_in_lists,         growth_of_python,
    growth_of_native,    evidence_lacks,
};

const size_t verdict_n_rules = countof(verdict_rules);
