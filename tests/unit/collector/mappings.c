#include "collector/model/mappings.h"

#include <stdlib.h>
#include <time.h>

#include "include/xalloc.h"
#include "tests/unit/check.h"

enum { PAGE = 4096, PAGES = 64, MOST_EVENTS = 300 };

#define START ((uint64_t)0x7f0000000000)
#define NEVER UINT64_MAX

TestSuite(mappings, .timeout = 60);

/* ---- a model: who has each page ---------------------------------------- */

/* The caller is its own stamp, or 0: it ends what is there. */
struct event {
    uint64_t stamp;
    unsigned page;
    unsigned n_pages;
    uint64_t caller;
};

static void
tell(struct mappings *mappings, const struct event *event)
{
    const uint64_t start = START + (uint64_t)event->page * PAGE;
    const uint64_t n_bytes = (uint64_t)event->n_pages * PAGE;
    if (event->caller != 0)
        mappings_map(mappings, event->stamp, start, n_bytes, event->caller);
    else
        mappings_unmap(mappings, event->stamp, start, n_bytes);
}

static struct event
random_event(uint64_t *state, uint64_t stamp)
{
    struct event event = {.stamp = stamp};
    event.page = (unsigned)(check_random(state) % PAGES);
    const unsigned most = PAGES - event.page < 20 ? PAGES - event.page : 20;
    event.n_pages = 1 + (unsigned)(check_random(state) % most);
    event.caller = check_random(state) % 3 == 0 ? 0 : stamp;
    return event;
}

/* The latest event of each page up to a stamp is true. */
static void
judge(const struct event *events, size_t n, uint64_t stamp, uint64_t *callers)
{
    uint64_t latest[PAGES] = {0};
    for (unsigned page = 0; page < PAGES; page++)
        callers[page] = 0;
    for (size_t i = 0; i < n; i++) {
        const struct event *event = &events[i];
        for (unsigned k = 0; k < event->n_pages; k++) {
            const unsigned page = event->page + k;
            if (event->stamp <= stamp && event->stamp > latest[page]) {
                latest[page] = event->stamp;
                callers[page] = event->caller;
            }
        }
    }
}

/* Ascending and disjoint, and of each page the right one. */
static void
check_list(const struct mappings *mappings, uint64_t since_us,
           const uint64_t *callers)
{
    size_t n = 0;
    struct census_mapping *list = mappings_list(mappings, since_us, &n);
    uint64_t is[PAGES] = {0};
    uint64_t floor = START;
    for (size_t i = 0; i < n; i++) {
        check_true(list[i].start >= floor);
        check_true(list[i].start < list[i].end);
        floor = list[i].end;
        for (uint64_t at = list[i].start; at < list[i].end; at += PAGE)
            is[(at - START) / PAGE] = list[i].caller;
    }
    check_le(floor, START + PAGES * PAGE);
    for (unsigned page = 0; page < PAGES; page++)
        cr_assert(is[page] == callers[page], "page %u is %llu's, not %llu's",
                  page, (unsigned long long)is[page],
                  (unsigned long long)callers[page]);
    free(list);
}

static void
shuffle(uint64_t *state, struct event *events, size_t n)
{
    for (size_t i = n; i > 1; i--) {
        const size_t k = check_random(state) % i;
        const struct event event = events[i - 1];
        events[i - 1] = events[k];
        events[k] = event;
    }
}

/* ---- by hand ----------------------------------------------------------- */

Test(mappings, of_none_there_is_an_empty_list)
{
    struct mappings *mappings = mappings_create();
    size_t n = 1;
    free(mappings_list(mappings, 0, &n));
    check_eq(n, 0);
    mappings_destroy(mappings);
    mappings_destroy(NULL);
}

Test(mappings, one_is_cut_and_covered_in_part)
{
    struct mappings *mappings = mappings_create();
    const struct event events[] = {
        {1, 0, 10, 1},
        {2, 3, 2,  0},
        {3, 4, 3,  3},
    };
    uint64_t callers[PAGES];
    for (size_t i = 0; i < 3; i++) {
        tell(mappings, &events[i]);
        judge(events, i + 1, NEVER, callers);
        check_list(mappings, NEVER, callers);
    }
    mappings_destroy(mappings);
}

Test(mappings, what_is_no_range_changes_nothing)
{
    const struct event event = {1, 0, 10, 1};
    struct mappings *mappings = mappings_create();
    uint64_t callers[PAGES];
    tell(mappings, &event);
    mappings_map(mappings, 2, START + PAGE, 0, 2);
    mappings_unmap(mappings, 3, START + 2 * PAGE, 0);
    mappings_map(mappings, 4, START + PAGE, UINT64_MAX - PAGE, 2);
    mappings_unmap(mappings, 5, START + PAGE, UINT64_MAX);
    mappings_map(mappings, 6, UINT64_MAX, UINT64_MAX, 2);
    judge(&event, 1, NEVER, callers);
    check_list(mappings, NEVER, callers);
    size_t n = 0;
    free(mappings_list(mappings, NEVER, &n));
    check_eq(n, 1);
    mappings_destroy(mappings);
}

Test(mappings, what_ended_since_a_time_is_told_where_nothing_lives)
{
    static const struct event events[] = {
        {1, 0,  10, 1},
        {2, 20, 10, 2},
        {3, 0,  5,  0}, /* heard at 300 */
        {4, 22, 2,  0},
        {5, 2,  1,  5},
        {6, 2,  1,  0},
        {7, 4,  1,  7}, /* which lives */
    };
    struct mappings *mappings = mappings_create();
    uint64_t callers[PAGES];
    for (size_t i = 0; i < 7; i++) {
        mappings_set_time(mappings, 100 * (i + 1));
        tell(mappings, &events[i]);
    }
    judge(events, 7, NEVER, callers);
    check_list(mappings, 601, callers);
    callers[2] = 5;
    check_list(mappings, 600, callers);
    check_list(mappings, 401, callers);
    callers[22] = callers[23] = 2;
    check_list(mappings, 400, callers);
    callers[0] = callers[1] = callers[3] = 1; /* of the third, 5 was later */
    check_list(mappings, 0, callers);
    mappings_destroy(mappings);
}

/* ---- at random --------------------------------------------------------- */

Test(mappings, in_any_order_the_greater_stamp_is_true)
{
    uint64_t state = 5;
    for (unsigned round = 0; round < 400; round++) {
        struct event events[MOST_EVENTS];
        const size_t n = 1 + check_random(&state) % (MOST_EVENTS - 1);
        for (size_t i = 0; i < n; i++)
            events[i] = random_event(&state, i + 1);
        shuffle(&state, events, n);
        struct mappings *mappings = mappings_create();
        uint64_t callers[PAGES];
        for (size_t i = 0; i < n; i++)
            tell(mappings, &events[i]);
        judge(events, n, NEVER, callers);
        check_list(mappings, NEVER, callers);
        mappings_destroy(mappings);
    }
}

Test(mappings, a_clone_is_what_there_was_at_its_stamp)
{
    uint64_t state = 6;
    for (unsigned round = 0; round < 400; round++) {
        struct event events[MOST_EVENTS];
        const size_t n = 1 + check_random(&state) % (MOST_EVENTS - 1);
        struct mappings *mappings = mappings_create();
        for (size_t i = 0; i < n; i++) {
            events[i] = random_event(&state, i + 1);
            tell(mappings, &events[i]);
        }
        const uint64_t stamp = check_random(&state) % (n + 2);
        struct mappings *clone = mappings_clone(mappings, stamp);
        mappings_destroy(mappings); /* they share nothing */
        uint64_t callers[PAGES];
        judge(events, n, stamp, callers);
        check_list(clone, NEVER, callers);
        check_list(clone, 0, callers); /* nothing ended in the child */
        mappings_destroy(clone);
    }
}

/* ---- what it costs ----------------------------------------------------- */

static double
seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Each of these was a copy of the array for each of the pieces. */
Test(mappings, many_that_end_or_are_covered_at_once_cost_as_one)
{
    enum { MANY = 100000 };
    struct mappings *mappings = mappings_create();
    for (uint64_t i = 0; i < MANY; i++)
        mappings_map(mappings, 10 + i, START + 2 * i * PAGE, PAGE, 1);
    const double before = seconds();
    mappings_map(mappings, 1, START, 2 * (uint64_t)MANY * PAGE, 2);
    size_t n = 0;
    free(mappings_list(mappings, NEVER, &n));
    check_eq(n, 2 * MANY);
    mappings_unmap(mappings, 10 + MANY, START, 2 * (uint64_t)MANY * PAGE);
    free(mappings_list(mappings, NEVER, &n));
    check_eq(n, 0);
    check_true(seconds() - before < 2);
    mappings_destroy(mappings);
}

Test(mappings, events_in_order_are_not_held_against_all_endings)
{
    struct mappings *mappings = mappings_create();
    const double before = seconds();
    for (uint64_t i = 0; i < 400000; i++) {
        mappings_map(mappings, 2 * i + 1, START, PAGE, 1);
        mappings_unmap(mappings, 2 * i + 2, START, PAGE);
    }
    check_true(seconds() - before < 2);
    mappings_destroy(mappings);
}
