/*
 * The kernel asks in this order (__ptrace_may_access, kernel/ptrace.c): the
 * same user and group, or CAP_SYS_PTRACE over the target's user namespace; a
 * target that is dumpable, or that capability; then the security modules, of
 * which yama is asked only by those who want to read memory, not maps. It does
 * not say where it stopped, so that is worked out here.
 */
#include "report/reach.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "include/text.h"
#include "include/xalloc.h"
#include "report/query/query.h"
#include "report/units.h"

enum {
    STATUS_BYTES = 8192,
    CAP_PTRACE_BIT = 19, /* CAP_SYS_PTRACE, linux/capability.h */
};

#define FLAG_KERNEL_THREAD ((uint64_t)0x00200000) /* PF_KTHREAD */

/* What is asked about, and what /proc says of it. */
struct subject {
    pid_t pid;
    char status[STATUS_BYTES];
    char name[64];
};

/* ---- /proc ------------------------------------------------------------- */

/* The file's beginning; "" where it cannot be read. */
static void
read_text(const char *path, char *where, size_t n_bytes)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd < 0 ? -1 : read(fd, where, n_bytes - 1);
    where[n < 0 ? 0 : n] = '\0';
    if (fd >= 0)
        close(fd);
}

static void
read_of(pid_t pid, const char *file, char *where, size_t n_bytes)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
    read_text(path, where, n_bytes);
}

/* The number behind a word at a line's start; QUERY_UNKNOWN: no such line. */
static int64_t
number_in(const char *status, const char *word, int base)
{
    const char *line = strstr(status, word);
    return line == NULL ? QUERY_UNKNOWN
                        : (int64_t)strtoull(line + strlen(word), NULL, base);
}

static int64_t
bytes_in(const char *status, const char *word)
{
    const int64_t kilobytes = number_in(status, word, 10);
    return kilobytes == QUERY_UNKNOWN ? kilobytes : kilobytes * 1024;
}

static char
state_of(const struct subject *subject)
{
    const char *line = strstr(subject->status, "\nState:\t");
    return line == NULL ? '?' : line[8];
}

static bool
is_kernel_thread(pid_t pid)
{
    char stat[1024];
    uint64_t flags = 0;
    read_of(pid, "stat", stat, sizeof(stat));
    const char *rest = strrchr(stat, ')'); /* the name may hold anything */
    return rest != NULL &&
           sscanf(rest, ") %*c %*d %*d %*d %*d %*d %" SCNu64, &flags) == 1 &&
           (flags & FLAG_KERNEL_THREAD) != 0;
}

static bool
runs_file(pid_t pid, const char *path)
{
    char link[64];
    struct stat its;
    struct stat is;
    snprintf(link, sizeof(link), "/proc/%d/exe", pid);
    return path != NULL && stat(link, &its) == 0 && stat(path, &is) == 0 &&
           its.st_dev == is.st_dev && its.st_ino == is.st_ino;
}

static bool
is_32_bit(pid_t pid)
{
    char start[EI_NIDENT];
    read_of(pid, "exe", start, sizeof(start));
    return memcmp(start, ELFMAG, SELFMAG) == 0 && start[EI_CLASS] == ELFCLASS32;
}

/* ---- nothing to read --------------------------------------------------- */

/* Why no right would help, or NULL. */
static char *
hopeless(const struct subject *subject, const char *collector)
{
    const pid_t pid = subject->pid;
    const int64_t group = number_in(subject->status, "\nTgid:", 10);
    if (subject->status[0] == '\0')
        return kill(pid, 0) != 0 && errno == EPERM
                   ? xasprintf("pid %d: /proc hides it from this user (it is "
                               "mounted with hidepid); ask as its own user",
                               pid)
                   : xasprintf("no process has pid %d", pid);
    if (group != pid)
        return xasprintf("%d is a thread of process %" PRId64 ": inspect that",
                         pid, group);
    if (pid == getpid() || runs_file(pid, "/proc/self/exe") ||
        runs_file(pid, collector))
        return xasprintf("pid %d is residue itself", pid);
    if (is_kernel_thread(pid))
        return xasprintf("pid %d (%s) is a thread of the kernel: it has no "
                         "memory of its own",
                         pid, subject->name);
    if (state_of(subject) == 'Z' || state_of(subject) == 'X')
        return xasprintf("pid %d (%s) has ended: only its exit status is left, "
                         "until its parent %" PRId64 " asks for it",
                         pid, subject->name,
                         number_in(subject->status, "\nPPid:", 10));
    if (is_32_bit(pid))
        return xasprintf("pid %d (%s) is a 32-bit program, and residue reads "
                         "64-bit ones",
                         pid, subject->name);
    return NULL;
}

/* ---- which right is missing -------------------------------------------- */

static bool
can_open(pid_t pid, const char *file)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static const char *
user_name(int64_t uid)
{
    const struct passwd *user = getpwuid((uid_t)uid);
    return user == NULL ? "?" : user->pw_name;
}

/* Real, effective and saved ids of a line "Uid:" or "Gid:". */
static bool
has_only_id(const char *status, const char *word, uint64_t own)
{
    uint64_t ids[3];
    const char *line = strstr(status, word);
    return line != NULL &&
           sscanf(line + strlen(word), "%" SCNu64 "%" SCNu64 "%" SCNu64,
                  &ids[0], &ids[1], &ids[2]) == 3 &&
           ids[0] == own && ids[1] == own && ids[2] == own;
}

static char *
other_user(const struct subject *subject)
{
    const int64_t uid = number_in(subject->status, "\nUid:", 10);
    char name[64];
    if (has_only_id(subject->status, "\nUid:", geteuid()) &&
        has_only_id(subject->status, "\nGid:", getegid()))
        return NULL;
    if (uid == (int64_t)geteuid())
        return xasprintf("it has other user or group ids besides yours (it is "
                         "setuid or setgid); it takes CAP_SYS_PTRACE (sudo)");
    snprintf(name, sizeof(name), "%s", user_name(uid));
    return xasprintf("it belongs to user %" PRId64 " (%s) and you are %u (%s); "
                     "ask as that user, or with CAP_SYS_PTRACE (sudo)",
                     uid, name, geteuid(), user_name(geteuid()));
}

/* The files of what is not dumpable, not their directory, belong to root. */
static bool
is_not_dumpable(const struct subject *subject)
{
    char path[64];
    struct stat is;
    snprintf(path, sizeof(path), "/proc/%d/status", subject->pid);
    return stat(path, &is) == 0 &&
           (int64_t)is.st_uid != number_in(subject->status, "\nUid:", 10);
}

static bool
has_more_capabilities(const struct subject *subject, const char *own)
{
    const uint64_t its = (uint64_t)number_in(subject->status, "\nCapPrm:", 16);
    const uint64_t ours = (uint64_t)number_in(own, "\nCapPrm:", 16);
    return (its & ~ours) != 0;
}

static char *
yama(void)
{
    static const char *const meanings[] = {
        "",
        "only its ancestors may read it; it takes CAP_SYS_PTRACE (sudo)",
        "nobody may without CAP_SYS_PTRACE (sudo)",
        "nobody may until the machine is started anew",
    };
    char text[16];
    read_text("/proc/sys/kernel/yama/ptrace_scope", text, sizeof(text));
    if (text[0] < '1' || text[0] > '3')
        return NULL;
    return xasprintf("yama's ptrace_scope is %c: %s", text[0],
                     meanings[text[0] - '0']);
}

/* Whether ids here are those of the machine: all of them map to themselves. */
static bool
is_in_first_namespace(void)
{
    char map[256];
    uint64_t inside = 1;
    uint64_t outside = 1;
    uint64_t n = 0;
    read_text("/proc/self/uid_map", map, sizeof(map));
    return sscanf(map, "%" SCNu64 "%" SCNu64 "%" SCNu64, &inside, &outside,
                  &n) == 3 &&
           inside == 0 && outside == 0 && n >= UINT32_MAX;
}

static char *
missing_right(const struct subject *subject)
{
    char own[STATUS_BYTES];
    read_of(getpid(), "status", own, sizeof(own));
    const uint64_t capabilities = (uint64_t)number_in(own, "\nCapEff:", 16);
    char *complaint = NULL;
    if ((capabilities >> CAP_PTRACE_BIT & 1) == 0) {
        complaint = other_user(subject);
        if (complaint == NULL && is_not_dumpable(subject))
            complaint =
                xstrdup("it is not dumpable (PR_SET_DUMPABLE 0, or a program "
                        "file that may not be read); it takes CAP_SYS_PTRACE "
                        "(sudo)");
        if (complaint == NULL && has_more_capabilities(subject, own))
            complaint = xstrdup("it has capabilities that you do not have; it "
                                "takes CAP_SYS_PTRACE (sudo)");
    }
    if (complaint == NULL)
        complaint = yama();
    if (complaint == NULL && !is_in_first_namespace())
        complaint = xstrdup("it is outside of this user namespace (a "
                            "container): ask from where it was started");
    if (complaint == NULL && (capabilities >> CAP_PTRACE_BIT & 1) == 0)
        complaint = xstrdup("CAP_SYS_PTRACE is missing (in a container: start "
                            "it with --cap-add=SYS_PTRACE)");
    return complaint != NULL
               ? complaint
               : xstrdup("a security module forbids it (see its log)");
}

/* ---- what is left ------------------------------------------------------ */

static void
add_bytes(struct text *text, const char *label, int64_t n_bytes)
{
    char size[UNITS_BYTES];
    if (n_bytes != QUERY_UNKNOWN)
        text_addf(text, "  %12s  %s\n", units_bytes(size, n_bytes), label);
}

static char *
rest_of(const struct subject *subject)
{
    const char *status = subject->status;
    char rollup[STATUS_BYTES];
    struct text text = {0};
    text_addf(&text, "%s · pid %d · what the kernel tells without it\n",
              subject->name, subject->pid);
    add_bytes(&text, "RSS", bytes_in(status, "\nVmRSS:"));
    add_bytes(&text, "  of it anonymous: heaps and stacks",
              bytes_in(status, "\nRssAnon:"));
    add_bytes(&text, "  of it pages of files", bytes_in(status, "\nRssFile:"));
    add_bytes(&text, "  of it shared memory", bytes_in(status, "\nRssShmem:"));
    add_bytes(&text, "peak RSS", bytes_in(status, "\nVmHWM:"));
    add_bytes(&text, "in swap", bytes_in(status, "\nVmSwap:"));
    read_of(subject->pid, "smaps_rollup", rollup, sizeof(rollup));
    add_bytes(&text, "its share of what it shares (Pss)",
              bytes_in(rollup, "\nPss:"));
    add_bytes(&text, "written by it alone",
              bytes_in(rollup, "\nPrivate_Dirty:"));
    add_bytes(&text, "in huge pages", bytes_in(rollup, "\nAnonHugePages:"));
    char threads[UNITS_BYTES];
    text_addf(&text, "  %12s  threads\n",
              units_count(threads, number_in(status, "\nThreads:", 10)));
    return text_take(&text);
}

/* ---- all --------------------------------------------------------------- */

static char *
name_of(const struct subject *subject)
{
    char link[64];
    char path[PATH_MAX];
    snprintf(link, sizeof(link), "/proc/%d/exe", subject->pid);
    const ssize_t n = readlink(link, path, sizeof(path) - 1);
    if (n <= 0)
        return xstrdup(subject->name);
    path[n] = '\0';
    path[strcspn(path, " ")] = '\0'; /* " (deleted)" */
    const char *slash = strrchr(path, '/');
    return xstrdup(slash == NULL ? path : slash + 1);
}

struct reach
reach_of(pid_t pid, const char *collector)
{
    struct reach reach = {0};
    struct subject subject = {.pid = pid};
    read_of(pid, "status", subject.status, sizeof(subject.status));
    if (sscanf(subject.status, "Name:\t%63[^\n]", subject.name) != 1)
        strcpy(subject.name, "?");
    reach.complaint = hopeless(&subject, collector);
    if (reach.complaint != NULL)
        return reach;
    reach.name = name_of(&subject);
    reach.is_open = can_open(pid, "mem") && can_open(pid, "pagemap");
    if (reach.is_open)
        return reach;
    char *right = missing_right(&subject);
    reach.complaint =
        xasprintf("pid %d (%s) may not be read: %s", pid, subject.name, right);
    reach.rest = rest_of(&subject);
    free(right);
    return reach;
}

void
reach_finish(struct reach *reach)
{
    free(reach->complaint);
    free(reach->rest);
    free(reach->name);
    *reach = (struct reach){0};
}
