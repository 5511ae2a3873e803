#include "collector/census/hugetlb.h"

#include <stdlib.h>
#include <string.h>

#include "include/attrs.h"
#include "tests/unit/check.h"
#include "tests/unit/collector/target.h"

enum { PAGE = MEMORY_PAGE, HUGE = 2 * 1024 * 1024 };

/* ---- smaps ------------------------------------------------------------- */

static struct hugetlb
parse(const char *text)
{
    char *copy = text == NULL ? NULL : strdup(text);
    struct hugetlb hugetlb = hugetlb_parse(copy);
    free(copy);
    return hugetlb;
}

Test(hugetlb, a_flag_tells_and_not_a_name)
{
    struct hugetlb hugetlb = parse(
        "200000-400000 rw-p 00000000 00:0f 7    /anon_hugepage (deleted)\n"
        "Size:               2048 kB\n"
        "VmFlags: rd wr mr mw me de ht sd \n"
        "400000-600000 rw-p 00000000 00:00 0    /anon_hugepage\n"
        "KernelPageSize:     2048 kB\n"
        "VmFlags: rd wr mr mw me sd hg nh \n"
        "a00000-c00000 rw-s 00000000 00:10 8    /huge/file\n"
        "VmFlags: ht\n");
    check_eq(hugetlb.n_ranges, 2);
    check_eq(hugetlb.ranges[0].start, 0x200000);
    check_eq(hugetlb.ranges[0].end, 0x400000);
    check_eq(hugetlb.ranges[1].start, 0xa00000);
    check_eq(hugetlb.ranges[1].end, 0xc00000);
    hugetlb_finish(&hugetlb);
}

Test(hugetlb, what_makes_no_sense_is_left_out)
{
    static const char *const texts[] = {
        NULL,
        "",
        "\n\n",
        "VmFlags: ht \n",
        "nonsense\nVmFlags: ht \n",
        "400000-200000 rw-p\nVmFlags: ht \n",
        "200000-400000 rw-p\nVmFlags: hta eht\n",
        "200000-400000 rw-p\nnonsense\nVmFlags: ht\n",
        "200000-400000 rw-p\nVmFlags:",
    };
    for (size_t i = 0; i < countof(texts); i++) {
        struct hugetlb hugetlb = parse(texts[i]);
        check_eq(hugetlb.n_ranges, 0);
        hugetlb_finish(&hugetlb);
    }
    /* Not ascending: the first stays. */
    struct hugetlb hugetlb = parse("400000-600000 rw-p\nVmFlags: ht\n"
                                   "200000-600000 rw-p\nVmFlags: ht\n");
    check_eq(hugetlb.n_ranges, 1);
    check_eq(hugetlb.ranges[0].start, 0x400000);
    hugetlb_finish(&hugetlb);
    hugetlb_finish(&hugetlb);
}

/* ---- leaving out ------------------------------------------------------- */

/* Each page of [0, 32) is of a run or of none, and in a range or in none. */
static void
check_left(uint64_t *state)
{
    enum { PAGES = 32 };
    struct memory_runs runs = {0};
    struct hugetlb hugetlb = {0};
    int wanted[PAGES] = {0}; /* 1: resident, 2: swapped, 0: neither */
    uint64_t n_bytes = 0;
    runs.runs = calloc(PAGES, sizeof(runs.runs[0]));
    hugetlb.ranges = calloc(PAGES, sizeof(hugetlb.ranges[0]));
    for (uint64_t at = check_random(state) % 3; at < PAGES;) {
        const uint64_t n = 1 + check_random(state) % (PAGES - at);
        runs.runs[runs.n_runs++] =
            (struct memory_run){.start = at * PAGE,
                                .end = (at + n) * PAGE,
                                .is_swapped = check_random(state) % 4 == 0};
        for (uint64_t i = at; i < at + n; i++)
            wanted[i] = runs.runs[runs.n_runs - 1].is_swapped ? 2 : 1;
        at += n + check_random(state) % 3;
    }
    for (uint64_t at = check_random(state) % 9; at < PAGES;) {
        const uint64_t n = 1 + check_random(state) % (PAGES - at);
        hugetlb.ranges[hugetlb.n_ranges++] =
            (struct hugetlb_range){at * PAGE, (at + n) * PAGE};
        for (uint64_t i = at; i < at + n; i++) {
            n_bytes += wanted[i] == 1 ? PAGE : 0;
            wanted[i] = 0;
        }
        at += n + check_random(state) % 3;
    }
    check_eq(hugetlb_leave_out(&hugetlb, &runs), n_bytes);
    uint64_t floor = 0;
    for (size_t i = 0; i < runs.n_runs; i++) {
        const struct memory_run *run = &runs.runs[i];
        check_true(run->start >= floor && run->start < run->end);
        floor = run->end;
        for (uint64_t at = run->start; at < run->end; at += PAGE) {
            check_eq(wanted[at / PAGE], run->is_swapped ? 2 : 1);
            wanted[at / PAGE] = 0;
        }
    }
    for (unsigned i = 0; i < PAGES; i++)
        check_eq(wanted[i], 0);
    memory_runs_finish(&runs);
    hugetlb_finish(&hugetlb);
}

Test(hugetlb, the_pages_of_a_range_are_in_no_run_any_more)
{
    uint64_t state = 7;
    for (unsigned i = 0; i < 3000; i++)
        check_left(&state);
}

/* ---- a target ---------------------------------------------------------- */

static void
lay_nothing(void *context)
{
    (void)context;
}

/* Its own mappings look like none, so that smaps is not read. */
Test(hugetlb, where_nothing_looks_like_one_there_is_none)
{
    struct target target = target_start(lay_nothing, NULL);
    struct memory *memory = target_memory(&target, target.pid);
    struct map map = {.start = HUGE, .end = 2 * HUGE, .inode = 5, .name = ""};
    struct memory_run run = {
        .start = HUGE, .end = HUGE + PAGE, .is_huge = true};
    const struct maps maps = {.maps = &map, .n_maps = 1};
    const struct memory_runs runs = {.runs = &run, .n_runs = 1};
    struct hugetlb hugetlb = hugetlb_find(memory, &maps, &runs);
    check_eq(hugetlb.n_ranges, 0); /* it looked, and smaps has no such flag */
    map.end += PAGE;
    hugetlb = hugetlb_find(memory, &maps, &runs);
    check_eq(hugetlb.n_ranges, 0);
    memory_destroy(memory);
    target_end(&target);
}
