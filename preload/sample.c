/*
 * The addresses lie in buckets of a cache line; each has two where it may be.
 * There are no graves and no chains, so that a place is simply emptied, and who
 * looks for an address never looks at more than two lines.
 */
#include "preload/sample.h"

#include <stdatomic.h>
#include <time.h>

#include "include/clock.h"
#include "preload/process.h"
#include "preload/raw.h"

enum {
    BUCKET_PLACES = 8,
    BUCKETS = 1 << 13,
    FILTER_FULL = UINT8_MAX, /* not counted any more: it stays */
    FRACTION_BITS = 32,
};

#define LN_2 0xb17217f7ull /* in units of 2^-32 */

uint8_t sample_filter[SAMPLE_FILTER_PLACES];

static _Alignas(64) _Atomic uint64_t buckets[BUCKETS][BUCKET_PLACES];

/* ---- drawing ----------------------------------------------------------- */

/* SplitMix64 (Steele, Lea and Flood, 2014). */
static uint64_t
next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

/*
 * -log2(n / 2^64) in units of 2^-32; n is not 0. The mantissa is squared again
 * and again: whenever it passes 2, there is a bit of its logarithm.
 */
static uint64_t
minus_log2(uint64_t n)
{
    const unsigned n_zeroes = (unsigned)__builtin_clzll(n);
    uint64_t mantissa = n << n_zeroes; /* in units of 2^-63, 1 to 2 */
    uint64_t fraction = 0;
    for (unsigned i = 0; i < FRACTION_BITS; i++) {
        const uint64_t square =
            (uint64_t)((unsigned __int128)mantissa * mantissa >> 64);
        const bool is_past = square >> 63 != 0;
        mantissa = is_past ? square : square << 1;
        fraction = fraction << 1 | is_past;
    }
    return ((uint64_t)(n_zeroes + 1) << FRACTION_BITS) - fraction;
}

uint64_t
sample_draw(uint64_t *state, uint64_t mean)
{
    const uint64_t log2 = minus_log2(next_random(state) | 1);
    const unsigned __int128 product = (unsigned __int128)mean * log2 * LN_2;
    return (uint64_t)(product >> 2 * FRACTION_BITS) + 1;
}

/* ---- the countdown ----------------------------------------------------- */

/* Threads and forked children have sequences of their own. */
static void
seed(void)
{
    uint64_t state = clock_ns(CLOCK_MONOTONIC);
    state ^= (uint64_t)raw_gettid() << 32 ^ (uintptr_t)&state;
    self.random = next_random(&state) | 1;
}

/* A borrow says that a number of bytes was greater than this. */
static void
begin(void)
{
    self.until_sample = sample_draw(&self.random, process_sample_bytes()) - 1;
}

bool
sample_is_due(uint64_t n_bytes)
{
    if (!process_is_sampling()) {
        self.until_sample = UINT64_MAX;
        return false;
    }
    if (self.random == 0) {
        seed();
        begin();
        if (!sample_counts_down(n_bytes))
            return false;
    }
    begin();
    return true;
}

bool
sample_takes(uint64_t n_bytes)
{
    if (!process_is_sampling())
        return false;
    if (self.random == 0)
        return sample_is_due(n_bytes);
    return sample_counts_down(n_bytes) && sample_is_due(n_bytes);
}

/* ---- those that were taken --------------------------------------------- */

static void
count(uintptr_t addr, int difference)
{
    uint8_t *place = &sample_filter[addr / SAMPLE_GRAIN % SAMPLE_FILTER_PLACES];
    uint8_t was = __atomic_load_n(place, __ATOMIC_RELAXED);
    while (was != FILTER_FULL && !__atomic_compare_exchange_n(
                                     place, &was, (uint8_t)(was + difference),
                                     false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        continue;
}

static _Atomic uint64_t *
bucket_of(uintptr_t addr, unsigned which)
{
    const uint64_t hash = (addr / SAMPLE_GRAIN) * 0x9e3779b97f4a7c15;
    return buckets[hash >> (which == 0 ? 51 : 38) & (BUCKETS - 1)];
}

static _Atomic uint64_t *
find_in(_Atomic uint64_t *bucket, uint64_t what)
{
    for (unsigned i = 0; i < BUCKET_PLACES; i++) {
        if (atomic_load_explicit(&bucket[i], memory_order_relaxed) == what)
            return &bucket[i];
    }
    return NULL;
}

/* Where it is; NULL: nowhere. */
static _Atomic uint64_t *
find(uintptr_t addr)
{
    _Atomic uint64_t *place = find_in(bucket_of(addr, 0), addr);
    return place != NULL ? place : find_in(bucket_of(addr, 1), addr);
}

static unsigned
n_free(const _Atomic uint64_t *bucket)
{
    unsigned n = 0;
    for (unsigned i = 0; i < BUCKET_PLACES; i++)
        n += atomic_load_explicit(&bucket[i], memory_order_relaxed) == 0;
    return n;
}

/* A free place of its two buckets, of the emptier one; NULL: there is none. */
static _Atomic uint64_t *
find_free(uintptr_t addr)
{
    _Atomic uint64_t *first = bucket_of(addr, 0);
    _Atomic uint64_t *second = bucket_of(addr, 1);
    return find_in(n_free(first) >= n_free(second) ? first : second, 0);
}

bool
sample_keep(uintptr_t addr)
{
    _Atomic uint64_t *place;
    uint64_t nobody = 0;
    while ((place = find_free(addr)) != NULL &&
           !atomic_compare_exchange_strong(place, &nobody, addr))
        nobody = 0;
    if (place != NULL)
        count(addr, 1);
    return place != NULL;
}

bool
sample_has(uintptr_t addr)
{
    return find(addr) != NULL;
}

bool
sample_let_go(uintptr_t addr)
{
    _Atomic uint64_t *place;
    uint64_t it = addr;
    while ((place = find(addr)) != NULL &&
           !atomic_compare_exchange_strong(place, &it, 0))
        it = addr;
    if (place != NULL)
        count(addr, -1);
    return place != NULL;
}
