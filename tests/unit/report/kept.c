#include <stdlib.h>
#include <string.h>

#include "include/attrs.h"
#include "include/xalloc.h"
#include "tests/unit/check.h"
#include "tests/unit/report/asking.h"

Test(kept, room_for_dead_ints_and_floats_is_said_apart)
{
    struct query_blocks27 blocks[] = {
        {.name = (char *)"int",
         .blocks = 9000,
         .reserved_bytes = 9 * MIB,
         .live_bytes = MIB,
         .free_bytes = 8 * MIB,
         .pinned_blocks = 1500,
         .empty_blocks = 30},
        {.name = (char *)"float",
         .blocks = 40,
         .reserved_bytes = 40960,
         .live_bytes = 40000,
         .free_bytes = 0},
    };
    struct facts facts = facts_of(census_at(0, 100 * MIB));
    check_false(fires(&facts, "never-returned-int"));
    facts.never.blocks27 = blocks;
    facts.never.n_blocks27 = countof(blocks);
    struct finding finding = ask(&facts, "never-returned-int");
    check_eq(finding.bytes, 8 * MIB + 9000 * 16); /* malloc's heads */
    check_eq(finding.returns_bytes, 0);
    check_text(finding.owner, "int");
    check_says(finding.evidence, "9,000 blocks of ints");
    check_says(finding.evidence, "One int alone keeps 1,500 of them, none at "
                                 "all 30.");
    drop(&finding);
    check_false(fires(&facts, "never-returned-float"));
    blocks[1].free_bytes = 5 * MIB;
    check_true(fires(&facts, "never-returned-float"));
    blocks[1].free_bytes = QUERY_UNKNOWN;
    check_false(fires(&facts, "never-returned-float"));
}

Test(kept, how_full_blocks_were_is_not_said_of_recordings_without_it)
{
    struct query_blocks27 blocks = {
        .name = (char *)"int",
        .blocks = 9000,
        .reserved_bytes = 9 * MIB,
        .free_bytes = 8 * MIB,
        .pinned_blocks = QUERY_UNKNOWN,
        .empty_blocks = QUERY_UNKNOWN,
    };
    struct facts facts = facts_of(census_at(0, 100 * MIB));
    facts.never.blocks27 = &blocks;
    facts.never.n_blocks27 = 1;
    struct finding finding = ask(&facts, "never-returned-int");
    cr_assert(strstr(finding.evidence, "alone") == NULL);
    drop(&finding);
}

/* What a holder is called, and of which version. */
static char *
evidence_of(const char *id, const char *holder, const char *python)
{
    struct query_process process = {.python = (char *)python};
    struct query_type type = {
        .name = (char *)holder,
        .pinned_split = 20 * MIB,
        .held_split = 20 * MIB,
    };
    struct facts facts = facts_of(census_at(0, 100 * MIB));
    facts.process = &process;
    facts.types = facts.pinners = &type;
    facts.n_types = facts.n_pinners = 1;
    facts.census.arenas_pinned = 20;
    facts.census.pinned_held = 20 * MIB;
    facts.census.ledger[CAUSE_python_holes] = 10 * MIB;
    struct finding finding = ask(&facts, id);
    char *evidence = xstrdup(finding.evidence);
    drop(&finding);
    return evidence;
}

static bool
says_by_design(const char *id, const char *holder, const char *python)
{
    char *evidence = evidence_of(id, holder, python);
    const bool says = strstr(evidence, "none by design") != NULL;
    free(evidence);
    return says;
}

Test(kept, where_there_are_no_blocks_ints_and_floats_are_said_to_have_none)
{
    static const char *const ids[] = {"arena-pinning", "pool-holes"};
    for (size_t i = 0; i < countof(ids); i++) {
        check_true(says_by_design(ids[i], "int", "3.11.7"));
        check_true(says_by_design(ids[i], "float", "3.6.15"));
        check_false(says_by_design(ids[i], "list", "3.11.7"));
        check_false(says_by_design(ids[i], "int", "2.7.18"));
        check_false(says_by_design(ids[i], "int", NULL));
    }
}

Test(kept, free_lists_are_said_together)
{
    struct query_free_list lists[] = {
        {.name = (char *)"tuple", .count = 3000, .bytes = 5 * MIB},
        {.name = (char *)"float", .count = 100,  .bytes = MIB    },
    };
    struct facts facts = facts_of(census_at(0, 100 * MIB));
    check_false(fires(&facts, "free-lists"));
    facts.never.free_lists = lists;
    facts.never.n_free_lists = countof(lists);
    struct finding finding = ask(&facts, "free-lists");
    check_eq(finding.bytes, 6 * MIB);
    check_text(finding.owner, "tuple");
    check_says(finding.evidence, "3,100 objects");
    drop(&finding);
    lists[0].bytes = lists[1].bytes = 0;
    check_false(fires(&facts, "free-lists"));
}
