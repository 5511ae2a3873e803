/* Free lists in static variables of a child, as interpreters to 3.9 have. */
#include "collector/census/statics.h"

#include <stdlib.h>

#include "tests/unit/check.h"
#include "tests/unit/collector/dead.h"
#include "tests/unit/collector/interpreter.h"

static void
set_up(void)
{
    dead_init();
    dead.minor = 9;
}

TestSuite(statics, .init = set_up, .timeout = 20);

/* What an interpreter's image has: this program is it. */
static struct {
    char before[64];
    void *floats;
    int n_floats;
    int n_lists;
    char aligned[24];
    void *lists[80];
    char between[512];
    int n_tuples[20];
    void *tuples[20];
    char behind[512];
    void *errors;
    char away[400];
    int n_errors;
} statics;

static void
lay_statics(void *context)
{
    (void)context;
    dead_lay_heap();
    statics.floats = dead_lay_chain(32, 0, DEAD_N_FLOATS, 0, NULL, 8);
    statics.n_floats = DEAD_N_FLOATS;
    dead_lay_tuples((char *)statics.tuples, (char *)statics.n_tuples, 0, 4);
    dead_lay_array((char *)statics.lists, (char *)&statics.n_lists);
    statics.errors = dead_lay_chain(96, 1, DEAD_N_ERRORS, DEAD_GC,
                                    dead_type(DEAD_ERROR), 16);
    statics.n_errors = DEAD_N_ERRORS;
}

Test(statics, static_heads_are_found_by_what_they_point_to)
{
    struct census *census = dead_census(lay_statics);
    dead_check_whole(census);
    census_destroy(census);
}

static void
lay_stale(void *context)
{
    lay_statics(context);
    /* Pointers that a list left behind: to one that lives, and a twin. */
    char *alive =
        dead_lay_chain(64, DEAD_N_LISTS, 1, DEAD_GC, dead_type(DEAD_LIST), 24);
    interpreter_put(alive, 0, 2);
    statics.lists[DEAD_N_LISTS] = alive;
    statics.lists[DEAD_N_LISTS + 1] = statics.lists[0];
}

Test(statics, what_a_list_left_behind_is_not_on_it)
{
    struct census *census = dead_census(lay_stale);
    dead_check_whole(census);
    census_destroy(census);
}

static void
lay_given_back(void *context)
{
    lay_statics(context);
    /* To a block that was free()d since, the last of its pool's list. */
    char *gone = dead_lay_chain(64, DEAD_N_LIVE + 3, 1, DEAD_GC,
                                dead_type(DEAD_LIST), 24);
    interpreter_put(gone - DEAD_GC, 0, 0);
    statics.lists[DEAD_N_LISTS] = gone;
}

Test(statics, what_was_given_back_is_not_on_a_list)
{
    struct census *census = dead_census(lay_given_back);
    dead_check_whole(census);
    census_destroy(census);
}

/* What another array left behind: it leads to one that is on this list. */
static struct {
    char before[200];
    void *left;
    int n;
    char behind[200];
} others;

static void
lay_part(void *context)
{
    lay_statics(context);
    char *first = dead_block(96, 1) + DEAD_GC; /* of two, the last on it */
    interpreter_put((char *)&others.left, 0, (uintptr_t)first);
    dead_put_count((char *)&others.n, 1);
}

static void
lay_same(void *context)
{
    lay_statics(context);
    interpreter_put((char *)&others.left, 0, (uintptr_t)statics.errors);
    dead_put_count(others.behind + 100, DEAD_N_ERRORS);
}

Test(statics, of_two_heads_the_one_with_more_behind_it_is_believed)
{
    struct census *census = dead_census(lay_part);
    dead_check_whole(census);
    census_destroy(census);
    census = dead_census(lay_same);
    dead_check_whole(census);
    census_destroy(census);
}

static void
lay_two(void *context)
{
    lay_statics(context);
    /* Another list of as many, with a count of its own. */
    char *head = dead_lay_chain(96, 5, DEAD_N_ERRORS, DEAD_GC,
                                dead_type(DEAD_ERROR), 16);
    interpreter_put((char *)&others.left, 0, (uintptr_t)head);
    dead_put_count((char *)&others.n, DEAD_N_ERRORS);
}

Test(statics, of_two_that_are_alike_none_is_believed)
{
    dead_check_doubtful(lay_two, "MemoryError");
}

static void
lay_miscounted(void *context)
{
    lay_statics(context);
    statics.n_tuples[6]++;
}

static void
lay_uncounted(void *context)
{
    lay_statics(context);
    statics.n_lists = 77;
}

Test(statics, a_head_without_its_count_is_doubtful)
{
    dead_check_doubtful(lay_miscounted, "tuple");
    dead_check_doubtful(lay_uncounted, "list");
}

/* Two keys are dead, of which one had a reference; one like it is alive. */
static struct {
    char before[96];
    int n_keys;
    char aligned[28];
    void *keys[80];
    char behind[128];
} key_statics;

static void
lay_keys(void *context)
{
    lay_statics(context);
    for (unsigned i = 0; i < 3; i++) {
        char *keys = dead_block(176, i);
        interpreter_put(keys, 0, i == 0 ? 0 : 1);
        interpreter_put(keys, 8, 8); /* entries */
        interpreter_put((char *)key_statics.keys, 8 * i, (uintptr_t)keys);
    }
    dead_put_count((char *)&key_statics.n_keys, 2);
}

Test(statics, how_many_keys_are_dead_their_count_tells)
{
    struct census *census = dead_census(lay_keys);
    CHECK_DEAD(census, "dictkeys", 2, 2 * 176);
    CHECK_DEAD(census, "list", DEAD_N_LISTS, DEAD_N_LISTS * 64);
    check_true(census->never_returned.has_free_lists);
    census_destroy(census);
}

static void
lay_keys_twice(void *context)
{
    lay_keys(context);
    dead_put_count(key_statics.aligned, 3);
}

static void
lay_keys_few(void *context)
{
    lay_keys(context);
    interpreter_put(dead_block(176, 2), 0, 0); /* but two are counted */
    char *alive = dead_block(176, 3);
    interpreter_put(alive, 0, 1);
    interpreter_put(alive, 8, 8);
    interpreter_put((char *)&key_statics.keys[3], 0, (uintptr_t)alive);
}

Test(statics, a_count_that_cannot_be_is_none)
{
    dead_check_doubtful(lay_keys_twice, "dictkeys");
    dead_check_doubtful(lay_keys_few, "dictkeys");
}

static void
lay_27(void *context)
{
    (void)context;
    dead_lay_heap();
    dead_lay_array((char *)statics.lists, (char *)&statics.n_lists);
}

Test(statics, of_2_7_the_lists_are_a_part_of_the_cause)
{
    dead.major = 2;
    dead.minor = 7;
    struct census *census = dead_census(lay_27);
    check_true(census->never_returned.has_free_lists);
    check_false(census->is_unknown[CAUSE_python_never_returned]);
    const uint64_t kept = census->ledger[CAUSE_python_never_returned];
    check_eq(census->ledger[CAUSE_python_live] + kept, DEAD_LIVE_BYTES);
    census_destroy(census);
}
