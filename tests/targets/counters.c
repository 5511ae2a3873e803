/*
 * Allocates and frees known numbers of blocks in every way of the malloc
 * family, in some threads, and prints what it did: births, deaths, and the
 * usable bytes of what it leaves alive. Waits for its input to end.
 *
 *   counters THREADS ROUNDS
 */
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_THREADS = 64, KEPT = 100 };

struct tally {
    long births;
    long deaths;
    long live_bytes;
    long rounds;
    void *kept[KEPT];
};

static void *
born(struct tally *tally, void *block)
{
    if (block == NULL)
        abort();
    tally->births++;
    tally->live_bytes += (long)malloc_usable_size(block);
    return block;
}

static void
dies(struct tally *tally, void *block)
{
    tally->deaths++;
    tally->live_bytes -= (long)malloc_usable_size(block);
    free(block);
}

static void *
resized(struct tally *tally, void *block, size_t size)
{
    tally->deaths++;
    tally->live_bytes -= (long)malloc_usable_size(block);
    return born(tally, realloc(block, size));
}

/* Ten births and ten deaths, of small and of large blocks. */
static void
one_round(struct tally *tally, long round)
{
    const size_t size = (size_t)(round % 700) + 1;
    void *aligned = NULL;
    dies(tally, born(tally, malloc(size)));
    dies(tally, born(tally, calloc(size, 3)));
    dies(tally, resized(tally, born(tally, malloc(size)), size * 50));
    dies(tally, resized(tally, born(tally, realloc(NULL, size)), size / 2 + 1));
    dies(tally, born(tally, aligned_alloc(64, 128)));
    dies(tally, born(tally, memalign(256, size)));
    if (posix_memalign(&aligned, 32, size) != 0)
        abort();
    dies(tally, born(tally, aligned));
    dies(tally, born(tally, malloc(200000 + size)));
    free(NULL);
}

static void *
work(void *argument)
{
    struct tally *tally = argument;
    for (long round = 0; round < tally->rounds; round++)
        one_round(tally, round);
    for (int i = 0; i < KEPT; i++)
        tally->kept[i] = born(tally, malloc((size_t)i * 10));
    return NULL;
}

static struct tally tallies[MOST_THREADS + 1];

int
main(int argc, char **argv)
{
    const int n_threads = argc > 1 ? atoi(argv[1]) : 0;
    const long rounds = argc > 2 ? atol(argv[2]) : 100;
    static pthread_t threads[MOST_THREADS];
    static char text[128];
    char word;
    /* Small stacks, which glibc keeps: it allocates for each new one. */
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 128 * 1024);
    /* Told before and after, so that what libc needs for it is settled. */
    for (int pass = 0; pass < 2; pass++) {
        long births = 0;
        long deaths = 0;
        long live_bytes = 0;
        for (int i = 0; i <= n_threads; i++)
            tallies[i].rounds = rounds;
        for (int i = 0; i < n_threads; i++)
            pthread_create(&threads[i], &small, work, &tallies[i + 1]);
        work(&tallies[0]);
        for (int i = 0; i < n_threads; i++)
            pthread_join(threads[i], NULL);
        for (int i = 0; i <= n_threads; i++) {
            births += tallies[i].births;
            deaths += tallies[i].deaths;
            live_bytes += tallies[i].live_bytes;
        }
        const int n = snprintf(text, sizeof(text), "%ld %ld %ld\n", births,
                               deaths, live_bytes);
        if (write(STDOUT_FILENO, text, (size_t)n) != n ||
            read(STDIN_FILENO, &word, 1) < 0)
            return 1;
    }
    return 0;
}
