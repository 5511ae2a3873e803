#include "preload/raw.h"

#include <linux/mman.h>

enum { FIRST_ERROR = -4095 };

static int
flags_of(int fd)
{
    return fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
}

void *
raw_map(size_t n_bytes, int fd, uint64_t offset)
{
    const long start =
        raw_call6(SYS_mmap, 0, (long)n_bytes, PROT_READ | PROT_WRITE,
                  flags_of(fd), fd, (long)offset);
    if (start < 0 && start >= FIRST_ERROR)
        return NULL;
    return (void *)(uintptr_t)start;
}

bool
raw_map_over(void *start, size_t n_bytes, int fd)
{
    const int flags = flags_of(fd) | MAP_FIXED | MAP_NORESERVE;
    const long at = (long)(uintptr_t)start;
    return raw_call6(SYS_mmap, at, (long)n_bytes, PROT_READ | PROT_WRITE, flags,
                     fd, 0) == at;
}

void
raw_unmap(void *start, size_t n_bytes)
{
    raw_call3(SYS_munmap, (long)(uintptr_t)start, (long)n_bytes, 0);
}
