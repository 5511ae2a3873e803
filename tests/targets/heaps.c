/*
 * Five programs that use malloc in five ways, and then know what they did.
 *
 *   heaps main        one heap, blocks of random sizes, most freed again
 *   heaps threads     threads with arenas of their own, one of two heaps; they
 *                     free one another's blocks
 *   heaps aligned     every way to ask for an alignment
 *   heaps mmapped     blocks around a threshold that moves
 *   heaps realloc     blocks that grow and shrink
 *
 * Tells on one line of JSON what its heaps hold (heap_walk.h) and touches
 * nothing until it reads a line; then trims, and tells on another line its RSS
 * before and after. Waits for its input to end.
 */
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/targets/heap_walk.h"

enum { THREADS = 12, BLOCKS = 4000, ROUNDS = 30000, PROBE_BYTES = 24 };

struct worker {
    uint64_t seed;
    size_t n_kept; /* of its blocks, when it is done */
    void **blocks; /* BLOCKS of them, NULL where there is none */
    pthread_t thread;
};

static void *blocks[THREADS + 1][BLOCKS];
static void *probes[THREADS + 1];
static struct worker workers[THREADS + 1];
static pthread_barrier_t barrier;
static char line[1 << 16];

/* xorshift64: the same sequence each time. */
static size_t
chance(struct worker *worker, size_t below)
{
    worker->seed ^= worker->seed << 13;
    worker->seed ^= worker->seed >> 7;
    worker->seed ^= worker->seed << 17;
    return (worker->seed >> 11) % below;
}

/* Mostly small, now and then large, seldom huge. */
static size_t
some_size(struct worker *worker)
{
    switch (chance(worker, 50)) {
    case 0:
        return chance(worker, 100000);
    case 1:
    case 2:
    case 3:
        return chance(worker, 8000);
    default:
        return chance(worker, 600);
    }
}

static void *
touched(void *block, size_t size)
{
    if (block == NULL)
        abort();
    return memset(block, 0x5a, size);
}

typedef void *maker(struct worker *worker, void *old);

/* Replaces blocks at random by new ones, then frees all but a few. */
static void
churn(struct worker *worker, maker *make)
{
    for (int i = 0; i < ROUNDS; i++) {
        void **block = &worker->blocks[chance(worker, BLOCKS)];
        *block = make(worker, *block);
    }
    size_t n_live = 0;
    for (int i = 0; i < BLOCKS; i++)
        n_live += worker->blocks[i] != NULL;
    while (n_live > worker->n_kept) {
        void **block = &worker->blocks[chance(worker, BLOCKS)];
        n_live -= *block != NULL;
        free(*block);
        *block = NULL;
    }
}

/* ---- ways to make a block ------------------------------------------------ */

static void *
make_any(struct worker *worker, void *old)
{
    const size_t size = some_size(worker);
    free(old);
    return touched(chance(worker, 5) == 0 ? calloc(1, size) : malloc(size),
                   size);
}

static void *
make_aligned(struct worker *worker, void *old)
{
    const size_t alignment = (size_t)16 << chance(worker, 9);
    const size_t size = chance(worker, 5000) + 1;
    void *block = NULL;
    free(old);
    switch (chance(worker, 4)) {
    case 0:
        return touched(memalign(alignment, size), size);
    case 1:
        if (posix_memalign(&block, alignment, size) != 0)
            abort();
        return touched(block, size);
    case 2:
        return touched(aligned_alloc(alignment, alignment), alignment);
    default:
        return touched(malloc(size), size);
    }
}

/* Few enough of them that they are no burden. */
static void *
make_mmapped(struct worker *worker, void *old)
{
    static const int thresholds[] = {65536, 200000, 131072, 40000};
    const size_t size =
        chance(worker, 8) == 0 ? chance(worker, 400000) : chance(worker, 300);
    free(old);
    if (chance(worker, 5000) == 0)
        mallopt(M_MMAP_THRESHOLD, thresholds[chance(worker, 4)]);
    return touched(chance(worker, 9) == 0 ? memalign(8192, size) : malloc(size),
                   size);
}

static void *
make_realloced(struct worker *worker, void *old)
{
    const size_t size =
        1 + (chance(worker, 3) == 0 ? some_size(worker) : chance(worker, 120));
    if (chance(worker, 4) != 0)
        return touched(realloc(old, size), size);
    free(old);
    return NULL;
}

/* ---- threads ------------------------------------------------------------- */

/* What the thread frees last, so that its tcache can be known by it. */
static void
leave_probe(const struct worker *worker)
{
    void *probe = malloc(PROBE_BYTES);
    probes[worker - workers] = probe;
    free(probe);
}

/* More than a heap of 64 MiB holds, half of it freed again. */
static void
overflow_heap(struct worker *worker)
{
    for (int i = 0; i < 1000; i++) {
        free(worker->blocks[i]);
        worker->blocks[i] = touched(malloc(90000), 5000);
    }
    for (int i = 0; i < 1000; i++) {
        if (chance(worker, 2) == 0) {
            free(worker->blocks[i]);
            worker->blocks[i] = NULL;
        }
    }
}

static void *
work(void *argument)
{
    struct worker *worker = argument;
    const struct worker *next = &workers[1 + (worker - workers) % THREADS];
    churn(worker, make_any);
    if (worker == &workers[1])
        overflow_heap(worker);
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < BLOCKS; i += 3) {
        free(next->blocks[i]);
        next->blocks[i] = NULL;
    }
    leave_probe(worker);
    pthread_barrier_wait(&barrier);
    while (pause() != 0)
        continue;
    return NULL;
}

static void
run_threads(struct worker *own)
{
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (int i = 1; i <= THREADS; i++) {
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
            abort();
    }
    churn(own, make_any);
    pthread_barrier_wait(&barrier);
    leave_probe(own);
    pthread_barrier_wait(&barrier);
}

/* ---- telling ------------------------------------------------------------- */

static void
say(const char *text, size_t n)
{
    if (n == 0 || write(STDOUT_FILENO, text, n) != (ssize_t)n)
        abort();
}

static void
wait_for_line(void)
{
    char word;
    while (read(STDIN_FILENO, &word, 1) == 1 && word != '\n')
        continue;
}

static long
rss_bytes(void)
{
    const int fd = open("/proc/self/smaps_rollup", O_RDONLY);
    const ssize_t n = read(fd, line, sizeof(line) - 1);
    close(fd);
    line[n < 0 ? 0 : n] = '\0';
    const char *found = strstr(line, "Rss:");
    return found == NULL ? -1 : atol(found + 4) * 1024;
}

static void
trim(void)
{
    const long before = rss_bytes();
    malloc_trim(0);
    const long after = rss_bytes();
    const int n =
        snprintf(line, sizeof(line), "{\"before\": %ld, \"after\": %ld}\n",
                 before, after);
    say(line, (size_t)n);
}

int
main(int argc, char **argv)
{
    const char *way = argc > 1 ? argv[1] : "";
    for (int i = 0; i <= THREADS; i++) {
        workers[i] = (struct worker){.seed = 88172645463325252u + (uint64_t)i,
                                     .blocks = blocks[i],
                                     .n_kept = BLOCKS / 3};
    }
    if (strcmp(way, "threads") == 0)
        run_threads(&workers[0]);
    else
        churn(&workers[0], strcmp(way, "aligned") == 0   ? make_aligned
                           : strcmp(way, "mmapped") == 0 ? make_mmapped
                           : strcmp(way, "realloc") == 0 ? make_realloced
                                                         : make_any);
    leave_probe(&workers[0]);
    const struct heap_hints hints = {&blocks[0][0], sizeof(blocks) / 8, probes,
                                     THREADS + 1};
    say(line, heap_walk_tell(&hints, line, sizeof(line)));
    wait_for_line();
    trim();
    wait_for_line();
    return 0;
}
