#include "collector/model/collections.h"

#include "tests/unit/check.h"

#define BASE ((uint64_t)0x7f0000000000)

static struct arenas *arenas;
static struct collections collections;
static struct collection told[8];
static size_t n_told;

static void
set_up(void)
{
    arenas = arenas_create();
}

static void
clean_up(void)
{
    collections_finish(&collections);
    arenas_destroy(arenas);
}

TestSuite(collections, .init = set_up, .fini = clean_up);

static void
tell(void *context, const struct collection *one)
{
    (void)context;
    cr_assert(n_told < 8);
    told[n_told++] = *one;
}

static void
collect(uint64_t started_ns, uint64_t start_stamp, uint64_t end_stamp)
{
    collections_add(&collections, &(struct collection){
                                      .started_ns = started_ns,
                                      .start_stamp = start_stamp,
                                      .end_stamp = end_stamp,
                                      .rss_before = 4096,
                                      .rss_after = COLLECTION_UNKNOWN,
                                  });
}

static void
pass(void)
{
    collections_pass(&collections, arenas, tell, NULL);
}

static void
map(uint64_t stamp, uint64_t place)
{
    arenas_map(arenas, stamp, BASE + place * CPYTHON_LARGE_ARENA,
               CPYTHON_LARGE_ARENA, 0);
}

Test(collections, one_is_handed_on_after_a_whole_pass)
{
    collect(1, 5, 6);
    pass(); /* it came in the middle of this one */
    check_eq(n_told, 0);
    collect(2, 7, 8);
    pass();
    check_eq(n_told, 1);
    check_eq(told[0].started_ns, 1);
    check_eq(told[0].rss_before, 4096);
    check_eq(told[0].rss_after, COLLECTION_UNKNOWN);
    pass();
    check_eq(n_told, 2);
    check_eq(told[1].started_ns, 2);
    pass();
    check_eq(n_told, 2);
}

Test(collections, arenas_are_those_of_its_start_and_its_end)
{
    map(1, 0);
    map(2, 1);
    collect(1, 5, 8);
    pass();
    map(9, 2);
    arenas_unmap(arenas, 6, BASE, CPYTHON_LARGE_ARENA);
    map(3, 5); /* another thread's, and late */
    pass();
    check_eq(n_told, 1);
    check_eq(told[0].arenas_before, 3);
    check_eq(told[0].arenas_after, 2);
}

Test(collections, arenas_that_are_not_known_are_not_said)
{
    map(1, 0);
    collect(1, 0, 0); /* without stamps */
    collect(2, 5, 8);
    collections_pass_all(&collections, NULL, tell, NULL);
    check_eq(n_told, 2);
    for (size_t i = 0; i < n_told; i++) {
        check_eq(told[i].arenas_before, COLLECTION_UNKNOWN);
        check_eq(told[i].arenas_after, COLLECTION_UNKNOWN);
    }
    collect(3, 0, 0);
    collections_pass_all(&collections, arenas, tell, NULL);
    check_eq(told[2].arenas_before, COLLECTION_UNKNOWN);
}

Test(collections, at_the_end_all_are_handed_on)
{
    collect(1, 5, 6);
    pass();
    collect(2, 7, 8);
    collections_pass_all(&collections, arenas, tell, NULL);
    check_eq(n_told, 2);
    check_eq(told[1].arenas_after, 0);
    collect(3, 9, 10);
    pass(); /* nothing is ripe yet */
    check_eq(n_told, 2);
}

Test(collections, there_are_not_ever_more_that_wait)
{
    unsigned n = 0;
    for (; !collections_are_full(&collections) && n < 1u << 20; n++)
        collect(n, 0, 0);
    check_true(n > 1000);
    check_true(n < 1u << 20);
}
