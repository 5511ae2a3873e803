#include "collector/model/samples.h"

#include <math.h>
#include <stdlib.h>

#include "tests/unit/check.h"

enum { MEAN = 1000 };

static struct samples *samples;

static void
set_up(void)
{
    samples = samples_create(MEAN);
}

static void
tear_down(void)
{
    samples_destroy(samples);
}

TestSuite(samples, .init = set_up, .fini = tear_down, .timeout = 30);

static void
sampled(uint64_t stamp, uint64_t addr, uint64_t n_bytes, uint32_t stack)
{
    const struct samples_block block = {addr, n_bytes, stack, true};
    samples_birth(samples, stamp, &block);
}

static struct samples_tally
tally_of(const struct samples *of, uint32_t stack)
{
    size_t n;
    struct samples_tally *all = samples_list(of, &n);
    struct samples_tally found = {.stack = UINT32_MAX};
    for (size_t i = 0; i < n; i++) {
        if (all[i].stack == stack)
            found = all[i];
    }
    free(all);
    return found;
}

static void
check_near(double is, double wanted)
{
    cr_assert(fabs(is - wanted) <= 1e-9 * fabs(wanted), "%.12g, not %.12g", is,
              wanted);
}

/* ---- weights ----------------------------------------------------------- */

Test(samples, a_block_stands_for_as_many_as_its_chance_says)
{
    const double p = 1 - exp(-0.25);
    sampled(1, 0x1000, MEAN / 4, 7);
    const struct samples_tally tally = tally_of(samples, 7);
    check_near(tally.live_blocks.total, 1 / p);
    check_near(tally.live_blocks.variance, (1 - p) / (p * p));
    check_near(tally.live_bytes.total, 250 / p);
    check_near(tally.live_bytes.variance, 250 * 250 * (1 - p) / (p * p));
    check_near(tally.alloc_blocks.total, 1 / p);
    check_near(tally.alloc_bytes.variance, tally.live_bytes.variance);
}

Test(samples, a_block_that_is_told_for_itself_is_exact)
{
    const struct samples_block block = {0x1000, 250, 7, false};
    samples_birth(samples, 1, &block);
    const struct samples_tally tally = tally_of(samples, 7);
    check_near(tally.live_blocks.total, 1);
    check_near(tally.live_bytes.total, 250);
    check_near(tally.live_bytes.variance, 0);
    check_near(samples_error(&tally.live_bytes, &tally.alloc_bytes), 0);
}

Test(samples, a_block_without_a_byte_is_none)
{
    sampled(1, 0x1000, 0, 7);
    size_t n;
    free(samples_list(samples, &n));
    check_eq(n, 0);
}

/* ---- events ------------------------------------------------------------ */

Test(samples, the_dead_were_allocated_but_do_not_live)
{
    sampled(1, 0x1000, 250, 7);
    samples_death(samples, 2, 0x1000);
    const struct samples_tally tally = tally_of(samples, 7);
    check_near(tally.live_blocks.total, 0);
    check_near(tally.live_bytes.variance, 0);
    cr_assert(tally.alloc_bytes.total > 250);
}

Test(samples, where_no_sample_lives_some_may_live_all_the_same)
{
    for (uint64_t i = 0; i < 10; i++)
        sampled(i + 1, 0x1000 * (i + 1), 10, 7);
    for (uint64_t i = 0; i < 10; i++)
        samples_death(samples, i + 11, 0x1000 * (i + 1));
    const struct samples_tally tally = tally_of(samples, 7);
    check_near(tally.live_bytes.total, 0);
    /* A sample of ten bytes stands for about 1000. */
    const double error = samples_error(&tally.live_bytes, &tally.alloc_bytes);
    cr_assert(fabs(error - sqrt(1.92) * MEAN) < 10, "%f", error);
}

Test(samples, a_death_may_come_before_its_birth)
{
    samples_death(samples, 2, 0x1000);
    sampled(1, 0x1000, 250, 7);
    check_near(tally_of(samples, 7).live_blocks.total, 0);
    sampled(3, 0x1000, 250, 8);
    cr_assert(tally_of(samples, 8).live_blocks.total > 1);
}

Test(samples, stacks_are_kept_apart)
{
    sampled(1, 0x1000, 250, 7);
    sampled(2, 0x2000, 250, 7);
    sampled(3, 0x3000, 250, 9);
    check_near(tally_of(samples, 7).live_bytes.total,
               2 * tally_of(samples, 9).live_bytes.total);
}

Test(samples, a_child_has_what_lived_at_its_fork_and_allocated_nothing)
{
    sampled(1, 0x1000, 250, 7);
    sampled(2, 0x2000, 250, 8);
    samples_death(samples, 3, 0x2000);
    sampled(5, 0x3000, 250, 9);
    samples_death(samples, 6, 0x1000);
    struct samples *child = samples_clone(samples, 4);
    cr_assert(tally_of(child, 7).live_bytes.total > 250);
    check_near(tally_of(child, 7).alloc_bytes.total, 0);
    check_eq(tally_of(child, 8).stack, UINT32_MAX);
    check_eq(tally_of(child, 9).stack, UINT32_MAX);
    samples_death(child, 7, 0x1000);
    check_eq(tally_of(child, 7).stack, UINT32_MAX);
    samples_destroy(child);
}

/* ---- what it says of all ----------------------------------------------- */

static double
uniform(uint64_t *state)
{
    return (double)(check_random(state) >> 11) / (double)(1ull << 53);
}

struct run {
    double total;
    double error;
};

/* Of n blocks of many sizes, each sampled by its own chance. */
static struct run
run_once(uint64_t *state, size_t n, double *truth)
{
    struct samples *of = samples_create(MEAN);
    *truth = 0;
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t n_bytes = 8 + i * 37 % 600;
        *truth += (double)n_bytes;
        if (uniform(state) >= 1 - exp(-(double)n_bytes / MEAN))
            continue;
        const struct samples_block block = {0x1000 + i * 16, n_bytes, 1, true};
        samples_birth(of, i + 1, &block);
    }
    const struct samples_estimate bytes = tally_of(of, 1).live_bytes;
    samples_destroy(of);
    return (struct run){bytes.total, samples_error(&bytes, &bytes)};
}

/* Coverage of 1.96 errors, the mean error and the mean estimate. */
static void
check_runs(size_t n_blocks)
{
    enum { N = 4000 };
    uint64_t state = n_blocks;
    unsigned n_covered = 0;
    double sum = 0;
    double errors = 0;
    double truth = 0;
    for (unsigned i = 0; i < N; i++) {
        const struct run run = run_once(&state, n_blocks, &truth);
        n_covered += fabs(run.total - truth) <= 1.96 * run.error;
        sum += run.total;
        errors += run.error;
    }
    const double deviation = sqrt(truth * MEAN);
    cr_assert(fabs(sum / N - truth) < 4 * deviation / sqrt(N),
              "%zu blocks: mean %.0f, not %.0f", n_blocks, sum / N, truth);
    cr_assert(fabs(errors / N / deviation - 1) < 0.2,
              "%zu blocks: errors are %.2f of sqrt(B T)", n_blocks,
              errors / N / deviation);
    cr_assert(n_covered >= 93 * N / 100 && n_covered <= 97 * N / 100,
              "%zu blocks: %u of %u covered", n_blocks, n_covered, N);
}

Test(samples, sums_are_without_bias_and_errors_are_what_they_say)
{
    check_runs(30); /* some 9 samples */
    check_runs(100);
    check_runs(300);
    check_runs(1000);
}
