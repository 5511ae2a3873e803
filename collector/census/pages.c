#include "collector/census/pages.h"

#include <string.h>

uint64_t
pages_resident(const struct memory_runs *runs)
{
    uint64_t n_bytes = 0;
    for (size_t i = 0; i < runs->n_runs; i++) {
        if (!runs->runs[i].is_swapped)
            n_bytes += runs->runs[i].end - runs->runs[i].start;
    }
    return n_bytes;
}

uint64_t
pages_resident_within(const struct memory_runs *runs, uint64_t from,
                      uint64_t to)
{
    uint64_t n_bytes = 0;
    for (size_t i = pages_first(runs, from); i < runs->n_runs; i++) {
        const struct memory_run *run = &runs->runs[i];
        if (run->start >= to)
            break;
        const uint64_t start = run->start > from ? run->start : from;
        const uint64_t end = run->end < to ? run->end : to;
        if (!run->is_swapped && start < end)
            n_bytes += end - start;
    }
    return n_bytes;
}

size_t
pages_first(const struct memory_runs *runs, uint64_t addr)
{
    size_t low = 0;
    size_t high = runs->n_runs;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (runs->runs[middle].end <= addr)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void
pages_states(const struct memory_runs *runs, uint64_t start, size_t n_pages,
             unsigned char *states)
{
    memset(states, 0, n_pages);
    const uint64_t end = start + n_pages * MEMORY_PAGE;
    for (size_t i = pages_first(runs, start); i < runs->n_runs; i++) {
        const struct memory_run *run = &runs->runs[i];
        if (run->start >= end)
            break;
        const uint64_t from = run->start < start ? start : run->start;
        const uint64_t to = run->end > end ? end : run->end;
        memset(states + (from - start) / MEMORY_PAGE,
               run->is_swapped ? PAGES_SWAPPED : PAGES_RESIDENT,
               (to - from) / MEMORY_PAGE);
    }
}

bool
pages_is_resident(const struct memory_runs *runs, uint64_t addr)
{
    const size_t i = pages_first(runs, addr);
    return i < runs->n_runs && runs->runs[i].start <= addr &&
           !runs->runs[i].is_swapped;
}
