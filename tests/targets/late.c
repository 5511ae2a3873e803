/*
 * Threads that allocate and free in every destructor that there is: of a key,
 * as often as glibc calls it again, and of a thread_local object.
 *
 *   late THREADS
 */
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { BLOCKS = 40 };

/* What C++ registers the destructors of thread_local objects with. */
int __cxa_thread_atexit_impl(void (*function)(void *), void *object, void *dso);
extern void *__dso_handle;

static pthread_key_t keys[3]; /* one before residue's round, one after */

static void **
make(int n)
{
    void **blocks = malloc(BLOCKS * sizeof(*blocks));
    for (int i = 0; i < BLOCKS; i++)
        blocks[i] = malloc(20 + (n * 31 + i * 7) % 900);
    return blocks;
}

/* Some are left for ever. */
static void
drop(void *what)
{
    void **blocks = what;
    for (int i = 0; i < BLOCKS; i++) {
        if (i % 5 != 0)
            free(blocks[i]);
    }
    free(blocks);
}

static void
drop_and_make(void *blocks)
{
    static _Thread_local int n_rounds;
    drop(blocks);
    n_rounds++;
    for (int i = 0; i < 3 && n_rounds < PTHREAD_DESTRUCTOR_ITERATIONS; i++) {
        if (pthread_getspecific(keys[i]) == NULL)
            pthread_setspecific(keys[i], make(n_rounds));
    }
}

static void *
live(void *number)
{
    __cxa_thread_atexit_impl(drop, make((int)(uintptr_t)number), &__dso_handle);
    for (int i = 0; i < 3; i++)
        pthread_setspecific(keys[i], make(i));
    return NULL;
}

int
main(int argc, char **argv)
{
    const long n = argc > 1 ? atol(argv[1]) : 1;
    pthread_t threads[64];
    for (int i = 0; i < 3; i++)
        pthread_key_create(&keys[i], drop_and_make);
    for (long round = 0; round < 8; round++) {
        for (long i = 0; i < n; i++)
            pthread_create(&threads[i], NULL, live, (void *)(i + 1));
        for (long i = 0; i < n; i++)
            pthread_join(threads[i], NULL);
    }
    printf("%ld threads\n", 8 * n);
    return 0;
}
