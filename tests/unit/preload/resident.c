#include "preload/resident.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/check.h"
#include "tests/unit/scratch.h"

enum { MIB = 1024 * 1024, MOST_FDS = 65536 };

/* What the kernel says without us. */
static uint64_t
true_bytes(void)
{
    unsigned long all;
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    cr_assert_not_null(file);
    check_eq(fscanf(file, "%lu %lu", &all, &pages), 2);
    fclose(file);
    return pages * 4096;
}

static int
highest_fd(void)
{
    int fd = MOST_FDS + 1;
    while (fd >= 0 && fcntl(fd, F_GETFD) < 0)
        fd--;
    return fd;
}

Test(resident, nothing_is_known_before_it_is_open)
{
    check_eq(resident_bytes(), 0);
}

Test(resident, it_is_what_the_kernel_says)
{
    resident_open();
    const uint64_t before = resident_bytes();
    char *more = mmap(NULL, 64 * MIB, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(more, 1, 64 * MIB);
    const uint64_t after = resident_bytes();
    const uint64_t truth = true_bytes();
    check_ge(after, before + 63 * MIB);
    check_le(after, truth + MIB);
    check_ge(after + MIB, truth);
    munmap(more, 64 * MIB);
    check_le(resident_bytes(), after - 60 * MIB); /* a sanitizer keeps some */
    resident_close();
    check_eq(resident_bytes(), 0);
}

Test(resident, a_descriptor_that_the_target_closed_is_left_alone)
{
    resident_open();
    const int fd = highest_fd();
    const int other = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    check_eq(dup2(other, fd), fd); /* the target's from here on */
    check_eq(resident_bytes(), 0);
    resident_close();
    resident_forbid();
    check_true(fcntl(fd, F_GETFD) >= 0);
    close(fd);
    check_eq(resident_bytes(), 0);
}

Test(resident, another_number_is_not_closed)
{
    resident_open();
    const int fd = highest_fd();
    const int other = open("/", O_RDONLY | O_CLOEXEC);
    check_eq(dup2(other, fd), fd);
    resident_close();
    check_true(fcntl(fd, F_GETFD) >= 0);
}

Test(resident, a_child_reads_its_own)
{
    char *more = mmap(NULL, 64 * MIB, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(more, 1, 64 * MIB);
    resident_open();
    const pid_t pid = fork();
    if (pid == 0) {
        resident_close();
        resident_open();
        munmap(more, 64 * MIB);
        const uint64_t own = resident_bytes();
        _exit(own != 0 && own < 64 * MIB ? 0 : 1);
    }
    int status;
    check_eq(waitpid(pid, &status, 0), pid);
    check_eq(status, 0);
    check_ge(resident_bytes(), 64 * MIB);
}

Test(resident, what_is_forbidden_stays_so)
{
    resident_open();
    check_true(resident_bytes() != 0);
    const int fd = highest_fd();
    resident_forbid();
    check_eq(resident_bytes(), 0);
    check_eq(fcntl(fd, F_GETFD), -1);
    resident_open();
    check_eq(resident_bytes(), 0);
    check_true(highest_fd() < fd);
}

Test(resident, where_numbers_are_few_none_is_taken)
{
    const struct rlimit limit = {64, 64};
    check_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    const int fd = highest_fd();
    resident_open();
    check_eq(highest_fd(), fd);
    check_eq(resident_bytes(), 0);
}

/* A file of the target's own under that number. */
static uint64_t
read_of(const char *content)
{
    struct scratch scratch = scratch_create();
    char path[SCRATCH_PATH_BYTES];
    scratch_path(&scratch, "file", path);
    const int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    check_eq(write(file, content, strlen(content)), (ssize_t)strlen(content));
    resident_open();
    check_true(dup2(file, highest_fd()) >= 0);
    const uint64_t n_bytes = resident_bytes();
    close(file);
    scratch_remove(&scratch);
    return n_bytes;
}

Test(resident, a_file_that_took_our_number_is_not_read)
{
    check_eq(read_of("51819 51574 349 1 0 51289 0\n"), 0);
}

static uint64_t
parsed(const char *line)
{
    return resident_parse(line, (long)strlen(line));
}

Test(resident, a_line_of_another_form_is_nothing)
{
    check_eq(parsed("51819 51574 349 1 0 51289 0\n"), 51574 * 4096);
    check_eq(parsed("51819 51574 349 1 0 51289 0"), 0);
    check_eq(parsed("51819 51574 349 1 0 51289\n"), 0);
    check_eq(parsed("51819 51574 349 1 0 51289 0 7\n"), 0);
    check_eq(parsed("51819 51574 349 1  51289 0 7\n"), 0);
    check_eq(parsed("51819 51574 349 1 0 51289 0\n\n"), 0);
    check_eq(parsed("51819 -1574 349 1 0 51289 0\n"), 0);
    check_eq(parsed("a file of somebody else\n"), 0);
    check_eq(parsed(""), 0);
}
