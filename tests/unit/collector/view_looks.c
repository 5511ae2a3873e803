/*
 * A view of a target that maps while it is looked at: the list of mappings and
 * the pages are read one after the other.
 */
#include "collector/census/view.h"

#include "tests/unit/check.h"
#include "tests/unit/collector/fake_memory.h"

enum { PAGE = MEMORY_PAGE };

#define START ((uint64_t)0x555500000000)

#define FIRST "555500000000-555500004000 rw-p 00000000 00:00 0    [heap]\n"
#define GROWN "555500000000-555500008000 rw-p 00000000 00:00 0    [heap]\n"
#define BEHIND "555500004000-555500008000 rw-p 00000000 00:00 0    [heap]\n"

static struct memory memory;
static unsigned n_looks_until_listed;

static void
list_later(struct memory *looked_at)
{
    if (looked_at->n_scans >= n_looks_until_listed)
        looked_at->maps = GROWN;
}

static void
set_up(void)
{
    fake_memory_add(&memory, START, (uint64_t)8 * PAGE);
    memory.maps = FIRST;
    memory.on_scan = list_later;
}

static void
clean_up(void)
{
    fake_memory_finish(&memory);
}

TestSuite(view_looks, .init = set_up, .fini = clean_up, .timeout = 10);

/* Of one stretch there is one scan a look. */
static unsigned
looks_of_a_view(void)
{
    struct view *view = view_take(&memory);
    check_eq(view->runs.n_runs, 1);
    check_eq(view->runs.runs[0].end, START + (uint64_t)8 * PAGE);
    view_destroy(view);
    return memory.n_scans;
}

Test(view_looks, what_has_grown_is_looked_at_again)
{
    n_looks_until_listed = 1;
    check_eq(looks_of_a_view(), 2);
}

Test(view_looks, one_that_grows_all_the_time_is_taken_as_it_is)
{
    n_looks_until_listed = 1000;
    check_eq(looks_of_a_view(), 4);
}

Test(view_looks, one_look_is_enough_where_all_is_listed)
{
    n_looks_until_listed = 1000;
    memory.maps = FIRST BEHIND;
    check_eq(looks_of_a_view(), 1);
}
