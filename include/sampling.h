/*
 * sampling.h - how far apart the points of a Poisson sample are, as users say
 */
#ifndef INCLUDE_SAMPLING_H
#define INCLUDE_SAMPLING_H

#include <stdbool.h>
#include <stdint.h>

/* The mean, in bytes; 0 says that nothing is sampled. */
#define SAMPLING_DEFAULT_BYTES (512ull << 10)
#define SAMPLING_MOST_BYTES (1ull << 40)

/* Of a word like 65536, 64K or 1M. False: it is none. */
static inline bool
sampling_parse(const char *word, uint64_t *bytes)
{
    uint64_t n = 0;
    const char *at = word;
    for (; *at >= '0' && *at <= '9'; at++) {
        n = n * 10 + (uint64_t)(*at - '0');
        if (n > SAMPLING_MOST_BYTES)
            return false;
    }
    if (at == word)
        return false;
    const unsigned shift = *at == 'K' ? 10 : *at == 'M' ? 20 : 0;
    at += shift != 0;
    *bytes = n << shift;
    return *at == '\0' && *bytes <= SAMPLING_MOST_BYTES;
}

#endif
