#include "collector/census/sample.h"

#include <math.h>

#include "include/attrs.h"
#include "tests/unit/check.h"

enum { POPULATION = 1000, SAMPLE = 100, ROUNDS = 2000 };

static double values[POPULATION];

/* Most have little, some have much: what arenas are like. */
static double
lay_out(void)
{
    double total = 0;
    for (unsigned i = 0; i < POPULATION; i++) {
        values[i] = i % 10 == 0 ? 5000 + i : i % 7;
        total += values[i];
    }
    return total;
}

static struct sample_estimate
draw(uint64_t *state)
{
    double sum = 0;
    double squares = 0;
    for (unsigned i = 0; i < SAMPLE; i++) {
        const unsigned other =
            i + (unsigned)(sample_random(state) % (POPULATION - i));
        const double value = values[other];
        values[other] = values[i];
        values[i] = value;
        sum += value;
        squares += value * value;
    }
    return sample_sum(sum, squares, SAMPLE, POPULATION);
}

Test(sample, estimates_are_without_bias_and_as_far_off_as_they_say)
{
    uint64_t state = 42;
    const double truth = lay_out();
    double sum = 0;
    unsigned n_within = 0;
    for (unsigned i = 0; i < ROUNDS; i++) {
        const struct sample_estimate estimate = draw(&state);
        sum += estimate.total;
        n_within += fabs(estimate.total - truth) <= 2 * estimate.error;
    }
    /* The mean of so many is off by a fiftieth of one's error at most. */
    cr_assert(fabs(sum / ROUNDS / truth - 1) < 0.02, "%g of %g", sum / ROUNDS,
              truth);
    /* Two standard errors: 95 of 100, and the error itself is estimated. */
    cr_assert(n_within > ROUNDS * 90 / 100, "%u of %d", n_within, ROUNDS);
    cr_assert(n_within < ROUNDS * 99 / 100, "%u of %d", n_within, ROUNDS);
}

Test(sample, where_all_were_seen_there_is_no_error)
{
    const struct sample_estimate estimate = sample_sum(60, 1400, 3, 3);
    check_eq((int)estimate.total, 60);
    check_true(estimate.error == 0);
}
