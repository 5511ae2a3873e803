/*
 * Frees almost all that it had, in ways that malloc answers in ways of its own.
 *
 *   free_heap whole      all of it: malloc gives it back by itself
 *   free_heap trimmable  all but the last block, which keeps the pages below
 *   free_heap pinned     all but one block on each page
 *   free_heap threads    as trimmable, in heaps of threads
 *
 * Tells that it is done and touches nothing until it reads a line; then trims,
 * tells its RSS before and after, and waits for its input to end.
 */
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCKS = 80000, BLOCK_BYTES = 496, A_PAGE = 8, THREADS = 4 };

struct worker {
    int kept_each; /* of so many blocks one; 0: none but the last */
    int keeps_last;
    pthread_t thread;
    pthread_barrier_t *barrier;
    void *blocks[BLOCKS];
};

static struct worker workers[THREADS];

static void
work(struct worker *worker)
{
    for (int i = 0; i < BLOCKS; i++) {
        worker->blocks[i] = malloc(BLOCK_BYTES);
        if (worker->blocks[i] == NULL)
            abort();
        memset(worker->blocks[i], 0x5a, BLOCK_BYTES);
    }
    for (int i = 0; i < BLOCKS - worker->keeps_last; i++) {
        if (worker->kept_each != 0 && i % worker->kept_each == 0)
            continue;
        free(worker->blocks[i]);
    }
}

static void *
work_and_stay(void *argument)
{
    struct worker *worker = argument;
    work(worker);
    pthread_barrier_wait(worker->barrier);
    while (pause() != 0)
        continue;
    return NULL;
}

static void
work_in_threads(void)
{
    static pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (int i = 0; i < THREADS; i++) {
        workers[i].keeps_last = 1;
        workers[i].barrier = &barrier;
        if (pthread_create(&workers[i].thread, NULL, work_and_stay,
                           &workers[i]) != 0)
            abort();
    }
    pthread_barrier_wait(&barrier);
}

/* By smaps_rollup, which does not lag behind as statm does. */
static long
resident_kib(void)
{
    static char text[4096];
    const int fd = open("/proc/self/smaps_rollup", O_RDONLY);
    const ssize_t n = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (n <= 0)
        abort();
    text[n] = '\0';
    const char *rss = strstr(text, "Rss:");
    return rss == NULL ? 0 : strtol(rss + 4, NULL, 10);
}

static void
tell(const char *text, int n_bytes)
{
    if (write(1, text, n_bytes) != n_bytes)
        abort();
}

int
main(int argc, char **argv)
{
    char line[128];
    const char *way = argc > 1 ? argv[1] : "whole";
    if (strcmp(way, "threads") == 0) {
        work_in_threads();
    } else {
        workers[0].kept_each = strcmp(way, "pinned") == 0 ? A_PAGE : 0;
        workers[0].keeps_last = strcmp(way, "whole") != 0;
        work(&workers[0]);
    }
    tell("done\n", 5);
    if (read(0, line, sizeof(line)) <= 0)
        return 1;
    const long before = resident_kib();
    malloc_trim(0);
    const long after = resident_kib();
    tell(line, snprintf(line, sizeof(line), "%ld %ld\n", before, after));
    while (read(0, line, sizeof(line)) > 0)
        continue;
    return 0;
}
