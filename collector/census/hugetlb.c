#include "collector/census/hugetlb.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/census/pages.h"
#include "include/xalloc.h"

/* The smallest page of any pool on x86-64. */
#define LEAST_HUGE ((uint64_t)2 * 1024 * 1024)

void
hugetlb_finish(struct hugetlb *hugetlb)
{
    free(hugetlb->ranges);
    *hugetlb = (struct hugetlb){0};
}

/* ---- finding ----------------------------------------------------------- */

/* A file is behind each of theirs, which is a whole number of their pages. */
static bool
may_be_one(const struct map *map)
{
    return map->inode != 0 && map->start % LEAST_HUGE == 0 &&
           map->end % LEAST_HUGE == 0;
}

static bool
has_huge_page(const struct map *map, const struct memory_runs *runs,
              bool is_huge_told)
{
    for (size_t i = pages_first(runs, map->start);
         i < runs->n_runs && runs->runs[i].start < map->end; i++) {
        if (runs->runs[i].is_huge || !is_huge_told)
            return true;
    }
    return false;
}

static bool
has_flag(const char *flags, const char *flag)
{
    for (const char *at = strstr(flags, flag); at != NULL;
         at = strstr(at + 1, flag)) {
        const char behind = at[strlen(flag)];
        if (at[-1] == ' ' && (behind == ' ' || behind == '\0'))
            return true;
    }
    return false;
}

/* A mapping's line as maps has it, then others, of which VmFlags is the last.
 */
struct hugetlb
hugetlb_parse(char *smaps)
{
    static const char flags[] = "VmFlags:";
    struct hugetlb hugetlb = {0};
    struct hugetlb_range range = {0};
    uint64_t floor = 0;
    char *rest = smaps;
    char *line;
    while ((line = strsep(&rest, "\n")) != NULL) {
        const bool is_field = line[0] >= 'A' && line[0] <= 'Z';
        if (!is_field && sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &range.start,
                                &range.end) != 2)
            range = (struct hugetlb_range){0};
        if (range.start < floor || range.start >= range.end ||
            strncmp(line, flags, sizeof(flags) - 1) != 0 ||
            !has_flag(line + sizeof(flags) - 1, "ht"))
            continue;
        XGROW(hugetlb.ranges, hugetlb.capacity, hugetlb.n_ranges);
        hugetlb.ranges[hugetlb.n_ranges++] = range;
        floor = range.end;
        range = (struct hugetlb_range){0};
    }
    return hugetlb;
}

struct hugetlb
hugetlb_find(struct memory *memory, const struct maps *maps,
             const struct memory_runs *runs)
{
    const bool is_huge_told = memory_tells_huge(memory);
    for (size_t i = 0; i < maps->n_maps; i++) {
        const struct map *map = &maps->maps[i];
        if (!may_be_one(map) || !has_huge_page(map, runs, is_huge_told))
            continue;
        char *smaps = memory_smaps_text(memory);
        const struct hugetlb hugetlb = hugetlb_parse(smaps);
        free(smaps);
        return hugetlb;
    }
    return (struct hugetlb){0};
}

/* ---- leaving out ------------------------------------------------------- */

static void
keep(struct memory_runs *kept, struct memory_run run, uint64_t start,
     uint64_t end)
{
    if (start >= end)
        return;
    run.start = start;
    run.end = end;
    XGROW(kept->runs, kept->capacity, kept->n_runs);
    kept->runs[kept->n_runs++] = run;
}

/* A range may lie in several runs, and a run in several ranges. */
uint64_t
hugetlb_leave_out(const struct hugetlb *hugetlb, struct memory_runs *runs)
{
    if (hugetlb->n_ranges == 0)
        return 0;
    struct memory_runs kept = {0};
    uint64_t n_bytes = 0;
    size_t at = 0;
    for (size_t i = 0; i < runs->n_runs; i++) {
        const struct memory_run *run = &runs->runs[i];
        uint64_t start = run->start;
        while (at < hugetlb->n_ranges && hugetlb->ranges[at].end <= start)
            at++;
        for (size_t k = at;
             k < hugetlb->n_ranges && hugetlb->ranges[k].start < run->end;
             k++) {
            const struct hugetlb_range *range = &hugetlb->ranges[k];
            const uint64_t from = range->start > start ? range->start : start;
            const uint64_t to = range->end < run->end ? range->end : run->end;
            keep(&kept, *run, start, from);
            if (!run->is_swapped)
                n_bytes += to - from;
            start = to;
        }
        keep(&kept, *run, start, run->end);
    }
    memory_runs_finish(runs);
    *runs = kept;
    return n_bytes;
}
