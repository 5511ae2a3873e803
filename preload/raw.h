/*
 * raw.h - system calls that nobody can interpose and that leave errno alone
 *
 * A hook may not use libc's wrappers: they set errno, some are cancellation
 * points, and another preload may stand in their way. Each function returns
 * what the kernel returned: a negative value is -errno.
 */
#ifndef PRELOAD_RAW_H
#define PRELOAD_RAW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

static inline long
raw_call6(long number, long a, long b, long c, long d, long e, long f)
{
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8),
                       "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

static inline long
raw_call4(long number, long a, long b, long c, long d)
{
    return raw_call6(number, a, b, c, d, 0, 0);
}

static inline long
raw_call3(long number, long a, long b, long c)
{
    return raw_call6(number, a, b, c, 0, 0, 0);
}

static inline long
raw_close(int fd)
{
    return raw_call3(SYS_close, fd, 0, 0);
}

static inline long
raw_write(int fd, const void *bytes, size_t n_bytes)
{
    return raw_call3(SYS_write, fd, (long)(uintptr_t)bytes, (long)n_bytes);
}

static inline long
raw_read(int fd, void *bytes, size_t n_bytes)
{
    return raw_call3(SYS_read, fd, (long)(uintptr_t)bytes, (long)n_bytes);
}

static inline int
raw_getpid(void)
{
    return (int)raw_call3(SYS_getpid, 0, 0, 0);
}

static inline int
raw_gettid(void)
{
    return (int)raw_call3(SYS_gettid, 0, 0, 0);
}

/* Returns NULL where the kernel refuses. fd -1 asks for private memory. */
void *raw_map(size_t n_bytes, int fd, uint64_t offset);
/* The same in place of what is mapped at start. False: that is still there. */
bool raw_map_over(void *start, size_t n_bytes, int fd);
void raw_unmap(void *start, size_t n_bytes);

#endif
