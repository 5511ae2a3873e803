/*
 * Threads that hand blocks to one another: each puts what it allocated into a
 * place that all of them share, and frees or reallocates what it found there.
 * Ends with some blocks alive. Each block says who made it: a wrong one aborts.
 *
 *   exchange THREADS ROUNDS [go]
 *
 * With `go` it says when it is there, waits for a byte of input, and prints at
 * its end what its dice came to, which is the same each time.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PLACES = 256, MOST_THREADS = 1024 };

static void *_Atomic places[PLACES];
static long n_rounds;
static _Atomic uint64_t dice_sum;

static uint64_t
next(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

/* Mostly small, some large enough to be a mapping. */
static void *
allocate(uint64_t *state)
{
    const uint64_t dice = next(state) % 1000;
    const size_t n_bytes = dice == 0   ? 100000 + next(state) % 200000
                           : dice < 50 ? next(state) % 20000
                                       : next(state) % 300;
    void *block = dice % 2 == 0 ? malloc(n_bytes + 8) : calloc(1, n_bytes + 8);
    if (block == NULL)
        abort();
    memcpy(block, &block, sizeof(block));
    return block;
}

static void *
work(void *number)
{
    uint64_t state = (uintptr_t)number;
    for (long i = 0; i < n_rounds; i++) {
        void *mine = allocate(&state);
        if (next(&state) % 8 == 0) {
            mine = realloc(mine, 8 + next(&state) % 4000);
            memcpy(mine, &mine, sizeof(mine));
        }
        void *other = atomic_exchange(&places[next(&state) % PLACES], mine);
        if (other != NULL && memcmp(other, &other, sizeof(other)) != 0)
            abort();
        free(other);
    }
    atomic_fetch_add(&dice_sum, state);
    return NULL;
}

static void
say(uint64_t number)
{
    char text[32];
    const int n = snprintf(text, sizeof(text), "%lu\n", number);
    if (write(STDOUT_FILENO, text, (size_t)n) != n)
        abort();
}

int
main(int argc, char **argv)
{
    static pthread_t threads[MOST_THREADS];
    const long n_threads = argc > 1 ? atol(argv[1]) : 0;
    n_rounds = argc > 2 ? atol(argv[2]) : 1000;
    const bool waits = argc > 3;
    char byte;
    if (waits) {
        say(0);
        if (read(STDIN_FILENO, &byte, 1) != 1)
            return 1;
    }
    for (long i = 0; i < n_threads; i++)
        pthread_create(&threads[i], NULL, work, (void *)(i + 1));
    work((void *)(uintptr_t)1000);
    for (long i = 0; i < n_threads; i++)
        pthread_join(threads[i], NULL);
    if (waits)
        say(dice_sum);
    return 0;
}
