/*
 * Runs into its limits, or is locked into memory.
 *
 *   limits files     how many descriptors it gets, and which ones
 *   limits space     no more address space: malloc and realloc fail
 *   limits threads   the same, and many threads that allocate for the first
 *                    time, one after another
 *   limits locked    mlockall, now and for ever; 77: it may not
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum { BLOCKS = 400, THREADS = 40, LARGE = 1 << 20, SPACE = 24 << 20 };

static void *blocks[BLOCKS];
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

static void
open_files(void)
{
    int fds[20];
    for (int i = 0; i < 20; i++)
        fds[i] = open("/dev/null", O_RDONLY);
    for (int i = 0; i < 20; i++)
        printf("%d ", fds[i]);
    for (int i = 0; i < BLOCKS; i++)
        blocks[i] = malloc(100 + i);
    printf("\n");
}

static void
limit_space(unsigned long more)
{
    char line[64];
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fgets(line, sizeof(line), file) == NULL)
        exit(2);
    fclose(file);
    const unsigned long now = strtoul(line, NULL, 10) * 4096;
    const struct rlimit limit = {now + more, now + more};
    setrlimit(RLIMIT_AS, &limit);
}

static void
fill_space(void)
{
    int n = 0;
    limit_space(SPACE);
    while (n < BLOCKS && (blocks[n] = malloc(LARGE)) != NULL)
        n++;
    printf("refused %d\n", n < BLOCKS && errno == ENOMEM);
    for (int i = 0; i < 3; i++)
        printf("%d ", realloc(blocks[i], 2 * SPACE) == NULL);
    for (int i = 1; i < n; i += 2)
        free(blocks[i]);
    printf("%d\n", malloc(LARGE) != NULL);
}

static void *
allocate(void *unused)
{
    pthread_mutex_lock(&turn);
    for (int i = 0; i < BLOCKS; i += 7) {
        free(blocks[i]);
        blocks[i] = malloc(100 + i);
    }
    pthread_mutex_unlock(&turn);
    return unused;
}

/* All live at once; the heap has room for what they want. */
static void
start_threads(void)
{
    pthread_t threads[THREADS];
    mallopt(M_ARENA_MAX, 1);
    free(malloc(100000));
    pthread_mutex_lock(&turn);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, allocate, NULL);
    limit_space(0);
    pthread_mutex_unlock(&turn);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    printf("%d\n", blocks[0] != NULL);
}

int
main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "";
    if (strcmp(how, "files") == 0) {
        open_files();
    } else if (strcmp(how, "space") == 0) {
        fill_space();
    } else if (strcmp(how, "threads") == 0) {
        start_threads();
    } else if (strcmp(how, "locked") == 0) {
        if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
            return 77;
        start_threads();
    }
    return 0;
}
