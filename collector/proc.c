#include "collector/proc.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PAGE = 4096 };

struct proc
proc_open(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/statm", pid);
    return (struct proc){
        .pid = pid,
        .pidfd = (int)syscall(SYS_pidfd_open, pid, 0),
        .statm = open(path, O_RDONLY | O_CLOEXEC),
    };
}

void
proc_close(struct proc *proc)
{
    if (proc->pidfd >= 0)
        close(proc->pidfd);
    if (proc->statm >= 0)
        close(proc->statm);
    proc->pidfd = -1;
    proc->statm = -1;
}

bool
proc_is_alive(const struct proc *proc)
{
    struct pollfd ended = {.fd = proc->pidfd, .events = POLLIN};
    return proc->pidfd >= 0 && poll(&ended, 1, 0) == 0;
}

/* False: it is gone. */
static bool
read_statm(const struct proc *proc, uint64_t *resident, uint64_t *shared)
{
    char line[128];
    const ssize_t n = pread(proc->statm, line, sizeof(line) - 1, 0);
    line[n < 0 ? 0 : n] = '\0';
    return sscanf(line, "%*s %" SCNu64 " %" SCNu64, resident, shared) == 2;
}

uint64_t
proc_rss(const struct proc *proc)
{
    uint64_t resident;
    uint64_t shared;
    return read_statm(proc, &resident, &shared) ? resident * PAGE : 0;
}

int64_t
proc_anon(const struct proc *proc)
{
    uint64_t resident;
    uint64_t shared;
    if (!read_statm(proc, &resident, &shared) || resident < shared)
        return -1;
    return (int64_t)((resident - shared) * PAGE);
}

int64_t
proc_vm_hwm(const struct proc *proc)
{
    char path[64];
    char status[4096];
    snprintf(path, sizeof(path), "/proc/%d/status", proc->pid);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    const ssize_t n = read(fd, status, sizeof(status) - 1);
    close(fd);
    status[n < 0 ? 0 : n] = '\0';
    uint64_t kilobytes;
    const char *line = strstr(status, "VmHWM:");
    if (line == NULL || sscanf(line, "VmHWM: %" SCNu64, &kilobytes) != 1 ||
        !proc_is_alive(proc))
        return -1;
    return (int64_t)(kilobytes * 1024);
}
