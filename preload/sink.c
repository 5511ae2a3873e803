#include "preload/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>

#include "include/attrs.h"
#include "include/clock.h"
#include "preload/descriptor.h"
#include "preload/raw.h"

enum {
    KERNEL_SIGSET_BYTES = 8,
    NAP_MS = 1,
    SLICE_MS = 100, /* of a wait; then it is looked whether it makes sense */
    MS_NS = 1000000,
};

static struct {
    struct sockaddr_un address;
    uint32_t address_bytes;
    _Atomic int fd;
    uint64_t device;
    uint64_t inode;
    uint32_t full_wait_ms;
    _Atomic bool is_stuck; /* it was full for all of full_wait_ms */
} sink = {.fd = -1};

bool
sink_address(const char *path)
{
    const size_t n_bytes = strlen(path);
    if (n_bytes == 0 || n_bytes >= sizeof(sink.address.sun_path))
        return false;
    sink.address.sun_family = AF_UNIX;
    memcpy(sink.address.sun_path, path, n_bytes + 1);
    sink.address_bytes =
        (uint32_t)(offsetof(struct sockaddr_un, sun_path) + n_bytes + 1);
    return true;
}

/* ---- meeting the collector --------------------------------------------- */

/* Our memory is handed over: only to a collector of our own user. */
static bool
is_served_by_us(int fd)
{
    struct ucred peer;
    socklen_t n_bytes = sizeof(peer);
    return raw_call6(SYS_getsockopt, fd, SOL_SOCKET, SO_PEERCRED,
                     (long)(uintptr_t)&peer, (long)(uintptr_t)&n_bytes,
                     0) == 0 &&
           peer.uid == (uid_t)raw_call3(SYS_geteuid, 0, 0, 0);
}

static int
connect_collector(void)
{
    const int fd = (int)raw_call3(
        SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    if (raw_call3(SYS_connect, fd, (long)(uintptr_t)&sink.address,
                  sink.address_bytes) != 0 ||
        !is_served_by_us(fd)) {
        raw_close(fd);
        return -1;
    }
    return fd;
}

/*
 * The process' own files. They are readable while it is dumpable; a process
 * that is not becomes so for this moment. Dumpable 2 cannot be put back by a
 * process, so it is left alone.
 */
static void
open_own_files(int *fds)
{
    static const char *const paths[] = {
        [WIRE_FD_MEM] = "/proc/self/mem",
        [WIRE_FD_MAPS] = "/proc/self/maps",
        [WIRE_FD_SMAPS] = "/proc/self/smaps",
        [WIRE_FD_ROLLUP] = "/proc/self/smaps_rollup",
        [WIRE_FD_PAGEMAP] = "/proc/self/pagemap",
    };
    static_assert(countof(paths) == WIRE_N_FDS, "a path for each file");

    const bool was_hidden = raw_call3(SYS_prctl, PR_GET_DUMPABLE, 0, 0) == 0;
    if (was_hidden)
        raw_call3(SYS_prctl, PR_SET_DUMPABLE, 1, 0);
    for (size_t i = WIRE_FD_MEM; i < WIRE_N_FDS; i++) {
        fds[i] = (int)raw_call4(SYS_openat, AT_FDCWD, (long)(uintptr_t)paths[i],
                                O_RDONLY | O_CLOEXEC, 0);
    }
    if (was_hidden)
        raw_call3(SYS_prctl, PR_SET_DUMPABLE, 0, 0);
}

static void
close_all(const int *fds, size_t n_fds)
{
    for (size_t i = 0; i < n_fds; i++) {
        if (fds[i] >= 0)
            raw_close(fds[i]);
    }
}

static struct iovec
iovec_of(const void *bytes, size_t n_bytes)
{
    return (struct iovec){(void *)(uintptr_t)bytes, n_bytes};
}

/* One datagram: the hello, its texts, the descriptors. */
static bool
send_hello(int fd, const struct wire_hello *hello,
           const struct sink_texts *texts, const int *fds)
{
    struct iovec parts[] = {
        iovec_of(hello, sizeof(*hello)),
        iovec_of(texts->exe, texts->exe_bytes),
        iovec_of(texts->command, texts->command_bytes),
    };
    union {
        char bytes[CMSG_SPACE(WIRE_N_FDS * sizeof(int))];
        struct cmsghdr alignment;
    } control;
    memset(&control, 0, sizeof(control));
    struct msghdr message = {
        .msg_iov = parts,
        .msg_iovlen = countof(parts),
        .msg_control = control.bytes,
        .msg_controllen = sizeof(control.bytes),
    };
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(WIRE_N_FDS * sizeof(int));
    memcpy(CMSG_DATA(rights), fds, WIRE_N_FDS * sizeof(int));
    return raw_call3(SYS_sendmsg, fd, (long)(uintptr_t)&message, MSG_NOSIGNAL) >
           0;
}

/* Waits for one of the events: 1, 0 for none within wait_ms, or -errno. */
static long
wait_for(int fd, short events, long wait_ms)
{
    struct pollfd poll = {.fd = fd, .events = events};
    struct timespec left = {
        .tv_sec = wait_ms / 1000,
        .tv_nsec = wait_ms % 1000 * MS_NS,
    };
    /* The kernel writes back what is left, so that EINTR does not prolong. */
    long n;
    do {
        n = raw_call6(SYS_ppoll, (long)(uintptr_t)&poll, 1,
                      (long)(uintptr_t)&left, 0, KERNEL_SIGSET_BYTES, 0);
    } while (n == -EINTR);
    return n == 1 && (poll.revents & events) == 0 ? 0 : n;
}

static bool
receive_welcome(int fd, int wait_ms, struct sink_terms *terms)
{
    struct wire_welcome welcome;
    if (wait_for(fd, POLLIN, wait_ms) != 1 ||
        raw_read(fd, &welcome, sizeof(welcome)) != sizeof(welcome))
        return false;
    if (welcome.magic != WIRE_MAGIC || welcome.version != WIRE_VERSION ||
        welcome.verdict != WIRE_WELCOME)
        return false;
    sink.full_wait_ms = welcome.full_wait_ms;
    if (welcome.level < WIRE_N_LEVELS)
        terms->level = (enum wire_level)welcome.level;
    terms->sample_bytes = welcome.sample_bytes;
    return true;
}

/* Moves the pipe's write end up and remembers which pipe it is. */
static bool
adopt(int fd)
{
    fd = descriptor_lift(fd);
    struct stat is;
    if (raw_call3(SYS_fstat, fd, (long)(uintptr_t)&is, 0) != 0) {
        raw_close(fd);
        return false;
    }
    sink.device = is.st_dev;
    sink.inode = is.st_ino;
    atomic_store(&sink.fd, fd);
    return true;
}

bool
sink_open(const struct wire_hello *hello, const struct sink_texts *texts,
          int shared_fd, int wait_ms, struct sink_terms *terms)
{
    const int fd = connect_collector();
    if (fd < 0)
        return false;

    bool is_met = false;
    int pipe[2];
    if (raw_call3(SYS_pipe2, (long)(uintptr_t)pipe, O_CLOEXEC | O_NONBLOCK,
                  0) == 0) {
        int fds[WIRE_N_FDS] = {
            [WIRE_FD_PIPE] = pipe[0],
            [WIRE_FD_SHARED] = shared_fd,
        };
        open_own_files(fds);
        if (fds[WIRE_FD_MEM] >= 0 && fds[WIRE_FD_MAPS] >= 0 &&
            fds[WIRE_FD_SMAPS] >= 0 && fds[WIRE_FD_ROLLUP] >= 0 &&
            fds[WIRE_FD_PAGEMAP] >= 0)
            is_met = send_hello(fd, hello, texts, fds);
        close_all(fds + WIRE_FD_MEM, WIRE_N_FDS - WIRE_FD_MEM);
        raw_close(pipe[0]);
        if (is_met && wait_ms > 0)
            is_met = receive_welcome(fd, wait_ms, terms);
        if (is_met)
            is_met = adopt(pipe[1]);
        else
            raw_close(pipe[1]);
    }
    raw_close(fd);
    return is_met;
}

/* ---- writing ----------------------------------------------------------- */

/* Whether the descriptor is the pipe that we opened. */
static bool
is_ours(int fd)
{
    struct stat is;
    return raw_call3(SYS_fstat, fd, (long)(uintptr_t)&is, 0) == 0 &&
           is.st_dev == sink.device && is.st_ino == sink.inode;
}

/*
 * The write itself, SIGPIPE held back. If the write raised one it is pending
 * for this thread now and is taken from it, unless one was pending before,
 * which takes that it was blocked before. No other system call is made: the
 * target may sit in a sandbox by now.
 */
static long
write_quietly(int fd, const void *batches, size_t n_bytes)
{
    const uint64_t pipe_only = 1ull << (SIGPIPE - 1);
    uint64_t before = 0;
    raw_call4(SYS_rt_sigprocmask, SIG_BLOCK, (long)(uintptr_t)&pipe_only,
              (long)(uintptr_t)&before, KERNEL_SIGSET_BYTES);
    uint64_t pending = 0;
    if ((before & pipe_only) != 0)
        raw_call3(SYS_rt_sigpending, (long)(uintptr_t)&pending,
                  KERNEL_SIGSET_BYTES, 0);

    const long result = raw_write(fd, batches, n_bytes);
    if (result == -EPIPE && (pending & pipe_only) == 0) {
        const struct timespec now = {0, 0};
        raw_call4(SYS_rt_sigtimedwait, (long)(uintptr_t)&pipe_only, 0,
                  (long)(uintptr_t)&now, KERNEL_SIGSET_BYTES);
    }
    if ((before & pipe_only) == 0)
        raw_call4(SYS_rt_sigprocmask, SIG_SETMASK, (long)(uintptr_t)&before, 0,
                  KERNEL_SIGSET_BYTES);
    return result;
}

/*
 * Until that event, but no longer than most_ms: 1, or 0 where none came. -1:
 * this call has waited for as long as it may (*until_ns, 0 before its first
 * wait), or another has, and nothing was taken since.
 */
static int
wait_a_while(int fd, short events, long most_ms, uint64_t *until_ns)
{
    const uint64_t at_ns = clock_ns(CLOCK_MONOTONIC);
    if (*until_ns == 0)
        *until_ns = at_ns + (uint64_t)sink.full_wait_ms * MS_NS;
    if (at_ns >= *until_ns)
        atomic_store(&sink.is_stuck, true);
    if (atomic_load(&sink.is_stuck))
        return -1;
    const long left_ms = (long)((*until_ns - at_ns) / MS_NS) + 1;
    const long n = wait_for(fd, events, left_ms < most_ms ? left_ms : most_ms);
    if (n < 0) /* a sandbox forbids it */
        atomic_store(&sink.is_stuck, true);
    return n < 0 ? -1 : (int)n;
}

/*
 * A pipe takes whole pages, and so whole batches, of which it may take some.
 * Several threads may wait for the same room.
 */
enum sink_result
sink_write(const void *batches, size_t n, bool may_wait)
{
    const int fd = atomic_load(&sink.fd);
    const uint64_t inode = sink.inode;
    const char *at = batches;
    size_t left = n * WIRE_BATCH_BYTES;
    uint64_t until_ns = 0;
    while (left != 0) {
        if (sink.inode != inode) /* a handler forked: they are its parent's */
            return SINK_FULL;
        if (fd < 0 || !is_ours(fd))
            return SINK_GONE;
        const long written = write_quietly(fd, at, left);
        if (written > 0 && written % WIRE_BATCH_BYTES == 0) {
            at += written;
            left -= (size_t)written;
            if (may_wait) /* else nobody has asked for its room */
                atomic_store(&sink.is_stuck, false);
        } else if (written != -EAGAIN && written != -EINTR) {
            return SINK_GONE;
        } else if (!may_wait || sink.full_wait_ms == 0 ||
                   wait_a_while(fd, POLLOUT, SLICE_MS, &until_ns) < 0) {
            return SINK_FULL;
        }
    }
    return SINK_SENT;
}

/*
 * By naps: who is told at once that there is room has room for little, and is
 * woken for each batch. A nap is shorter than what a ring holds takes to read.
 */
enum sink_result
sink_wait(const uint64_t *taken, uint64_t wanted, bool may_wait)
{
    const int fd = atomic_load(&sink.fd);
    const uint64_t inode = sink.inode;
    uint64_t until_ns = 0;
    while (__atomic_load_n(taken, __ATOMIC_ACQUIRE) < wanted) {
        if (sink.inode != inode)
            return SINK_FULL;
        if (fd < 0 || !is_ours(fd))
            return SINK_GONE;
        if (!may_wait || sink.full_wait_ms == 0)
            return SINK_FULL;
        const int n = wait_a_while(fd, POLLERR, NAP_MS, &until_ns);
        if (n != 0)
            return n < 0 ? SINK_FULL : SINK_GONE;
    }
    atomic_store(&sink.is_stuck, false);
    return SINK_SENT;
}

void
sink_close(void)
{
    const int fd = atomic_exchange(&sink.fd, -1);
    if (fd >= 0 && is_ours(fd))
        raw_close(fd);
}
