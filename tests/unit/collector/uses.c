#include "collector/uses.h"

#include <math.h>
#include <stdlib.h>

#include "include/recording.h"
#include "include/xalloc.h"
#include "tests/unit/check.h"

Test(uses, as_many_as_may_be_stay_as_they_are)
{
    const struct sites_use known[] = {
        {0, 1, 2, 3, 4},
        {7, 5, 6, 7, 8},
    };
    size_t n;
    struct recording_use *uses = uses_of(known, 2, &n);
    check_eq(n, 2);
    check_eq(uses[1].site, 7);
    check_eq(uses[1].live_blocks, 5);
    check_eq(uses[1].live_bytes, 6);
    check_eq(uses[1].alloc_blocks, 7);
    check_eq(uses[1].alloc_bytes, 8);
    free(uses);
    free(uses_of(NULL, 0, &n));
    check_eq(n, 0);
}

Test(uses, those_that_hold_least_become_one)
{
    enum { N = RECORDING_MOST_USES + 1000 };
    struct sites_use *known = xcalloc(N, sizeof(*known));
    uint64_t state = 3;
    for (uint32_t i = 0; i < N; i++)
        known[i] = (struct sites_use){
            .site = i,
            .live_blocks = 1,
            .live_bytes = check_random(&state) % 1000,
            .alloc_blocks = 3,
            .alloc_bytes = check_random(&state) % 1000 + 1000,
        };
    struct sites_use sum = {0};
    for (uint32_t i = 0; i < N; i++) {
        sum.live_bytes += known[i].live_bytes;
        sum.alloc_bytes += known[i].alloc_bytes;
    }
    size_t n;
    struct recording_use *uses = uses_of(known, N, &n);
    check_eq(n, RECORDING_MOST_USES);
    int64_t live_bytes = 0;
    int64_t alloc_bytes = 0;
    int64_t n_blocks = 0;
    unsigned n_other = 0;
    bool has[N] = {false};
    for (size_t i = 0; i < n; i++) {
        live_bytes += uses[i].live_bytes;
        alloc_bytes += uses[i].alloc_bytes;
        n_blocks += uses[i].live_blocks + uses[i].alloc_blocks;
        n_other += uses[i].site == RECORDING_SITE_OTHER;
        if (uses[i].site >= 0)
            has[uses[i].site] = true;
    }
    check_eq(n_other, 1);
    check_eq(live_bytes, sum.live_bytes);
    check_eq(alloc_bytes, sum.alloc_bytes);
    check_eq(n_blocks, 4 * N);
    uint64_t least_kept = UINT64_MAX;
    uint64_t most_left = 0;
    for (uint32_t i = 0; i < N; i++) {
        if (has[i] && known[i].live_bytes < least_kept)
            least_kept = known[i].live_bytes;
        if (!has[i] && known[i].live_bytes > most_left)
            most_left = known[i].live_bytes;
    }
    check_ge(least_kept, most_left);
    free(uses);
    free(known);
}

Test(uses, what_is_estimated_has_one_standard_error)
{
    const struct sites_use known[] = {
        {.site = 3,                      .live_bytes = 500, .alloc_bytes = 500},
        { .site = 7,
         .live_blocks = 10,
         .live_bytes = 1000,
         .alloc_bytes = 1000000,
         .live_blocks_variance = 0.0001,
         .live_bytes_variance = 10000,
         .alloc_bytes_variance = 1e8},
    };
    size_t n;
    struct recording_use *uses = uses_of(known, 2, &n);
    check_eq(uses[0].live_bytes_error, 0);
    check_eq(uses[1].live_blocks_error, 1); /* it is not exact */
    check_eq(uses[1].live_bytes_error, 101);
    check_eq(uses[1].alloc_bytes_error, 10001);
    check_eq(uses[1].alloc_blocks_error, 0);
    free(uses);
}

Test(uses, errors_of_those_that_become_one_add_up_by_their_squares)
{
    enum { N = RECORDING_MOST_USES + 3 };
    struct sites_use *known = xcalloc(N, sizeof(*known));
    for (uint32_t i = 0; i < N; i++)
        known[i] = (struct sites_use){.site = i, .live_bytes = 1000000};
    /* The last four hold least; two of these are exact. */
    for (uint32_t i = N - 4; i < N; i++)
        known[i].live_bytes = 1000;
    known[N - 1].live_bytes_variance = 9e10;
    known[N - 2].live_bytes_variance = 16e10;
    size_t n;
    struct recording_use *uses = uses_of(known, N, &n);
    const struct recording_use *other = &uses[RECORDING_MOST_USES - 1];
    check_eq(other->site, RECORDING_SITE_OTHER);
    check_eq(other->live_bytes, 4000);
    const struct samples_estimate sum = {4000, 25e10};
    check_eq(other->live_bytes_error, ceil(samples_error(&sum, &sum)));
    free(uses);
    free(known);
}
