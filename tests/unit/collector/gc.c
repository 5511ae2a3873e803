#include "collector/model/gc.h"

#include "tests/unit/check.h"

static const struct gc_generation own[GC_GENERATIONS] = {
    {.collections = 10, .collected = 100, .uncollectable = 1},
    {.collections = 20, .collected = 200, .uncollectable = 2},
    {.collections = 30, .collected = 300, .uncollectable = 3},
};

static struct gc_generation
collection(uint64_t pause_ns)
{
    return (struct gc_generation){
        .collections = 1,
        .collected = 5,
        .uncollectable = 1,
        .pause_ns_total = pause_ns,
        .pause_ns_max = pause_ns,
    };
}

Test(gc, counts_go_on_from_the_interpreters_own)
{
    struct gc gc = {0};
    gc_begin(&gc, 123, own);
    check_true(gc.is_known);
    check_eq(gc.since_ns, 123);
    const struct gc_generation one = collection(50);
    check_true(gc_collect(&gc, 2, &one));
    check_eq(gc.generations[0].collections, 10);
    check_eq(gc.generations[2].collections, 31);
    check_eq(gc.generations[2].collected, 305);
    check_eq(gc.generations[2].uncollectable, 4);
}

Test(gc, pauses_cover_what_was_seen)
{
    struct gc gc = {0};
    const struct gc_generation pauses[] = {collection(30), collection(70),
                                           collection(10)};
    for (unsigned i = 0; i < 3; i++)
        gc_collect(&gc, 0, &pauses[i]);
    check_eq(gc.generations[0].pause_ns_total, 110);
    check_eq(gc.generations[0].pause_ns_max, 70);
    check_eq(gc.generations[1].pause_ns_total, 0);
}

Test(gc, without_the_interpreters_own_the_counts_are_not_known)
{
    struct gc gc = {0};
    gc_begin(&gc, 123, NULL);
    check_false(gc.is_known);
}

Test(gc, there_is_no_fourth_generation)
{
    struct gc gc = {0};
    const struct gc_generation one = collection(10);
    check_false(gc_collect(&gc, GC_GENERATIONS, &one));
    check_false(gc_collect(&gc, UINT32_MAX, &one));
    for (unsigned i = 0; i < GC_GENERATIONS; i++)
        check_eq(gc.generations[i].collections, 0);
}
