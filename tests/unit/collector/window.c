#include "collector/census/window.h"

#include <string.h>

#include "tests/unit/check.h"
#include "tests/unit/collector/fake_memory.h"

enum { PAGE = MEMORY_PAGE, PAGES = 256 };

#define START ((uint64_t)0x555500000000)

static struct memory memory;
static struct memory_runs runs;
static struct window window;

/* Each word of the memory is its own address. */
static void
set_up(void)
{
    fake_memory_add(&memory, START, PAGES * PAGE);
    for (uint64_t at = START; at < START + PAGES * PAGE; at += 8)
        fake_memory_put(&memory, at, at);
}

static void
look(void)
{
    runs = fake_memory_runs(&memory);
    window_init(&window, &memory, &runs);
}

static void
clean_up(void)
{
    window_finish(&window);
    memory_runs_finish(&runs);
    fake_memory_finish(&memory);
}

TestSuite(window, .init = set_up, .fini = clean_up, .timeout = 20);

static void
check_at(uint64_t addr, size_t n_bytes)
{
    const char *bytes = window_at(&window, addr, n_bytes);
    cr_assert(bytes != NULL, "nothing at page %llu",
              (unsigned long long)((addr - START) / PAGE));
    check_eq(memcmp(bytes, fake_memory_at(&memory, addr), n_bytes), 0);
    check_ge(window_left(&window, addr), n_bytes);
}

Test(window, what_it_gives_is_what_is_there)
{
    look();
    check_at(START, 16);
    check_at(START + PAGE - 8, 8);
    check_at(START + PAGE - 8, 16); /* of two pages */
    check_at(START + 5 * PAGE + 3, PAGE);
    check_at(START + 100, 16); /* and back */
    check_at(START + (PAGES - 1) * PAGE, PAGE);
}

Test(window, read_forwards_it_reads_little_and_in_large_pieces)
{
    look();
    for (uint64_t at = START; at < START + PAGES * PAGE; at += 64)
        check_at(at, 16);
    check_eq(memory.bytes_read, PAGES * PAGE);
    check_le(memory.n_reads, 16);
}

Test(window, after_a_jump_it_begins_with_a_page)
{
    look();
    for (uint64_t at = START; at < START + 64 * PAGE; at += 64)
        check_at(at, 16);
    const uint64_t before = memory.bytes_read;
    check_at(START + 200 * PAGE, 16);
    check_eq(memory.bytes_read - before, PAGE);
}

Test(window, it_ends_where_residence_does)
{
    fake_memory_set(&memory, START + 2 * PAGE, START + 3 * PAGE, FAKE_ABSENT);
    fake_memory_set(&memory, START + 5 * PAGE, START + 6 * PAGE, FAKE_SWAPPED);
    look();
    for (unsigned page = 0; page < 8; page++) {
        const uint64_t at = START + (uint64_t)page * PAGE;
        if (page == 2 || page == 5)
            check_eq(window_at(&window, at + 8, 8) != NULL, false);
        else
            check_at(at + 8, 8);
    }
    cr_assert_null(window_at(&window, START + 2 * PAGE - 8, 16));
    check_at(START + 2 * PAGE - 8, 8);
    cr_assert_null(window_at(&window, START - PAGE, 8));
    cr_assert_null(window_at(&window, START + PAGES * PAGE, 8));
    check_eq(memory.n_bad_reads, 0);
}

Test(window, a_page_that_became_resident_since_is_read)
{
    fake_memory_set(&memory, START + 2 * PAGE, START + 9 * PAGE, FAKE_ABSENT);
    look();
    cr_assert_null(window_at(&window, START + 2 * PAGE, 8));
    fake_memory_set(&memory, START + 2 * PAGE, START + 4 * PAGE, FAKE_RESIDENT);
    check_at(START + 2 * PAGE, 8);
    check_at(START + 4 * PAGE - 8, 8);
    cr_assert_null(window_at(&window, START + 4 * PAGE, 8));
}

Test(window, runs_that_border_on_one_another_are_one)
{
    for (unsigned page = 0; page < PAGES; page += 2)
        fake_memory_set(&memory, START + (uint64_t)page * PAGE,
                        START + (uint64_t)page * PAGE + PAGE, FAKE_HUGE);
    look();
    check_eq(runs.n_runs, PAGES);
    for (uint64_t at = START; at < START + PAGES * PAGE; at += PAGE)
        check_at(at, 16);
    check_le(memory.n_reads, 16);
    check_eq(memory.n_scans, 0);
}

/* The end of a heap that was trimmed since: what is before it can be read. */
Test(window, what_is_gone_further_on_does_not_matter)
{
    look();
    fake_memory_set(&memory, START + 6 * PAGE, START + PAGES * PAGE,
                    FAKE_ABSENT);
    for (uint64_t at = START; at < START + 6 * PAGE; at += 64)
        check_at(at, 16);
    cr_assert_null(window_at(&window, START + 6 * PAGE, 16));
}

Test(window, what_was_forgotten_is_read_again)
{
    look();
    check_at(START, 16);
    fake_memory_put(&memory, START, 1);
    uint64_t word;
    memcpy(&word, window_at(&window, START, 8), sizeof(word));
    check_eq(word, START);
    window_forget(&window);
    check_eq(window_left(&window, START), 0);
    memcpy(&word, window_at(&window, START, 8), sizeof(word));
    check_eq(word, 1);
}
