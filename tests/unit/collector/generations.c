#include "collector/census/generations.h"

#include <string.h>

#include "include/attrs.h"
#include "tests/unit/check.h"
#include "tests/unit/collector/fake_memory.h"

enum { PAGE = MEMORY_PAGE, PAGES = 8 };

#define RUNTIME ((uint64_t)0x555500000000)
#define STATE (RUNTIME + 2 * PAGE) /* of the first interpreter */
#define OTHER (RUNTIME + 5 * PAGE)
#define OBJECT (RUNTIME + 4 * PAGE)

static struct memory memory;

static void
set_up(void)
{
    fake_memory_add(&memory, RUNTIME, PAGES * PAGE);
}

static void
clean_up(void)
{
    check_eq(memory.n_bad_reads, 0);
    fake_memory_finish(&memory);
}

TestSuite(generations, .init = set_up, .fini = clean_up, .timeout = 20);

static void
put(uint64_t addr, uint64_t word)
{
    fake_memory_put(&memory, addr, word);
}

/* Where the version has its collector. */
static uint64_t
collector_of(unsigned minor)
{
    const struct cpython_collector layout = cpython_collector(3, minor);
    const bool is_own = layout.interpreters_at == 0 && layout.state_at != 0;
    return (is_own ? RUNTIME : STATE) +
           (layout.published_at != 0 ? 7400 : layout.state_at);
}

/* What leads from the runtime to the first interpreter, made before another. */
static void
lay_way(unsigned minor)
{
    const struct cpython_collector layout = cpython_collector(3, minor);
    uint64_t next = 0;
    if (layout.published_at != 0) {
        uint64_t cookie;
        memcpy(&cookie, "xdebugpy", sizeof(cookie));
        put(RUNTIME, cookie);
        put(RUNTIME + 40, 632);
        put(RUNTIME + 64, 24);
        put(RUNTIME + layout.published_at, 7400);
        put(RUNTIME + 632, OTHER);
        next = 24;
    } else if (layout.interpreters_at != 0) {
        put(RUNTIME + layout.interpreters_at, OTHER);
    }
    put(OTHER + next, STATE);
    put(STATE + next, 0);
}

/* Thresholds 700, 10, 11; counts 5, 6, 7; the first list has an object. */
static void
lay(unsigned minor)
{
    static const uint64_t thresholds[] = {700, 10, 11};
    const struct cpython_collector layout = cpython_collector(3, minor);
    lay_way(minor);
    for (unsigned i = 0; i < countof(thresholds); i++) {
        const uint64_t head = collector_of(minor) + layout.generations_at +
                              i * (uint64_t)layout.generation_bytes;
        const uint64_t first = i == 0 ? OBJECT : head;
        put(head, first);
        put(first + 8, i == 0 ? head | 2 : head);
        put(head + layout.threshold_at, thresholds[i] | (5 + (uint64_t)i)
                                                            << 32);
    }
    if (layout.survivors_at != 0) {
        put(collector_of(minor) + layout.survivors_at, 30000);
        put(collector_of(minor) + layout.survivors_at + 8, 1200);
    }
}

static struct census_collector
read_of(unsigned major, unsigned minor)
{
    const struct census_request request = {
        .python_major = major,
        .python_minor = minor,
        .python_runtime = RUNTIME,
    };
    struct census census = {0};
    struct memory_runs runs = fake_memory_runs(&memory);
    generations_read(&memory, &request, &runs, &census);
    memory_runs_finish(&runs);
    return census.collector;
}

Test(generations, each_version_has_them_somewhere)
{
    for (unsigned minor = 7; minor <= 14; minor++) {
        clean_up();
        memory = (struct memory){0};
        set_up();
        lay(minor);
        const struct census_collector found = read_of(3, minor);
        cr_assert(found.is_known, "3.%u", minor);
        check_eq(found.generations[0].threshold, 700);
        check_eq(found.generations[2].threshold, 11);
        check_eq(found.generations[0].count, 5);
        check_eq(found.generations[1].count, 6);
        check_eq(found.generations[2].count, 7);
        check_eq(found.n_survivors, minor == 14 ? -1 : 30000);
        check_eq(found.n_promoted, minor == 14 ? -1 : 1200);
    }
}

Test(generations, of_other_versions_nothing_is_known)
{
    lay(11);
    check_false(read_of(3, 6).is_known);
    check_false(read_of(3, 15).is_known);
    check_false(read_of(3, 99).is_known);
    check_false(read_of(2, 7).is_known);
    check_false(read_of(0, 0).is_known);
}

Test(generations, a_list_that_does_not_lead_back_is_not_believed)
{
    lay(11);
    put(OBJECT + 8, OBJECT);
    check_false(read_of(3, 11).is_known);
}

Test(generations, a_list_that_leads_nowhere_is_not_believed)
{
    static const uint64_t wrong[] = {0, 8, OBJECT + 1, (uint64_t)1 << 50,
                                     RUNTIME + PAGES * PAGE};
    for (size_t i = 0; i < countof(wrong); i++) {
        lay(11);
        put(collector_of(11) + 24 + 24, wrong[i]);
        check_false(read_of(3, 11).is_known);
    }
}

Test(generations, numbers_that_cannot_be_are_not_believed)
{
    lay(11);
    put(collector_of(11) + 24 + 16, (uint64_t)1 << 31);
    check_false(read_of(3, 11).is_known);
}

Test(generations, interpreters_in_a_ring_have_no_end)
{
    lay(11);
    put(STATE, OTHER);
    check_false(read_of(3, 11).is_known);
}

Test(generations, a_free_threaded_build_has_none)
{
    lay(13);
    put(RUNTIME + 16, 1);
    check_false(read_of(3, 13).is_known);
}

Test(generations, without_the_cookie_nothing_is_published)
{
    lay(13);
    put(RUNTIME, 1);
    check_false(read_of(3, 13).is_known);
}

/* A collection is under way at the first look. */
static void
settle(struct memory *of, uint64_t addr, size_t n_bytes)
{
    (void)addr, (void)n_bytes;
    if (of->n_reads == 8)
        fake_memory_put(of, OBJECT + 8, collector_of(11) + 24);
}

Test(generations, they_are_looked_at_again)
{
    lay(11);
    put(OBJECT + 8, 1);
    memory.on_read = settle;
    check_true(read_of(3, 11).is_known);
}
