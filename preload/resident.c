#include "preload/resident.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "preload/descriptor.h"
#include "preload/raw.h"

enum {
    PAGE_BYTES = 4096,
    LINE_BYTES = 160, /* seven numbers, of 20 digits at most */
    N_FIELDS = 7,
    RESIDENT_FIELD = 1,
};

static struct {
    _Atomic int fd;
    _Atomic bool is_forbidden;
    uint64_t device;
    uint64_t inode;
} resident = {.fd = -1};

uint64_t
resident_parse(const char *line, long n_bytes)
{
    uint64_t fields[N_FIELDS] = {0};
    unsigned n = 0;
    long at = 0;
    while (n < N_FIELDS && at < n_bytes) {
        const long start = at;
        while (at < n_bytes && line[at] >= '0' && line[at] <= '9')
            fields[n] = fields[n] * 10 + (unsigned)(line[at++] - '0');
        const char behind = n + 1 < N_FIELDS ? ' ' : '\n';
        if (at == start || at == n_bytes || line[at++] != behind)
            return 0;
        n++;
    }
    return n == N_FIELDS && at == n_bytes
               ? fields[RESIDENT_FIELD] * (uint64_t)PAGE_BYTES
               : 0;
}

/* The target may have given its number to another file. */
static bool
is_ours(int fd)
{
    struct stat is;
    return raw_call3(SYS_fstat, fd, (long)(uintptr_t)&is, 0) == 0 &&
           is.st_dev == resident.device && is.st_ino == resident.inode;
}

uint64_t
resident_bytes(void)
{
    const int fd = atomic_load_explicit(&resident.fd, memory_order_relaxed);
    if (fd < 0)
        return 0;
    char line[LINE_BYTES];
    if (!is_ours(fd)) {
        atomic_store(&resident.fd, -1);
        return 0;
    }
    const long n =
        raw_call4(SYS_pread64, fd, (long)(uintptr_t)line, sizeof(line), 0);
    const uint64_t n_bytes = n > 0 ? resident_parse(line, n) : 0;
    if (n_bytes == 0) /* it is ours no more */
        atomic_store(&resident.fd, -1);
    return n_bytes;
}

void
resident_open(void)
{
    if (atomic_load(&resident.is_forbidden))
        return;
    const long fd =
        raw_call4(SYS_openat, AT_FDCWD, (long)(uintptr_t) "/proc/self/statm",
                  O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return;
    const int high = descriptor_lift((int)fd);
    struct stat is;
    /* Of a few numbers the target may need each one. */
    if (high < DESCRIPTOR_HIGH ||
        raw_call3(SYS_fstat, high, (long)(uintptr_t)&is, 0) != 0) {
        raw_close(high);
        return;
    }
    resident.device = is.st_dev;
    resident.inode = is.st_ino;
    atomic_store(&resident.fd, high);
    resident_bytes();
}

void
resident_close(void)
{
    const int fd = atomic_exchange(&resident.fd, -1);
    if (fd >= 0 && is_ours(fd))
        raw_close(fd);
}

void
resident_forbid(void)
{
    atomic_store(&resident.is_forbidden, true);
    resident_close();
}

bool
resident_is_forbidden(void)
{
    return atomic_load(&resident.is_forbidden);
}
