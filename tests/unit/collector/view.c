#include "collector/census/view.h"

#include <time.h>

#include "collector/census/pages.h"
#include "tests/unit/check.h"
#include "tests/unit/collector/target.h"

TestSuite(view, .timeout = 20);

static void
lay_nothing(void *context)
{
    (void)context;
}

Test(view, it_has_the_pages_and_the_mappings_of_a_moment)
{
    struct target target = target_start(lay_nothing, NULL);
    struct memory *memory = target_memory(&target, target.pid);
    struct timespec before;
    clock_gettime(CLOCK_MONOTONIC, &before);
    struct view *view = view_take(memory);
    check_eq(pages_resident(&view->runs),
             target_says(&target, "smaps_rollup", "\nRss:"));
    check_true(view->maps.n_maps > 3);
    check_ge(view->seen_ns,
             (uint64_t)before.tv_sec * 1000000000u + (uint64_t)before.tv_nsec);
    view_destroy(view);
    memory_destroy(memory);
    target_end(&target);
}

Test(view, of_the_dead_there_are_no_pages)
{
    struct target target = target_start(lay_nothing, NULL);
    struct memory *memory = target_memory(&target, target.pid);
    target_end(&target);
    struct view *view = view_take(memory);
    check_eq(view->runs.n_runs, 0);
    view_destroy(view);
    memory_destroy(memory);
    view_destroy(NULL);
}
