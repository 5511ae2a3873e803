/*
 * Maps 64 MiB by a system call that no hook sees, writes to every page, says
 * "ready" and waits for its input to end. With the argument `by-libc` it maps
 * through libc instead.
 */
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { BYTES = 64 * 1024 * 1024, PAGE = 4096 };

static void *
raw_mmap(void)
{
    long start;
    register long flags __asm__("r10") = MAP_PRIVATE | MAP_ANONYMOUS;
    register long fd __asm__("r8") = -1;
    register long offset __asm__("r9") = 0;
    __asm__ volatile("syscall"
                     : "=a"(start)
                     : "a"(SYS_mmap), "D"(0), "S"(BYTES),
                       "d"(PROT_READ | PROT_WRITE), "r"(flags), "r"(fd),
                       "r"(offset)
                     : "rcx", "r11", "memory");
    return (void *)start;
}

int
main(int argc, char **argv)
{
    char *start = argc > 1 && strcmp(argv[1], "by-libc") == 0
                      ? mmap(NULL, BYTES, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                      : raw_mmap();
    for (long at = 0; at < BYTES; at += PAGE)
        start[at] = 1;
    char word;
    if (write(STDOUT_FILENO, "ready\n", 6) != 6)
        return 1;
    return read(STDIN_FILENO, &word, 1) < 0;
}
