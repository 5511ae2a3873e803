/*
 * Takes every descriptor but the standard ones, and goes on.
 *
 *   closing loop    closes all below the limit of descriptors
 *   closing range   closes all there are
 *   closing over    puts a file over all of them, and looks whether it grows
 *
 * Blocks from before have fewer than 2,000 bytes, those of after more.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { BEFORE = 500, AFTER = 20000 };

static void *before[BEFORE];
static void *after[AFTER];

static void
close_below_limit(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    for (int fd = 3; fd < (int)limit.rlim_cur; fd++)
        close(fd);
}

static int
cover(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    const int file = open("covered", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    for (int fd = 3; fd < (int)limit.rlim_cur; fd++) {
        if (fd != file)
            dup2(file, fd);
    }
    return file;
}

int
main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "";
    struct stat is = {.st_size = 0};
    int file = -1;
    for (int i = 0; i < BEFORE; i++)
        before[i] = malloc(1000 + i);
    if (strcmp(how, "loop") == 0)
        close_below_limit();
    else if (strcmp(how, "range") == 0)
        syscall(SYS_close_range, 3, ~0u, 0);
    else
        file = cover();
    for (int i = 0; i < AFTER; i++)
        after[i] = malloc(2000 + i % 100);
    if (file >= 0)
        fstat(file, &is);
    printf("%ld bytes\n", (long)is.st_size);
    return 0;
}
