/* Free lists in the state of an interpreter that a child lays out. */
#include "collector/census/freelists.h"

#include <stdlib.h>

#include "tests/unit/check.h"
#include "tests/unit/collector/dead.h"
#include "tests/unit/collector/interpreter.h"

/* By so much the lists are not where the version has them. */
static int shift;

static void
set_up(void)
{
    dead_init();
    shift = 0;
}

TestSuite(freelists, .init = set_up, .timeout = 20);

static char *
in_state(uint32_t offset)
{
    return dead.state + shift + offset;
}

static void
lay_state(void)
{
    const struct cpython_list *floats = dead_list_of("float");
    const struct cpython_list *tuples = dead_list_of("tuple");
    const struct cpython_list *lists = dead_list_of("list");
    const struct cpython_list *errors = dead_list_of("MemoryError");
    dead_lay_heap();
    interpreter_put(dead.runtime, 40, (uintptr_t)dead.state);
    interpreter_put(
        in_state(floats->head_at), 0,
        (uintptr_t)dead_lay_chain(32, 0, DEAD_N_FLOATS, 0, NULL, 8));
    dead_put_count(in_state(floats->count_at), DEAD_N_FLOATS);
    dead_lay_tuples(in_state(tuples->head_at), in_state(tuples->count_at), 1,
                    4);
    dead_lay_array(in_state(lists->head_at), in_state(lists->count_at));
    interpreter_put(in_state(errors->head_at), 0,
                    (uintptr_t)dead_lay_chain(96, 1, DEAD_N_ERRORS, DEAD_GC,
                                              dead_type(DEAD_ERROR), 16));
    dead_put_count(in_state(errors->count_at), DEAD_N_ERRORS);
}

/* ---- in the state of an interpreter ------------------------------------ */

static void
lay_ordinary(void *context)
{
    (void)context;
    lay_state();
}

Test(freelists, lists_are_taken_as_the_interpreter_has_them)
{
    struct census *census = dead_census(lay_ordinary);
    dead_check_whole(census);
    census_destroy(census);
}

static void
lay_shifted(void *context)
{
    (void)context;
    shift = 40;
    lay_state();
}

Test(freelists, a_state_may_have_other_members_before)
{
    struct census *census = dead_census(lay_shifted);
    dead_check_whole(census);
    census_destroy(census);
}

static void
lay_far(void *context)
{
    (void)context;
    shift = 1024;
    lay_state();
}

Test(freelists, a_state_without_lists_where_they_should_be_is_unknown)
{
    dead_check_doubtful(lay_far, "list");
    dead_check_doubtful(lay_far, "dict");
}

static void
lay_second(void *context)
{
    (void)context;
    lay_state();
    /* Another, newer, with one float of its own. */
    char *other = dead.state + DEAD_STATE_BYTES / 2;
    interpreter_put(dead.runtime, 40, (uintptr_t)other);
    interpreter_put(other, 0, (uintptr_t)dead.state);
    interpreter_put(
        other, dead_list_of("float")->head_at,
        (uintptr_t)dead_lay_chain(32, DEAD_N_FLOATS, 1, 0, NULL, 8));
    dead_put_count(other + dead_list_of("float")->count_at, 1);
}

Test(freelists, every_interpreter_has_lists)
{
    struct census *census = dead_census(lay_second);
    CHECK_DEAD(census, "float", DEAD_N_FLOATS + 1, (DEAD_N_FLOATS + 1) * 32);
    CHECK_DEAD(census, "list", DEAD_N_LISTS, DEAD_N_LISTS * 64);
    check_true(census->never_returned.has_free_lists);
    census_destroy(census);
}

static void
lay_round(void *context)
{
    (void)context;
    lay_state();
    interpreter_put(dead.state, 0, (uintptr_t)dead.state);
}

Test(freelists, interpreters_in_a_circle_are_unknown)
{
    dead_check_doubtful(lay_round, "float");
}

/* ---- what is not believed ---------------------------------------------- */

static void
lay_one_more(void *context)
{
    (void)context;
    lay_state();
    dead_put_count(in_state(dead_list_of("float")->count_at),
                   DEAD_N_FLOATS + 1);
}

static void
lay_one_less(void *context)
{
    (void)context;
    lay_state();
    dead_put_count(in_state(dead_list_of("float")->count_at),
                   DEAD_N_FLOATS - 1);
}

Test(freelists, a_chain_is_as_long_as_its_count)
{
    dead_check_doubtful(lay_one_more, "float");
    dead_check_doubtful(lay_one_less, "float");
}

static void
lay_circle(void *context)
{
    (void)context;
    lay_state();
    interpreter_put(dead_block(32, 0), 8, (uintptr_t)dead_block(32, 1));
    dead_put_count(in_state(dead_list_of("float")->count_at), 90);
}

static void
lay_too_many(void *context)
{
    (void)context;
    lay_state();
    dead_put_count(in_state(dead_list_of("list")->count_at), 81);
}

Test(freelists, walks_are_bounded)
{
    dead_check_doubtful(lay_circle, "float");
    dead_check_doubtful(lay_too_many, "list");
}

static void
lay_alive(void *context)
{
    (void)context;
    lay_state();
    interpreter_put(dead_block(64, 1) + DEAD_GC, 0, 1);
}

static void
lay_other_type(void *context)
{
    (void)context;
    lay_state();
    interpreter_put(dead_block(64, 1) + DEAD_GC, CPYTHON_OBJECT_TYPE_AT,
                    (uintptr_t)dead_type(DEAD_OTHER));
}

static void
lay_other_length(void *context)
{
    (void)context;
    lay_state();
    interpreter_put(dead_block(48, 0) + DEAD_GC, CPYTHON_OBJECT_SIZE_AT, 2);
}

Test(freelists, a_resident_is_dead_and_of_its_lists_type)
{
    dead_check_doubtful(lay_alive, "list");
    dead_check_doubtful(lay_other_type, "list");
    dead_check_doubtful(lay_other_length, "tuple");
}

static void
lay_freed(void *context)
{
    (void)context;
    lay_state();
    char *head = dead_lay_chain(32, DEAD_N_LIVE + 3, 1, 0, NULL,
                                8); /* its word 0 ends */
    interpreter_put(in_state(dead_list_of("float")->head_at), 0,
                    (uintptr_t)head);
    dead_put_count(in_state(dead_list_of("float")->count_at), 1);
}

static void
lay_too_large(void *context)
{
    (void)context;
    lay_state();
    char *head = dead_lay_chain(128, 0, 1, 0, NULL, 8);
    interpreter_put(in_state(dead_list_of("float")->head_at), 0,
                    (uintptr_t)head);
    dead_put_count(in_state(dead_list_of("float")->count_at), 1);
}

static void
lay_inside(void *context)
{
    (void)context;
    lay_state();
    char *head = dead_lay_chain(32, 7, 1, 8, NULL, 8);
    interpreter_put(in_state(dead_list_of("float")->head_at), 0,
                    (uintptr_t)head);
    dead_put_count(in_state(dead_list_of("float")->count_at), 1);
}

static void
lay_nowhere(void *context)
{
    (void)context;
    lay_state();
    interpreter_put(in_state(dead_list_of("float")->head_at), 0, 0xdeadbeef000);
    dead_put_count(in_state(dead_list_of("float")->count_at), 1);
}

Test(freelists, a_resident_is_a_live_block_of_the_size_it_needs)
{
    dead_check_doubtful(lay_freed, "float");
    dead_check_doubtful(lay_too_large, "float");
    dead_check_doubtful(lay_inside, "float");
    dead_check_doubtful(lay_nowhere, "float");
}

static void
lay_twins(void *context)
{
    (void)context;
    lay_state();
    interpreter_put(in_state(dead_list_of("list")->head_at), 8,
                    (uintptr_t)dead_block(64, 0) + DEAD_GC);
}

Test(freelists, nothing_is_on_a_list_twice)
{
    dead_check_doubtful(lay_twins, "list");
}

static void
lay_nothing(void *context)
{
    (void)context;
    dead_lay_heap();
}

Test(freelists, without_a_runtime_nothing_is_known)
{
    dead_check_doubtful(lay_nothing, "float");
}

/* ---- from 3.14: all of one shape --------------------------------------- */

static void
lay_pairs(void *context)
{
    (void)context;
    const struct cpython_list *floats = dead_list_of("float");
    const struct cpython_list *lists = dead_list_of("list");
    const struct cpython_list *errors = dead_list_of("MemoryError");
    dead_lay_heap();
    memcpy(dead.runtime, CPYTHON_DEBUG_COOKIE, 8);
    interpreter_put(dead.runtime, CPYTHON_DEBUG_INTERPRETERS_AT, 808);
    interpreter_put(dead.runtime, CPYTHON_DEBUG_NEXT_AT, 7272);
    interpreter_put(dead.runtime, 808, (uintptr_t)dead.state);
    interpreter_put(dead.state, floats->head_at,
                    (uintptr_t)dead_lay_chain(32, 0, DEAD_N_FLOATS, 0,
                                              dead_type(DEAD_FLOAT), 0));
    dead_put_count(dead.state + floats->count_at, DEAD_N_FLOATS);
    interpreter_put(dead.state, lists->head_at,
                    (uintptr_t)dead_lay_chain(64, 0, DEAD_N_LISTS, DEAD_GC,
                                              dead_type(DEAD_LIST), 0));
    dead_put_count(dead.state + lists->count_at, DEAD_N_LISTS);
    interpreter_put(dead.state, errors->head_at,
                    (uintptr_t)dead_lay_chain(96, 1, DEAD_N_ERRORS, DEAD_GC,
                                              dead_type(DEAD_ERROR), 16));
    dead_put_count(dead.state + errors->count_at, DEAD_N_ERRORS);
    dead_put_count(dead.state + dead_list_of("dict")->count_at,
                   -1); /* of no use any more */
}

Test(freelists, from_3_14_on_the_first_word_is_the_link)
{
    dead.minor = 14;
    struct census *census = dead_census(lay_pairs);
    CHECK_DEAD(census, "float", DEAD_N_FLOATS, DEAD_N_FLOATS * 32);
    CHECK_DEAD(census, "list", DEAD_N_LISTS, DEAD_N_LISTS * 64);
    CHECK_DEAD(census, "MemoryError", DEAD_N_ERRORS, DEAD_N_ERRORS * 96);
    CHECK_DEAD(census, "dict", 0, 0);
    check_true(census->never_returned.has_free_lists);
    census_destroy(census);
}

static void
lay_without_cookie(void *context)
{
    lay_pairs(context);
    dead.runtime[0] = 'y';
}

Test(freelists, a_runtime_without_its_cookie_is_none)
{
    dead.minor = 14;
    dead_check_doubtful(lay_without_cookie, "float");
}

/* ---- and their types --------------------------------------------------- */

Test(freelists, a_resident_is_on_a_free_list_whatever_it_looks_like)
{
    dead.wants_types = true;
    struct census *census = dead_census(lay_ordinary);
    uint64_t n = 0;
    for (size_t i = 0; i < census->n_types; i++) {
        if (strcmp(census->types[i].name, "(free list)") == 0)
            n = census->types[i].n_objects;
    }
    check_eq(n, census->never_returned.n_residents);
    census_destroy(census);
}
