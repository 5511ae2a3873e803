/*
 * Keeps some blocks, and ends: by the word it is given.
 *
 *   ends return|exit|_exit|_Exit|quick_exit|abort|kill|segv|group|thread
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { BLOCKS = 1500 };

static void *blocks[BLOCKS];

static void
change(void)
{
    for (int i = 0; i < BLOCKS; i += 2) {
        free(blocks[i]);
        blocks[i] = malloc(20 + i);
    }
}

/* A thread that outlives main's. */
static void *
outlive(void *first)
{
    pthread_join(*(pthread_t *)first, NULL);
    change();
    fflush(stdout);
    _exit(9);
}

static void
end(const char *how)
{
    static pthread_t first;
    pthread_t second;
    if (strcmp(how, "exit") == 0)
        exit(1);
    if (strcmp(how, "_exit") == 0)
        _exit(2);
    if (strcmp(how, "_Exit") == 0)
        _Exit(3);
    if (strcmp(how, "quick_exit") == 0)
        quick_exit(4);
    if (strcmp(how, "abort") == 0)
        abort();
    if (strcmp(how, "kill") == 0)
        raise(SIGKILL);
    if (strcmp(how, "segv") == 0)
        raise(SIGSEGV);
    if (strcmp(how, "group") == 0)
        syscall(SYS_exit_group, 5);
    if (strcmp(how, "thread") == 0) {
        first = pthread_self();
        pthread_create(&second, NULL, outlive, &first);
        pthread_exit(NULL);
    }
}

int
main(int argc, char **argv)
{
    const struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    for (int i = 0; i < BLOCKS; i++)
        blocks[i] = malloc(10 + 3 * i);
    change();
    atexit(change);
    at_quick_exit(change); /* after we were told of the end */
    printf("now\n");
    fflush(stdout);
    end(argc > 1 ? argv[1] : "return");
    return 0;
}
