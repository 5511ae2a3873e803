/*
 * Maps 64 MiB by a raw system call before any constructor of a library has
 * run, ours included, and writes to every page. Says "ready" and waits for its
 * input to end.
 */
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { BYTES = 64 * 1024 * 1024, PAGE = 4096 };

static char *start;

static void
map_early(void)
{
    register long flags __asm__("r10") = MAP_PRIVATE | MAP_ANONYMOUS;
    register long fd __asm__("r8") = -1;
    register long offset __asm__("r9") = 0;
    __asm__ volatile("syscall"
                     : "=a"(start)
                     : "a"(SYS_mmap), "D"(0), "S"(BYTES),
                       "d"(PROT_READ | PROT_WRITE), "r"(flags), "r"(fd),
                       "r"(offset)
                     : "rcx", "r11", "memory");
    for (long at = 0; at < BYTES; at += PAGE)
        start[at] = 1;
}

/* Run by the loader before it initialises the libraries (System V ABI). */
__attribute__((section(".preinit_array"),
               used)) static void (*const first)(void) = map_early;

int
main(void)
{
    char word;
    if (start[BYTES - PAGE] != 1 || write(STDOUT_FILENO, "ready\n", 6) != 6)
        return 1;
    return read(STDIN_FILENO, &word, 1) < 0;
}
