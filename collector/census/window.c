#include "collector/census/window.h"

#include <stdlib.h>

#include "collector/census/pages.h"
#include "include/xalloc.h"

enum { LEAST_AHEAD = MEMORY_PAGE, MOST_AHEAD = 256 * 1024 };

void
window_init(struct window *window, struct memory *memory,
            const struct memory_runs *runs)
{
    *window = (struct window){
        .memory = memory,
        .runs = runs,
        .bytes = xcalloc(1, MOST_AHEAD + 2 * MEMORY_PAGE),
        .ahead = LEAST_AHEAD,
    };
}

void
window_finish(struct window *window)
{
    free(window->bytes);
    *window = (struct window){0};
}

void
window_forget(struct window *window)
{
    window->end = window->start;
}

/* The end of the resident pages that begin with addr's; 0: it is not. */
static uint64_t
resident_end(const struct memory_runs *runs, uint64_t addr)
{
    uint64_t end = 0;
    for (size_t i = pages_first(runs, addr); i < runs->n_runs; i++) {
        const struct memory_run *run = &runs->runs[i];
        if (run->start > (end == 0 ? addr : end) || run->is_swapped ||
            end > addr + MOST_AHEAD)
            break;
        end = run->end;
    }
    return end;
}

/* Pages that were not there when the runs were taken may be by now. */
static uint64_t
resident_end_now(const struct window *window, uint64_t addr)
{
    struct memory_runs runs = {0};
    const uint64_t start = addr & ~(uint64_t)(MEMORY_PAGE - 1);
    memory_scan_quickly(window->memory, start, start + MOST_AHEAD, &runs);
    const uint64_t end = resident_end(&runs, addr);
    memory_runs_finish(&runs);
    return end;
}

static bool
fill(struct window *window, uint64_t start, uint64_t end)
{
    if (!memory_read(window->memory, start, window->bytes, end - start))
        return false;
    window->start = start;
    window->end = end;
    return true;
}

/* Ahead as well, unless that has gone since: a heap may have been trimmed. */
static bool
slide(struct window *window, uint64_t addr, size_t n_bytes)
{
    const bool goes_on =
        addr >= window->start && addr < window->end + MEMORY_PAGE;
    window->ahead = goes_on ? window->ahead * 2 : LEAST_AHEAD;
    if (window->ahead > MOST_AHEAD)
        window->ahead = MOST_AHEAD;

    const uint64_t start = addr & ~(uint64_t)(MEMORY_PAGE - 1);
    const uint64_t least =
        (addr + n_bytes + MEMORY_PAGE - 1) & ~(uint64_t)(MEMORY_PAGE - 1);
    uint64_t end = start + window->ahead;
    uint64_t limit = resident_end(window->runs, addr);
    window_forget(window);
    if (least > limit)
        limit = resident_end_now(window, addr);
    if (least > limit)
        return false;
    end = end < limit ? end : limit;
    end = end < least ? least : end;
    return fill(window, start, end) ||
           (least < end && fill(window, start, least));
}

const char *
window_at(struct window *window, uint64_t addr, size_t n_bytes)
{
    const bool is_inside =
        addr >= window->start && addr + n_bytes <= window->end;
    if (!is_inside && !slide(window, addr, n_bytes))
        return NULL;
    return window->bytes + (addr - window->start);
}

size_t
window_left(const struct window *window, uint64_t addr)
{
    return addr >= window->start && addr < window->end
               ? (size_t)(window->end - addr)
               : 0;
}
