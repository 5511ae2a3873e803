#include <string.h>

#include "include/attrs.h"
#include "tests/unit/check.h"
#include "tests/unit/report/asking.h"

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

Test(growth, steady_growth_is_said)
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

Test(growth, growth_needs_eight_censuses_over_half_a_minute)
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

Test(growth, a_load_that_comes_and_goes_is_no_growth)
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

Test(growth, a_saw_tooth_whose_feet_rise_is_growth)
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

Test(growth, growth_that_has_all_but_stopped_is_none)
{
    struct facts facts = course(200, 200 * SECOND_US, saturating);
    check_false(fires(&facts, "python-growth"));
}

Test(growth, a_quarter_without_a_census_proves_nothing)
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

Test(growth, native_growth_is_what_lies_outside_of_pythons_arenas)
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
        CAUSE_python_overhead, CAUSE_python_never_returned,
    };
    for (size_t k = 0; k < countof(others); k++) {
        for (size_t i = 0; i < 100; i++) {
            memset(censuses[i].ledger, 0, sizeof(censuses[i].ledger));
            censuses[i].ledger[others[k]] = linear(i, 100);
        }
        cr_assert(!fires(&facts, "native-growth"), "cause %u", others[k]);
    }
}

Test(growth, what_is_unknown_is_not_taken_for_growth)
{
    struct facts facts = course(100, 60 * SECOND_US, level);
    for (size_t i = 0; i < 100; i++)
        censuses[i].ledger[CAUSE_python_live] = QUERY_UNKNOWN;
    check_false(fires(&facts, "python-growth"));
    check_false(fires(&facts, "native-growth"));
}

static const struct query_module modules[] = {
    {.name = (char *)"libgrows.so", .resident_bytes = 60 * MIB},
    {.name = (char *)"libother.so", .resident_bytes = 30 * MIB},
};

Test(growth, native_growth_names_the_cause_that_is_most_of_it)
{
    static const struct {
        enum recording_cause cause;
        const char *word;
    } cases[] = {
        {CAUSE_native_live,  "native code"         },
        {CAUSE_python_large, "large Python objects"},
        {CAUSE_native_free,  "malloc keeps"        },
        {CAUSE_mapped_anon,  "anonymous mappings"  },
        {CAUSE_stacks,       "stacks"              },
        {CAUSE_unexplained,  "without a cause"     },
    };
    for (size_t k = 0; k < countof(cases); k++) {
        struct facts facts = course(100, 60 * SECOND_US, linear);
        for (size_t i = 0; i < 100; i++) {
            memset(censuses[i].ledger, 0, sizeof(censuses[i].ledger));
            censuses[i].ledger[cases[k].cause] = linear(i, 100);
        }
        struct finding finding = ask(&facts, "native-growth");
        check_says(finding.sentence, cases[k].word);
        cr_assert_null(finding.owner);
        drop(&finding);
    }
}

Test(growth, native_growth_names_who_maps_most)
{
    struct facts facts = course(100, 60 * SECOND_US, linear);
    for (size_t i = 0; i < 100; i++) {
        censuses[i].ledger[CAUSE_python_live] = 0;
        censuses[i].ledger[CAUSE_mapped_anon] = linear(i, 100);
    }
    facts.census = censuses[99];
    facts.modules = (struct query_module *)modules;
    facts.n_modules = countof(modules);
    struct finding finding = ask(&facts, "native-growth");
    check_text(finding.owner, "libgrows.so");
    check_says(finding.sentence, "mapped by libgrows.so");
    drop(&finding);
    facts.census.ledger[CAUSE_mapped_anon] = 121 * MIB;
    finding = ask(&facts, "native-growth");
    cr_assert_null(finding.owner);
    drop(&finding);
    for (size_t i = 0; i < 100; i++)
        censuses[i].ledger[CAUSE_mapped_anon] = QUERY_UNKNOWN;
    finding = ask(&facts, "native-growth");
    cr_assert_null(strstr(finding.sentence, "anonymous"));
    drop(&finding);
}
