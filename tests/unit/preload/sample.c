#include "preload/sample.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

#include "tests/unit/preload/fake_real.h"
#include "tests/unit/preload/process.h"

TestSuite(sample, .timeout = 30);

enum { MEAN = 4096 };

static void
sample_every(uint64_t mean_bytes)
{
    memory_sink_terms.sample_bytes = mean_bytes;
    process_introduce();
}

/* As often as it should be. */
static void
check_count(uint64_t found, double expected, double deviation)
{
    cr_assert(fabs((double)found - expected) <= 4 * deviation,
              "%llu, not %.0f +- %.0f", (unsigned long long)found, expected,
              deviation);
}

/* ---- drawing ----------------------------------------------------------- */

Test(sample, what_is_drawn_is_exponentially_distributed)
{
    enum { N = 1000000 };
    uint64_t state = 7;
    uint64_t n_over[6] = {0};
    double sum = 0;
    for (unsigned i = 0; i < N; i++) {
        const uint64_t drawn = sample_draw(&state, MEAN);
        check_ge(drawn, 1);
        sum += (double)drawn;
        for (unsigned k = 0; k < 6; k++)
            n_over[k] += drawn > (uint64_t)MEAN * k / 2;
    }
    cr_assert(fabs(sum / N - MEAN - 0.5) < 4 * MEAN / sqrt(N), "mean %f",
              sum / N);
    for (unsigned k = 0; k < 6; k++) {
        const double p = exp(-0.5 * k);
        check_count(n_over[k], N * p, sqrt(N * p * (1 - p)));
    }
}

Test(sample, a_mean_may_be_as_small_and_as_large_as_any)
{
    uint64_t state = 7;
    uint64_t most = 0;
    for (unsigned i = 0; i < 1000; i++) {
        check_ge(sample_draw(&state, 1), 1);
        const uint64_t drawn = sample_draw(&state, 1ull << 40);
        most = drawn > most ? drawn : most;
    }
    check_ge(most, 1ull << 41);
    check_le(most, 1ull << 45);
}

/* ---- taking ------------------------------------------------------------ */

static void
check_rate(uint64_t n_bytes)
{
    enum { N = 200000 };
    uint64_t n = 0;
    for (unsigned i = 0; i < N; i++)
        n += sample_takes(n_bytes);
    const double p = 1 - exp(-(double)n_bytes / MEAN);
    check_count(n, N * p, sqrt(N * p * (1 - p)));
}

Test(sample, a_block_is_taken_as_likely_as_it_is_large)
{
    sample_every(MEAN);
    self.random = 99; /* the same in every run */
    check_rate(24);
    check_rate(1000);
    check_rate(MEAN);
    check_rate(4 * MEAN);
}

Test(sample, a_first_block_is_taken_no_more_often_than_others)
{
    enum { N = 20000, BYTES = MEAN / 10 };
    sample_every(MEAN);
    uint64_t n = 0;
    for (unsigned i = 0; i < N; i++) {
        self.random = 0; /* as of a thread that is new */
        self.until_sample = 0;
        n += sample_counts_down(BYTES) && sample_is_due(BYTES);
    }
    const double p = 1 - exp(-0.1);
    /* Seeds are of the clock: 6 deviations are not met by chance. */
    check_count(n, N * p, 1.5 * sqrt(N * p * (1 - p)));
}

Test(sample, without_a_mean_or_at_level_exact_nothing_is)
{
    process_introduce();
    check_false(sample_takes(UINT32_MAX));
    check_false(sample_is_due(UINT32_MAX));
    check_eq(self.until_sample, UINT64_MAX);
    memory_sink_terms =
        (struct sink_terms){.level = WIRE_LEVEL_EXACT, .sample_bytes = 1};
    process_introduce();
    check_false(sample_takes(UINT32_MAX));
}

/* ---- those that were taken --------------------------------------------- */

Test(sample, what_is_kept_is_there_until_it_is_let_go)
{
    void *const block = (void *)0x7f0000001230;
    const uintptr_t addr = (uintptr_t)block;
    check_false(sample_may_be(block));
    check_false(sample_let_go(addr));
    check_true(sample_keep(addr));
    check_true(sample_may_be(block) && sample_has(addr));
    /* A block may be given again before its death was told. */
    check_true(sample_keep(addr));
    check_true(sample_let_go(addr));
    check_true(sample_may_be(block) && sample_has(addr));
    check_true(sample_let_go(addr));
    check_false(sample_may_be(block));
    check_false(sample_has(addr));
    check_false(sample_let_go(addr));
}

Test(sample, another_of_the_same_place_is_not_taken_for_it)
{
    const uintptr_t addr = 0x10000;
    const uintptr_t other =
        addr + (uintptr_t)SAMPLE_FILTER_PLACES * SAMPLE_GRAIN;
    check_true(sample_keep(addr));
    check_true(sample_may_be((void *)other));
    check_false(sample_has(other));
    check_false(sample_let_go(other));
}

Test(sample, a_full_place_stays_suspicious)
{
    const uintptr_t stride = (uintptr_t)SAMPLE_FILTER_PLACES * SAMPLE_GRAIN;
    for (uintptr_t i = 1; i <= 300; i++)
        check_true(sample_keep(i * stride));
    for (uintptr_t i = 1; i <= 300; i++)
        check_true(sample_let_go(i * stride));
    check_true(sample_may_be((void *)stride));
    check_false(sample_has(stride));
}

Test(sample, there_is_room_for_tens_of_thousands)
{
    uintptr_t n = 0;
    while (sample_keep((n + 1) * SAMPLE_GRAIN))
        n++;
    check_ge(n, 50000);
    for (uintptr_t i = 0; i < n; i++)
        check_true(sample_let_go((i + 1) * SAMPLE_GRAIN));
    for (unsigned i = 0; i < SAMPLE_FILTER_PLACES; i++)
        check_eq(sample_filter[i], 0);
}

/* ---- threads ----------------------------------------------------------- */

/* Each keeps and lets go its own; places and buckets are everybody's. */
static void *
keep_and_let_go(void *context)
{
    const uintptr_t first = (uintptr_t)context * SAMPLE_GRAIN;
    for (unsigned round = 0; round < 200; round++) {
        for (uintptr_t i = 0; i < 100; i++) {
            if (!sample_keep(first + i * 64 * SAMPLE_GRAIN))
                return context;
        }
        for (uintptr_t i = 0; i < 100; i++) {
            if (!sample_has(first + i * 64 * SAMPLE_GRAIN) ||
                !sample_let_go(first + i * 64 * SAMPLE_GRAIN))
                return context;
        }
    }
    return NULL;
}

Test(sample, threads_do_not_lose_what_others_keep)
{
    pthread_t threads[4];
    for (uintptr_t i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, keep_and_let_go, (void *)(i + 1));
    for (unsigned i = 0; i < 4; i++) {
        void *failed = NULL;
        pthread_join(threads[i], &failed);
        cr_assert_null(failed);
    }
    for (unsigned i = 0; i < SAMPLE_FILTER_PLACES; i++)
        check_eq(sample_filter[i], 0);
}
