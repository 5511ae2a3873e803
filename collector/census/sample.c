#include "collector/census/sample.h"

#include <math.h>

struct sample_estimate
sample_sum(double sum, double squares, double n, double n_all)
{
    const double variance = (squares - sum * sum / n) / (n - 1);
    const double unseen = 1 - n / n_all;
    return (struct sample_estimate){
        .total = sum * n_all / n,
        .error = n_all * sqrt((variance < 0 ? 0 : variance) * unseen / n),
    };
}

/* xorshift64 (Marsaglia, 2003). */
uint64_t
sample_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}
