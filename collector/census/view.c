#include "collector/census/view.h"

#include <stdlib.h>
#include <time.h>

#include "include/clock.h"
#include "include/xalloc.h"

enum {
    APART_BYTES = 1024 * 1024, /* of anonymous memory are worth a call */
    MOST_LOOKS = 4,            /* at a target that maps while it is looked at */
};

static bool
is_worth_a_call(const struct map *map)
{
    return map_is_anonymous(map) && map->end - map->start >= APART_BYTES;
}

/* Where the stretch of mappings ends that begins with maps[*at]. */
static uint64_t
end_of_stretch(const struct maps *maps, size_t *at, bool is_apart)
{
    do {
        (*at)++;
    } while (*at < maps->n_maps &&
             is_worth_a_call(&maps->maps[*at]) == is_apart);
    return *at < maps->n_maps ? maps->maps[*at].start : MEMORY_END;
}

/*
 * All memory, what was mapped since the list was made as well: a stretch goes
 * up to where the next one begins. A kernel that has no quick way is asked
 * once.
 */
static bool
scan(struct memory *memory, const struct maps *maps, struct memory_runs *runs)
{
    uint64_t start = 0;
    for (size_t at = 0; start < MEMORY_END;) {
        const bool is_apart = is_worth_a_call(&maps->maps[at]);
        uint64_t end = end_of_stretch(maps, &at, is_apart);
        if (end > MEMORY_END || !memory_tells_huge(memory))
            end = MEMORY_END;
        if (is_apart ? !memory_scan_quickly(memory, start, end, runs)
                     : !memory_scan(memory, start, end, runs))
            return false;
        start = end;
    }
    return true;
}

/* Whether all pages lie in mappings: none has come or grown since the list. */
static bool
is_listed(const struct maps *maps, const struct memory_runs *runs)
{
    size_t at = 0;
    for (size_t i = 0; i < runs->n_runs; i++) {
        uint64_t start = runs->runs[i].start;
        while (at < maps->n_maps && maps->maps[at].end <= start)
            at++;
        for (size_t k = at; start < runs->runs[i].end; k++) {
            if (k == maps->n_maps || maps->maps[k].start > start)
                return false;
            start = maps->maps[k].end;
        }
    }
    return true;
}

static void
look(struct view *view, struct memory *memory)
{
    maps_finish(&view->maps);
    memory_runs_finish(&view->runs);
    view->seen_ns = clock_ns(CLOCK_MONOTONIC);
    view->maps = maps_parse(memory_maps_text(memory));
    if (view->maps.n_maps == 0 || !scan(memory, &view->maps, &view->runs))
        memory_runs_finish(&view->runs);
}

struct view *
view_take(struct memory *memory)
{
    struct view *view = xcalloc(1, sizeof(*view));
    const uint64_t cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    for (unsigned n = 0; n < MOST_LOOKS; n++) {
        look(view, memory);
        if (is_listed(&view->maps, &view->runs))
            break;
    }
    view->hugetlb = hugetlb_find(memory, &view->maps, &view->runs);
    view->hugetlb_bytes = hugetlb_leave_out(&view->hugetlb, &view->runs);
    view->cpu_us = (clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_ns) / 1000;
    return view;
}

void
view_destroy(struct view *view)
{
    if (view == NULL)
        return;
    hugetlb_finish(&view->hugetlb);
    memory_runs_finish(&view->runs);
    maps_finish(&view->maps);
    free(view);
}
