/*
 * The rules of the verdict, each on facts made for it: where it speaks, and
 * where it is silent.
 */
#include <stdlib.h>

#include "include/attrs.h"
#include "report/verdict/verdict.h"
#include "tests/unit/check.h"

#define MIB ((int64_t)1024 * 1024)
#define SECOND_US ((int64_t)1000000)

static void
drop(struct finding *finding)
{
    free(finding->owner);
    free(finding->sentence);
    free(finding->evidence);
    free(finding->action);
}

/* What the rule of that id says; its id is NULL if it is silent. */
static struct finding
ask(const struct facts *facts, const char *id)
{
    struct finding said = {0};
    for (size_t i = 0; i < verdict_n_rules; i++) {
        struct finding finding = {0};
        if (!verdict_rules[i](facts, &finding))
            continue;
        cr_assert(finding.sentence != NULL && finding.evidence != NULL &&
                      finding.action != NULL && finding.confidence != NULL,
                  "%s does not say all", finding.id);
        if (strcmp(finding.id, id) == 0)
            said = finding;
        else
            drop(&finding);
    }
    return said;
}

static bool
fires(const struct facts *facts, const char *id)
{
    struct finding finding = ask(facts, id);
    const bool is_said = finding.id != NULL;
    drop(&finding);
    return is_said;
}

/* A census in which every figure is known. */
static struct query_census
census_at(int64_t t_us, int64_t rss)
{
    struct query_census census = {
        .id = 1, .t_us = t_us, .kind = "end", .rss_bytes = rss};
    return census;
}

static struct facts
facts_of(struct query_census census)
{
    return (struct facts){.census = census};
}

/* ---- what a finding must be worth -------------------------------------- */

Test(rules, a_finding_is_worth_five_percent_and_four_mib)
{
    struct facts facts = facts_of(census_at(0, 20 * MIB));
    check_eq(verdict_threshold(&facts), 4 * MIB);
    facts.census.rss_bytes = 80 * MIB;
    check_eq(verdict_threshold(&facts), 4 * MIB);
    facts.census.rss_bytes = 1000 * MIB;
    check_eq(verdict_threshold(&facts), 50 * MIB);
}

Test(rules, held_in_all_is_what_no_live_block_uses)
{
    struct query_census census = census_at(0, 100 * MIB);
    for (int64_t i = 0; i < N_CAUSES; i++)
        census.ledger[i] = (int64_t)1 << i;
    check_eq(verdict_held(&census),
             (1 << CAUSE_python_never_returned) + (1 << CAUSE_python_holes) +
                 (1 << CAUSE_python_free_pools) + (1 << CAUSE_native_free));
    census.ledger[CAUSE_python_never_returned] = QUERY_UNKNOWN;
    census.ledger[CAUSE_native_free] = QUERY_UNKNOWN;
    check_eq(verdict_held(&census),
             (1 << CAUSE_python_holes) + (1 << CAUSE_python_free_pools));
}

/* ---- arena-pinning ----------------------------------------------------- */

static struct facts
pinned(void)
{
    struct facts facts = facts_of(census_at(5 * SECOND_US, 100 * MIB));
    facts.census.arenas = 90;
    facts.census.arenas_pinned = 80;
    facts.census.pinned_held = 79 * MIB;
    facts.census.pinned_resident = 80 * MIB;
    facts.census.pinned_blocks = 1234;
    facts.census.pinned_live = MIB;
    return facts;
}

Test(rules, pinning_is_said_where_an_arena_is_pinned)
{
    struct facts facts = pinned();
    struct finding finding = ask(&facts, "arena-pinning");
    cr_assert_not_null(finding.id);
    check_eq(finding.bytes, 79 * MIB);
    check_eq(finding.returns_bytes, 80 * MIB);
    cr_assert_null(finding.owner);
    cr_assert_not_null(strstr(finding.sentence, "79.0 MiB"));
    cr_assert_not_null(strstr(finding.sentence, "1,234"));
    cr_assert_not_null(strstr(finding.evidence, "80 of 90"));
    check_text(finding.confidence, "high");
    drop(&finding);

    facts.census.arenas_pinned = 0;
    check_false(fires(&facts, "arena-pinning"));
    facts.census.arenas_pinned = QUERY_UNKNOWN;
    check_false(fires(&facts, "arena-pinning"));
}

Test(rules, the_owner_is_who_holds_most_of_what_is_pinned)
{
    struct facts facts = pinned();
    struct query_type pinners[4] = {
        {.name = "many"}, {.name = "float"}, {.name = "list"}, {.name = "old"}};
    pinners[0].bytes = 50 * MIB;
    pinners[0].pinned_split = 10 * MIB;
    pinners[1].pinned_exclusive = 30 * MIB;
    pinners[1].pinned_split = 20 * MIB;
    pinners[1].pinned_count = 80;
    pinners[2].pinned_exclusive = 40 * MIB;
    pinners[3].pinned_exclusive = QUERY_UNKNOWN;
    pinners[3].pinned_split = QUERY_UNKNOWN;
    facts.pinners = pinners;
    facts.n_pinners = countof(pinners);
    struct finding finding = ask(&facts, "arena-pinning");
    check_text(finding.owner, "float");
    cr_assert_not_null(strstr(finding.sentence, "63 %"));
    cr_assert_not_null(strstr(finding.evidence, "80 objects"));
    drop(&finding);
}

Test(rules, a_census_that_is_not_whole_is_less_sure)
{
    struct facts facts = pinned();
    const struct {
        const char *kind;
        int64_t torn;
        int64_t in_swap;
        const char *confidence;
    } cases[] = {
        {"end",      0,             0,             "high"  },
        {"mark",     0,             0,             "high"  },
        {"periodic", 0,             0,             "medium"},
        {"peak",     0,             0,             "medium"},
        {"end",      1,             0,             "medium"},
        {"end",      0,             4096,          "medium"},
        {"end",      QUERY_UNKNOWN, QUERY_UNKNOWN, "high"  },
    };
    for (size_t i = 0; i < countof(cases); i++) {
        strcpy(facts.census.kind, cases[i].kind);
        facts.census.torn = cases[i].torn;
        facts.census.in_swap_bytes = cases[i].in_swap;
        struct finding finding = ask(&facts, "arena-pinning");
        check_text(finding.confidence, cases[i].confidence);
        drop(&finding);
    }
}

/* ---- pool-holes -------------------------------------------------------- */

Test(rules, holes_are_said_where_no_pin_explains_them)
{
    struct facts facts = facts_of(census_at(0, 100 * MIB));
    facts.census.ledger[CAUSE_python_holes] = 30 * MIB;
    facts.census.pinned_holes = 10 * MIB;
    struct finding finding = ask(&facts, "pool-holes");
    cr_assert_not_null(finding.id);
    check_eq(finding.bytes, 20 * MIB);
    check_eq(finding.returns_bytes, 0);
    drop(&finding);

    facts.census.pinned_holes = 30 * MIB;
    check_false(fires(&facts, "pool-holes"));
    facts.census.pinned_holes = 40 * MIB;
    check_false(fires(&facts, "pool-holes"));
    facts.census.pinned_holes = QUERY_UNKNOWN;
    check_true(fires(&facts, "pool-holes"));
    facts.census.ledger[CAUSE_python_holes] = QUERY_UNKNOWN;
    check_false(fires(&facts, "pool-holes"));
}

/* ---- growth ------------------------------------------------------------ */

enum { MOST_CENSUSES = 400 };

static struct query_census censuses[MOST_CENSUSES];

/* n censuses over a span; load gives the live bytes at a part of it. */
static struct facts
course(size_t n, int64_t span_us, int64_t (*load)(size_t i, size_t n))
{
    for (size_t i = 0; i < n; i++) {
        censuses[i] = census_at(
            SECOND_US + (n == 1 ? 0 : (int64_t)i * span_us / (int64_t)(n - 1)),
            0);
        censuses[i].ledger[CAUSE_python_live] = load(i, n);
        censuses[i].rss_bytes = 10 * MIB + load(i, n);
    }
    struct facts facts = facts_of(censuses[n - 1]);
    facts.censuses = censuses;
    facts.n_censuses = n;
    return facts;
}

static int64_t
linear(size_t i, size_t n)
{
    return (int64_t)(100 * MIB * (int64_t)i / (int64_t)n);
}

Test(rules, steady_growth_is_said)
{
    struct query_type types[] = {
        {.name = "dict", .bytes = 50 * MIB}
    };
    struct facts facts = course(100, 60 * SECOND_US, linear);
    facts.types = types;
    facts.n_types = 1;
    struct finding finding = ask(&facts, "python-growth");
    cr_assert_not_null(finding.id);
    check_eq(finding.bytes, 75 * MIB);
    check_text(finding.owner, "dict");
    cr_assert_not_null(strstr(finding.sentence, "75.0 MiB"));
    drop(&finding);
}

Test(rules, growth_needs_eight_censuses_over_half_a_minute)
{
    struct facts facts = course(8, 30 * SECOND_US, linear);
    check_true(fires(&facts, "python-growth"));
    facts = course(7, 300 * SECOND_US, linear);
    check_false(fires(&facts, "python-growth"));
    facts = course(400, 30 * SECOND_US - 1, linear);
    check_false(fires(&facts, "python-growth"));
    facts = course(1, 0, linear);
    check_false(fires(&facts, "python-growth"));
    facts.n_censuses = 0;
    check_false(fires(&facts, "python-growth"));
}

static int64_t
saw_tooth(size_t i, size_t n)
{
    (void)n;
    return 20 * MIB + (int64_t)(i % 25) * 3 * MIB;
}

static int64_t
square_wave(size_t i, size_t n)
{
    (void)n;
    return i % 20 < 10 ? 10 * MIB : 300 * MIB;
}

static int64_t
one_step(size_t i, size_t n)
{
    return i < n / 2 ? 10 * MIB : 200 * MIB;
}

static int64_t
one_climb_early(size_t i, size_t n)
{
    return i < n / 4 ? (int64_t)i * MIB : (int64_t)(n / 4) * MIB;
}

static int64_t
shrinking(size_t i, size_t n)
{
    return (int64_t)(n - i) * MIB;
}

static int64_t
level(size_t i, size_t n)
{
    (void)i;
    (void)n;
    return 100 * MIB;
}

/* A last fall back to the start takes the growth away. */
static int64_t
released_at_last(size_t i, size_t n)
{
    return i + 1 == n ? 0 : (int64_t)i * MIB;
}

Test(rules, a_load_that_comes_and_goes_is_no_growth)
{
    int64_t (*const loads[])(size_t, size_t) = {
        saw_tooth, square_wave, one_step,         one_climb_early,
        shrinking, level,       released_at_last,
    };
    for (size_t i = 0; i < countof(loads); i++) {
        struct facts facts = course(200, 200 * SECOND_US, loads[i]);
        cr_assert(!fires(&facts, "python-growth"), "load %zu", i);
        cr_assert(!fires(&facts, "native-growth"), "load %zu", i);
    }
}

static int64_t
rising_saw_tooth(size_t i, size_t n)
{
    return saw_tooth(i, n) + (int64_t)i * MIB / 2;
}

Test(rules, a_saw_tooth_whose_feet_rise_is_growth)
{
    struct facts facts = course(200, 200 * SECOND_US, rising_saw_tooth);
    check_true(fires(&facts, "python-growth"));
}

/* Fast in the first quarter, and hardly from there on. */
static int64_t
saturating(size_t i, size_t n)
{
    const int64_t part = (int64_t)(i * 100 / n);
    return part < 25 ? part * 8 * MIB : 200 * MIB + part * MIB / 4;
}

Test(rules, growth_that_has_all_but_stopped_is_none)
{
    struct facts facts = course(200, 200 * SECOND_US, saturating);
    check_false(fires(&facts, "python-growth"));
}

Test(rules, a_quarter_without_a_census_proves_nothing)
{
    struct facts facts = course(100, 100 * SECOND_US, linear);
    size_t n = 0;
    for (size_t i = 0; i < 100; i++) {
        if (i < 25 || i >= 50)
            censuses[n++] = censuses[i];
    }
    facts.n_censuses = n;
    check_false(fires(&facts, "python-growth"));
}

Test(rules, native_growth_is_what_lies_outside_of_pythons_arenas)
{
    struct facts facts = course(100, 60 * SECOND_US, linear);
    check_false(fires(&facts, "native-growth")); /* RSS grew by Python alone */
    for (size_t i = 0; i < 100; i++)
        censuses[i].ledger[CAUSE_python_live] = 0;
    check_true(fires(&facts, "native-growth"));
    check_false(fires(&facts, "python-growth"));
    static const enum recording_cause others[] = {
        CAUSE_profiler,        CAUSE_file,
        CAUSE_python_holes,    CAUSE_python_free_pools,
        CAUSE_python_overhead,
    };
    for (size_t k = 0; k < countof(others); k++) {
        for (size_t i = 0; i < 100; i++) {
            memset(censuses[i].ledger, 0, sizeof(censuses[i].ledger));
            censuses[i].ledger[others[k]] = linear(i, 100);
        }
        cr_assert(!fires(&facts, "native-growth"), "cause %u", others[k]);
    }
}

Test(rules, what_is_unknown_is_not_taken_for_growth)
{
    struct facts facts = course(100, 60 * SECOND_US, level);
    for (size_t i = 0; i < 100; i++)
        censuses[i].ledger[CAUSE_python_live] = QUERY_UNKNOWN;
    check_false(fires(&facts, "python-growth"));
    check_false(fires(&facts, "native-growth"));
}

/* ---- not-enough-evidence ----------------------------------------------- */

Test(rules, without_a_census_there_is_not_enough_evidence)
{
    struct facts facts = {0};
    struct finding finding = ask(&facts, "not-enough-evidence");
    cr_assert_not_null(finding.id);
    check_eq(finding.bytes, 0);
    check_text(finding.confidence, "low");
    drop(&finding);
}

Test(rules, a_quarter_without_a_cause_is_not_enough_evidence)
{
    struct facts facts = facts_of(census_at(0, 100 * MIB));
    facts.census.ledger[CAUSE_unexplained] = 25 * MIB;
    struct finding finding = ask(&facts, "not-enough-evidence");
    check_eq(finding.bytes, 25 * MIB);
    drop(&finding);
    facts.census.ledger[CAUSE_unexplained] = 25 * MIB - 1;
    check_false(fires(&facts, "not-enough-evidence"));
}

Test(rules, a_little_without_a_cause_does_not_matter)
{
    struct facts facts = facts_of(census_at(0, 8 * MIB));
    facts.census.ledger[CAUSE_unexplained] = 4 * MIB - 1;
    check_false(fires(&facts, "not-enough-evidence"));
    facts.census.ledger[CAUSE_unexplained] = 4 * MIB;
    check_true(fires(&facts, "not-enough-evidence"));
}

/* ---- all of them ------------------------------------------------------- */

Test(rules, a_process_with_nothing_to_say_has_no_findings)
{
    struct facts facts = facts_of(census_at(0, 100 * MIB));
    for (size_t i = 0; i < verdict_n_rules; i++) {
        struct finding finding = {0};
        check_false(verdict_rules[i](&facts, &finding));
    }
}
