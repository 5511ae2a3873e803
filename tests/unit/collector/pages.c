#include "collector/census/pages.h"

#include "include/attrs.h"
#include "tests/unit/check.h"

enum { PAGE = MEMORY_PAGE };

static struct memory_run items[] = {
    {.start = 2 * PAGE, .end = 4 * PAGE   },
    { .start = 4 * PAGE,  .end = 6 * PAGE, .is_swapped = true},
    { .start = 10 * PAGE, .end = 11 * PAGE,    .is_file = true},
};
static const struct memory_runs runs = {.runs = items,
                                        .n_runs = countof(items)};

Test(pages, resident_is_all_that_is_not_swapped)
{
    check_eq(pages_resident(&runs), 3 * PAGE);
    const struct memory_runs none = {0};
    check_eq(pages_resident(&none), 0);
}

Test(pages, the_first_run_behind_an_address_is_found)
{
    check_eq(pages_first(&runs, 0), 0);
    check_eq(pages_first(&runs, 4 * PAGE - 1), 0);
    check_eq(pages_first(&runs, 4 * PAGE), 1);
    check_eq(pages_first(&runs, 6 * PAGE), 2);
    check_eq(pages_first(&runs, 11 * PAGE), 3);
    check_eq(pages_first(&runs, UINT64_MAX), 3);
}

Test(pages, a_page_is_resident_where_a_run_holds_it)
{
    for (uint64_t page = 0; page < 16; page++) {
        const bool wanted = page == 2 || page == 3 || page == 10;
        check_eq(pages_is_resident(&runs, page * PAGE), wanted);
        check_eq(pages_is_resident(&runs, page * PAGE + PAGE - 1), wanted);
    }
}

Test(pages, every_page_of_a_range_has_a_state)
{
    for (uint64_t from = 0; from < 14; from++) {
        for (size_t n = 0; n < 14; n++) {
            unsigned char states[16];
            memset(states, 0xee, sizeof(states));
            pages_states(&runs, from * PAGE, n, states);
            for (size_t i = 0; i < n; i++) {
                const uint64_t page = from + i;
                const unsigned wanted = page == 2 || page == 3 || page == 10
                                            ? PAGES_RESIDENT
                                        : page == 4 || page == 5 ? PAGES_SWAPPED
                                                                 : 0;
                check_eq(states[i], wanted);
            }
            check_eq(states[n], 0xee);
        }
    }
}
