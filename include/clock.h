/*
 * clock.h - what a clock of the kernel's says, as one number
 *
 * No clock that is asked here can fail: they are CLOCK_MONOTONIC, whose reading
 * is no system call, CLOCK_REALTIME, and the CPU clocks of our own programs.
 */
#ifndef INCLUDE_CLOCK_H
#define INCLUDE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t
clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline uint64_t
clock_us(clockid_t clock)
{
    return clock_ns(clock) / 1000;
}

#endif
