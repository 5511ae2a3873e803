/*
 * check.h - Criterion, and comparisons that show what they compared
 */
#ifndef TESTS_UNIT_CHECK_H
#define TESTS_UNIT_CHECK_H

#include <criterion/criterion.h>
#include <stdint.h>

/* Two integers of any type. */
#define check_eq(actual, expected)                                           \
    do {                                                                     \
        const long long check_is = (long long)(actual);                      \
        const long long check_wanted = (long long)(expected);                \
        cr_assert(check_is == check_wanted, "%s is %lld, not %lld", #actual, \
                  check_is, check_wanted);                                   \
    } while (0)

/* The left one is at most, or at least, the right one. */
#define check_le(actual, most)                                              \
    do {                                                                    \
        const long long check_is = (long long)(actual);                     \
        const long long check_most = (long long)(most);                     \
        cr_assert(check_is <= check_most, "%s is %lld, over %lld", #actual, \
                  check_is, check_most);                                    \
    } while (0)
#define check_ge(actual, least)                                               \
    do {                                                                      \
        const long long check_is = (long long)(actual);                       \
        const long long check_least = (long long)(least);                     \
        cr_assert(check_is >= check_least, "%s is %lld, under %lld", #actual, \
                  check_is, check_least);                                     \
    } while (0)

#define check_text(actual, expected)                                       \
    do {                                                                   \
        const char *const check_is = (actual);                             \
        const char *const check_wanted = (expected);                       \
        cr_assert(check_is != NULL && strcmp(check_is, check_wanted) == 0, \
                  "%s is \"%s\", not \"%s\"", #actual,                     \
                  check_is == NULL ? "(null)" : check_is, check_wanted);   \
    } while (0)

#define check_true(condition) cr_assert(condition)
#define check_false(condition) cr_assert(!(condition))

/*
 * Pseudo-random numbers that are the same in every run: what fails once fails
 * again.
 */
static inline uint64_t
check_random(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15;
    uint64_t word = *state;
    word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9;
    word = (word ^ (word >> 27)) * 0x94d049bb133111eb;
    return word ^ (word >> 31);
}

#endif
