#include <string.h>

#include "include/attrs.h"
#include "tests/unit/check.h"
#include "tests/unit/report/asking.h"

/* A main heap, three of threads, of which one has nothing free, and chunks that
   are mappings. */
static struct query_heap heaps[] = {
    {
     .kind = "main",
     .chunks = 1000,
     .live_bytes = MIB,
     .resident_bytes = 30 * MIB,
     .trimmable_bytes = 20 * MIB,
     .page_pinned_bytes = 9 * MIB,
     },
    {
     .kind = "thread",
     .chunks = 10,
     .live_bytes = MIB,
     .resident_bytes = 6 * MIB,
     .cached_chunks = 7,
     .cached_bytes = 4096,
     .trimmable_bytes = 3 * MIB,
     .page_pinned_bytes = 2 * MIB,
     },
    {
     .kind = "thread",
     .chunks = 10,
     .live_bytes = MIB,
     .resident_bytes = 6 * MIB,
     .trimmable_bytes = 2 * MIB,
     .page_pinned_bytes = 3 * MIB,
     },
    {
     .kind = "thread",
     .chunks = 10,
     .live_bytes = MIB,
     .resident_bytes = MIB,
     },
    {
     .kind = "mmapped",
     .chunks = 5,
     .live_bytes = 90 * MIB,
     .resident_bytes = 90 * MIB,
     },
};

static struct facts
with_heaps(void)
{
    struct facts facts = facts_of(census_at(5 * SECOND_US, 150 * MIB));
    facts.heaps = heaps;
    facts.n_heaps = countof(heaps);
    facts.census.heap_trimmable = 25 * MIB;
    facts.census.heap_page_pinned = 14 * MIB;
    facts.census.trim_gain = 24 * MIB;
    return facts;
}

Test(heaps, free_pages_of_heaps_are_said_with_what_trimming_gives)
{
    struct facts facts = with_heaps();
    struct finding finding = ask(&facts, "heap-trimmable");
    cr_assert_not_null(finding.id);
    check_eq(finding.bytes, 25 * MIB);
    check_eq(finding.returns_bytes, 24 * MIB);
    check_text(finding.confidence, "high");
    check_says(finding.sentence, "20.0 MiB in the main heap");
    check_says(finding.sentence, "5.0 MiB in 2 heaps of threads");
    check_says(finding.evidence, "give back 24.0 MiB");
    check_says(finding.evidence, "1,030 live blocks (4.0 MiB)");
    check_says(finding.evidence, "43.0 MiB are resident");
    check_says(finding.evidence, "7 freed ones (4.0 KiB)");
    check_says(finding.action, "malloc_trim(0)");
    cr_assert_null(strstr(finding.action, "MALLOC_ARENA_MAX"));
    drop(&finding);
    facts.census.heap_trimmable = 0;
    check_false(fires(&facts, "heap-trimmable"));
    facts.census.heap_trimmable = QUERY_UNKNOWN;
    check_false(fires(&facts, "heap-trimmable"));
}

Test(heaps, where_threads_hold_most_fewer_arenas_are_advised)
{
    struct facts facts = with_heaps();
    facts.heaps = heaps + 1;
    facts.n_heaps = 1;
    facts.census.heap_trimmable = 3 * MIB;
    facts.census.trim_gain = MIB;
    struct finding finding = ask(&facts, "heap-trimmable");
    check_says(finding.sentence, "3.0 MiB in 1 heap of threads");
    cr_assert_null(strstr(finding.sentence, "main"));
    check_says(finding.action, "gives back 1.0 MiB: it leaves");
    check_says(finding.action, "MALLOC_ARENA_MAX");
    drop(&finding);
    finding = ask(&facts, "heap-page-pinned");
    check_says(finding.action, "MALLOC_ARENA_MAX");
    drop(&finding);
}

Test(heaps, free_bytes_beside_live_blocks_are_said_and_do_not_return)
{
    struct facts facts = with_heaps();
    struct finding finding = ask(&facts, "heap-page-pinned");
    cr_assert_not_null(finding.id);
    check_eq(finding.bytes, 14 * MIB);
    check_eq(finding.returns_bytes, 0);
    check_says(finding.sentence, "9.0 MiB in the main heap");
    check_says(finding.sentence, "5.0 MiB in 2 heaps of threads");
    check_says(finding.action, "cannot return it");
    drop(&finding);
    facts.census.heap_page_pinned = QUERY_UNKNOWN;
    check_false(fires(&facts, "heap-page-pinned"));
}
