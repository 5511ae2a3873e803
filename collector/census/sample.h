/*
 * sample.h - what some of many tell of all
 *
 * Pure arithmetic: sums over a population of which a simple random sample was
 * looked at, without bias, and how far they may be off.
 */
#ifndef COLLECTOR_CENSUS_SAMPLE_H
#define COLLECTOR_CENSUS_SAMPLE_H

#include <stdint.h>

/* Fewer tell nothing of their spread. */
enum { SAMPLE_LEAST = 2 };

struct sample_estimate {
    double total;
    double error; /* one standard error */
};

/*
 * From the sum and the sum of squares over n of n_all; n at least SAMPLE_LEAST.
 * The correction for a finite population makes the error 0 where all were seen.
 */
struct sample_estimate sample_sum(double sum, double squares, double n,
                                  double n_all);

/* The next of a sequence; the state must not be 0. */
uint64_t sample_random(uint64_t *state);

#endif
