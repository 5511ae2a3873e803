/*
 * Threads that all live at once, each with blocks of its own and some of the
 * thread before it.
 *
 *   crowd THREADS STACK-BYTES
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { BLOCKS = 12, MOST_THREADS = 1024 };

static void *blocks[MOST_THREADS][BLOCKS];
static pthread_barrier_t barrier;
static long n_threads;

static void *
live(void *number)
{
    const long me = (intptr_t)number;
    for (int i = 0; i < BLOCKS; i++)
        blocks[me][i] = malloc(24 + (me + i * 100) % 2000);
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < BLOCKS; i += 2)
        free(blocks[(me + 1) % n_threads][i]);
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < BLOCKS; i += 2)
        blocks[me][i] = realloc(i % 4 ? NULL : malloc(700), 24 + me % 100);
    return NULL;
}

int
main(int argc, char **argv)
{
    static pthread_t threads[MOST_THREADS];
    pthread_attr_t attributes;
    n_threads = argc > 1 ? atol(argv[1]) : 1;
    pthread_attr_init(&attributes);
    if (argc > 2)
        pthread_attr_setstacksize(&attributes, strtoul(argv[2], NULL, 0));
    pthread_barrier_init(&barrier, NULL, n_threads);
    for (long i = 0; i < n_threads; i++) {
        if (pthread_create(&threads[i], &attributes, live, (void *)i) != 0)
            return 77;
    }
    for (long i = 0; i < n_threads; i++)
        pthread_join(threads[i], NULL);
    printf("%ld threads\n", n_threads);
    return 0;
}
