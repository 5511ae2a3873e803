/*
 * Threads whose start is easily missed, and blocks that they hand over:
 *
 *     unnoted c11      glibc makes them by itself
 *     unnoted child    a forked child makes one before all else
 *     unnoted heir     the same of a parent that had some
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <threads.h>
#include <unistd.h>

enum { PLACES = 64, ROUNDS = 20000 };

static void *_Atomic places[PLACES];

/* Whoever finds a block frees it: most are another's. */
static void
exchange(unsigned seed)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        seed = seed * 1103515245 + 12345;
        void *fresh = malloc(16 + (seed >> 8) % 300);
        free(atomic_exchange(&places[(seed >> 16) % PLACES], fresh));
    }
}

static int
exchange_c11(void *unused)
{
    (void)unused;
    exchange(2);
    return 0;
}

static void *
exchange_posix(void *unused)
{
    exchange(3);
    return unused;
}

static void
run_c11(void)
{
    thrd_t threads[3];
    for (int i = 0; i < 3; i++)
        thrd_create(&threads[i], exchange_c11, NULL);
    exchange(1);
    for (int i = 0; i < 3; i++)
        thrd_join(threads[i], NULL);
}

static void
run_posix(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, exchange_posix, NULL);
    exchange(1);
    pthread_join(thread, NULL);
}

static int
run_child(void)
{
    int status = -1;
    if (fork() == 0) {
        run_posix();
        _exit(0);
    }
    wait(&status);
    return status;
}

int
main(int argc, char **argv)
{
    const char *what = argc == 2 ? argv[1] : "";
    if (strcmp(what, "heir") == 0)
        run_posix();
    if (strcmp(what, "c11") == 0)
        run_c11();
    else if (run_child() != 0)
        return 1;
    printf("%s\n", what);
    return 0;
}
