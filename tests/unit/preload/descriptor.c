#include "preload/descriptor.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/unit/check.h"

static int
open_root(void)
{
    const int fd = open("/", O_RDONLY | O_CLOEXEC);
    check_true(fd >= 0);
    return fd;
}

Test(descriptor, two_find_room_above_the_limit)
{
    struct rlimit limit;
    check_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_max < 302)
        cr_skip_test("there is no room above the limit");
    limit.rlim_cur = 300;
    check_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    const int low = open_root();
    check_eq(descriptor_lift(low), 300);
    check_eq(fcntl(low, F_GETFD), -1);
    check_eq(fcntl(300, F_GETFD), FD_CLOEXEC);
    check_eq(descriptor_lift(open_root()), 301);
    struct rlimit after;
    check_eq(getrlimit(RLIMIT_NOFILE, &after), 0);
    check_eq(after.rlim_cur, 300);
    check_eq(after.rlim_max, limit.rlim_max);
}

Test(descriptor, without_room_above_it_is_high_below)
{
    const struct rlimit limit = {900, 900};
    check_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    check_eq(descriptor_lift(open_root()), 700);
    check_eq(descriptor_lift(open_root()), 701);
}

Test(descriptor, where_there_is_no_other_it_stays)
{
    const struct rlimit limit = {64, 64};
    check_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    check_eq(descriptor_lift(open_root()), 63);
    const int low = open_root();
    check_eq(descriptor_lift(low), low);
    check_true(fcntl(low, F_GETFD) >= 0);
}
