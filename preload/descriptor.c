#include "preload/descriptor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>

#include "preload/raw.h"

enum {
    HIGHEST_LIMIT = 65536, /* a number beyond costs a table of that size */
    ROOM = 2,              /* the pipe and the kernel's word on our size */
};

static bool
set_limit(const struct rlimit64 *limit)
{
    return raw_call4(SYS_prlimit64, 0, RLIMIT_NOFILE, (long)(uintptr_t)limit,
                     0) == 0;
}

static long
duplicate_high(int fd)
{
    struct rlimit64 limit = {0};
    if (raw_call4(SYS_prlimit64, 0, RLIMIT_NOFILE, 0,
                  (long)(uintptr_t)&limit) == 0 &&
        limit.rlim_cur < limit.rlim_max && limit.rlim_cur <= HIGHEST_LIMIT) {
        const rlim64_t room = limit.rlim_max - limit.rlim_cur;
        const struct rlimit64 raised = {
            limit.rlim_cur + (room < ROOM ? room : ROOM), limit.rlim_max};
        if (set_limit(&raised)) {
            const long high =
                raw_call3(SYS_fcntl, fd, F_DUPFD_CLOEXEC, (long)limit.rlim_cur);
            set_limit(&limit);
            if (high >= 0)
                return high;
        }
    }
    const long high =
        raw_call3(SYS_fcntl, fd, F_DUPFD_CLOEXEC, DESCRIPTOR_HIGH);
    return high != -EINVAL ? high
                           : raw_call3(SYS_fcntl, fd, F_DUPFD_CLOEXEC,
                                       (long)limit.rlim_cur - 1);
}

int
descriptor_lift(int fd)
{
    const long high = duplicate_high(fd);
    if (high < 0)
        return fd;
    raw_close(fd);
    return (int)high;
}
