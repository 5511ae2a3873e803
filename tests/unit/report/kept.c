#include "include/attrs.h"
#include "tests/unit/check.h"
#include "tests/unit/report/asking.h"

Test(kept, room_for_dead_ints_and_floats_is_said_apart)
{
    struct query_blocks27 blocks[] = {
        {.name = (char *)"int",
         .blocks = 9000,
         .reserved_bytes = 9 * MIB,
         .live_bytes = MIB,
         .free_bytes = 8 * MIB},
        {.name = (char *)"float",
         .blocks = 40,
         .reserved_bytes = 40960,
         .live_bytes = 40000,
         .free_bytes = 0      },
    };
    struct facts facts = facts_of(census_at(0, 100 * MIB));
    check_false(fires(&facts, "never-returned-int"));
    facts.never.blocks27 = blocks;
    facts.never.n_blocks27 = countof(blocks);
    struct finding finding = ask(&facts, "never-returned-int");
    check_eq(finding.bytes, 8 * MIB);
    check_eq(finding.returns_bytes, 0);
    check_text(finding.owner, "int");
    check_says(finding.evidence, "9,000 blocks of ints");
    drop(&finding);
    check_false(fires(&facts, "never-returned-float"));
    blocks[1].free_bytes = 5 * MIB;
    check_true(fires(&facts, "never-returned-float"));
    blocks[1].free_bytes = QUERY_UNKNOWN;
    check_false(fires(&facts, "never-returned-float"));
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
