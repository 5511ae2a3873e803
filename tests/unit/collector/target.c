#include "tests/unit/collector/target.h"

#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

char *
target_reserve(size_t n_bytes, size_t alignment)
{
    char *start = mmap(NULL, n_bytes + alignment, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED)
        err(1, "%zu bytes cannot be reserved", n_bytes);
    madvise(start, n_bytes + alignment, MADV_NOHUGEPAGE);
    const uintptr_t up = (uintptr_t)start + alignment - 1;
    char *aligned = (char *)(up / alignment * alignment);
    if (aligned != start)
        munmap(start, (size_t)(aligned - start));
    munmap(aligned + n_bytes, alignment - (size_t)(aligned - start));
    return aligned;
}

/* It stops itself when all is laid out: nothing of it moves from then on. */
struct target
target_start(void (*lay_out)(void *context), void *context)
{
    const pid_t pid = fork();
    if (pid < 0)
        err(1, "no process is to be had");
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        lay_out(context);
        for (;;)
            raise(SIGSTOP);
    }
    int status = 0;
    if (waitpid(pid, &status, WUNTRACED) != pid || !WIFSTOPPED(status))
        errx(1, "the target did not come up");
    return (struct target){.pid = pid};
}

void
target_end(struct target *target)
{
    kill(target->pid, SIGKILL);
    waitpid(target->pid, NULL, 0);
}

static int
open_file(const struct target *target, const char *name)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", target->pid, name);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        err(1, "%s", path);
    return fd;
}

struct memory_descriptors
target_files(const struct target *target)
{
    return (struct memory_descriptors){
        .mem = open_file(target, "mem"),
        .maps = open_file(target, "maps"),
        .smaps = open_file(target, "smaps"),
        .rollup = open_file(target, "smaps_rollup"),
        .pagemap = open_file(target, "pagemap"),
    };
}

struct memory *
target_memory(const struct target *target, pid_t pid)
{
    const struct memory_descriptors files = target_files(target);
    return memory_create(&files, pid);
}

int64_t
target_says(const struct target *target, const char *file, const char *word)
{
    char text[8192];
    const int fd = open_file(target, file);
    const ssize_t n = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[n < 0 ? 0 : n] = '\0';
    const char *line = strstr(text, word);
    if (line == NULL)
        errx(1, "%s does not say %s", file, word);
    return strtoll(line + strlen(word), NULL, 10) * 1024;
}

uint64_t
target_resident(const struct target *target, const void *addr, size_t n_bytes)
{
    const int fd = open_file(target, "pagemap");
    uint64_t resident = 0;
    for (size_t at = 0; at < n_bytes; at += MEMORY_PAGE) {
        uint64_t entry = 0;
        const uint64_t page = ((uintptr_t)addr + at) / MEMORY_PAGE;
        if (pread(fd, &entry, sizeof(entry), (off_t)(page * sizeof(entry))) !=
            sizeof(entry))
            err(1, "pagemap");
        resident += entry >> 63 != 0 ? MEMORY_PAGE : 0;
    }
    close(fd);
    return resident;
}
