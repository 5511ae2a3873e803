#include "preload/raw.h"

#include <linux/mman.h>

enum { FIRST_ERROR = -4095 };

void *
raw_map(size_t n_bytes, int fd, uint64_t offset)
{
    const int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
    const long start =
        raw_call6(SYS_mmap, 0, (long)n_bytes, PROT_READ | PROT_WRITE, flags, fd,
                  (long)offset);
    if (start < 0 && start >= FIRST_ERROR)
        return NULL;
    return (void *)(uintptr_t)start;
}

void
raw_unmap(void *start, size_t n_bytes)
{
    raw_call3(SYS_munmap, (long)(uintptr_t)start, (long)n_bytes, 0);
}
