/*
 * The rules of the verdict, each on facts made for it: where it speaks, and
 * where it is silent.
 */
#include "report/verdict/rules.h"

#include <stdlib.h>

#include "include/attrs.h"
#include "include/xalloc.h"
#include "tests/unit/check.h"
#include "tests/unit/report/asking.h"

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

/* ---- cgroup-killed ----------------------------------------------------- */

static const struct query_process killed = {
    .end_us = 3 * SECOND_US,
    .exit_status = 137,
    .oom_kills = 4,
};

/* A second after its last census, and a tenth after its last tick. */
static struct facts
killed_facts(const struct query_process *process)
{
    struct facts facts = facts_of(census_at(2 * SECOND_US, 150 * MIB));
    facts.process = process;
    facts.was_oom_killed = true;
    facts.census.cgroup = (struct query_cgroup){
        .current = 180 * MIB,
        .max = 200 * MIB,
        .oom_kills = 3,
        .anon = 160 * MIB,
        .file = 10 * MIB,
        .shmem = 7 * MIB,
        .kernel = 3 * MIB,
        .others = 20 * MIB,
    };
    facts.last_tick = (struct query_tick){
        .t_us = 3 * SECOND_US - SECOND_US / 10,
        .rss_last = 170 * MIB,
        .cgroup_last = 199 * MIB,
    };
    return facts;
}

Test(rules, who_was_ended_by_the_oom_killer_is_told_with_the_last_census)
{
    struct facts facts = killed_facts(&killed);
    struct finding finding = ask(&facts, "cgroup-killed");
    cr_assert_not_null(finding.id);
    check_eq(finding.bytes, 170 * MIB);
    check_text(finding.confidence, "high");
    check_says(finding.sentence, "200.0 MiB");
    check_says(finding.evidence, "SIGKILL");
    check_says(finding.evidence, "risen to 4");
    check_says(finding.evidence, "census, 1.0 s before, found RSS 150.0 MiB");
    check_says(finding.evidence, "180.0 MiB used by the cgroup");
    check_says(finding.evidence, "other processes 20.0 MiB");
    check_says(finding.evidence, "page cache 10.0 MiB");
    check_says(finding.evidence, "shared memory 7.0 MiB");
    check_says(finding.evidence, "the kernel 3.0 MiB");
    check_says(finding.evidence, "tick, 100 ms before, found RSS 170.0 MiB");
    check_says(finding.evidence, "199.0 MiB used");
    drop(&finding);
    facts.was_oom_killed = false;
    check_false(fires(&facts, "cgroup-killed"));
}

Test(rules, an_end_that_nobody_told_is_less_sure)
{
    struct query_process process = killed;
    process.exit_status = QUERY_UNKNOWN;
    struct facts facts = killed_facts(&process);
    struct finding finding = ask(&facts, "cgroup-killed");
    check_text(finding.confidence, "medium");
    cr_assert_null(strstr(finding.evidence, "SIGKILL"));
    drop(&finding);
}

Test(rules, a_kill_is_told_where_little_else_is_known)
{
    struct facts facts = killed_facts(&killed);
    facts.census.cgroup.max = QUERY_UNKNOWN;
    facts.census.cgroup.others = QUERY_UNKNOWN;
    facts.last_tick.t_us = QUERY_UNKNOWN;
    facts.last_tick.rss_last = QUERY_UNKNOWN;
    struct finding finding = ask(&facts, "cgroup-killed");
    check_says(finding.sentence, "no limit");
    cr_assert_null(strstr(finding.evidence, "other processes"));
    cr_assert_null(strstr(finding.evidence, "tick"));
    check_eq(finding.bytes, 150 * MIB);
    drop(&finding);
    facts.census = (struct query_census){0};
    finding = ask(&facts, "cgroup-killed");
    check_says(finding.sentence, "before a census");
    check_eq(finding.bytes, 0);
    drop(&finding);
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

Test(rules, one_look_names_who_sits_in_low_arenas_and_doubts)
{
    struct query_type sitters[] = {
        {.name = xstrdup("float"), .count = 50, .held_split = 60 * MIB},
        {.name = xstrdup("str"),   .count = 90, .held_split = 10 * MIB},
    };
    const struct query_process process = {.pid = 4711};
    struct facts facts = facts_of(census_at(5 * SECOND_US, 100 * MIB));
    facts.process = &process;
    check_false(fires(&facts, "arena-pinning"));
    facts.low = (struct query_low){
        .arenas = 70, .held = 70 * MIB, .resident = 71 * MIB, .holes = MIB};
    facts.sitters = sitters;
    facts.n_sitters = countof(sitters);
    facts.census.ledger[CAUSE_python_holes] = 3 * MIB;

    struct finding finding = ask(&facts, "arena-pinning");
    check_text(finding.owner, "float");
    check_text(finding.confidence, "low");
    check_eq(finding.bytes, 70 * MIB);
    check_eq(finding.returns_bytes, 71 * MIB);
    cr_assert_not_null(strstr(finding.sentence, "cannot tell"));
    cr_assert_not_null(strstr(finding.action, "inspect --every 10s 4711"));
    drop(&finding);
    finding = ask(&facts, "pool-holes"); /* not the same bytes again */
    check_eq(finding.bytes, 2 * MIB);
    drop(&finding);
    free(sitters[0].name);
    free(sitters[1].name);
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

Test(rules, a_doubt_says_what_it_can_come_from)
{
    struct query_process process = {.level = (char *)"watch"};
    struct query_heap torn[] = {{.kind = "main"}, {.kind = "thread"}};
    struct facts facts = facts_of(census_at(0, 100 * MIB));
    facts.process = &process;
    facts.census.ledger[CAUSE_unexplained] = 50 * MIB;
    struct finding finding = ask(&facts, "not-enough-evidence");
    check_says(finding.sentence, "50.0 MiB of 100.0 MiB");
    check_says(finding.evidence, "system call of the program's own");
    check_says(finding.action, "v_pages");
    cr_assert_null(strstr(finding.evidence, "lost"));
    cr_assert_null(strstr(finding.evidence, "changed"));
    drop(&finding);

    process.level = (char *)"inspect";
    finding = ask(&facts, "not-enough-evidence");
    check_says(finding.evidence, "Nothing was preloaded");
    check_says(finding.action, "residue run");
    drop(&finding);

    torn[1].is_torn = 1;
    facts.heaps = torn;
    facts.n_heaps = countof(torn);
    process.lost_events = 12;
    finding = ask(&facts, "not-enough-evidence");
    check_says(finding.evidence, "1 of malloc's heaps changed");
    check_says(finding.evidence, "12 events were lost");
    check_says(finding.action, "residue mark");
    drop(&finding);
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
