/*
 * Blocks of known sizes from known places, for what a sample says of them.
 *
 *   sampled N     runs itself N times, one after another
 *   sampled once  what each of them does
 *
 * It prints what each place has alive at the end and has allocated, in usable
 * bytes: "FUNCTION LIVE-BLOCKS LIVE-BYTES ALLOC-BLOCKS ALLOC-BYTES".
 */
#include <inttypes.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    MOST_BLOCKS = 50000,
    THREADS = 4,
    BLOCKS_A_THREAD = 10000,
    KEPT = 3, /* one of so many */
};

struct truth {
    uint64_t live_blocks;
    uint64_t live_bytes;
    uint64_t alloc_blocks;
    uint64_t alloc_bytes;
};

struct place {
    const char *name;
    void *(*make)(void);
    size_t n_blocks;
    struct truth truth;
};

#define PLACE(name, call)                             \
    static __attribute__((noinline)) void *name(void) \
    {                                                 \
        void *block = (call);                         \
        __asm__ volatile("" : "+r"(block));           \
        return block;                                 \
    }

PLACE(make_tiny, malloc(24))
PLACE(make_small, malloc(100))
PLACE(make_zeroed, calloc(10, 50))
PLACE(make_middle, malloc(1500))
PLACE(make_aligned, memalign(256, 1000))
PLACE(make_big, malloc(20000))
PLACE(make_huge, malloc(100000))
PLACE(make_large, malloc(200000))
PLACE(make_seed, malloc(30))
PLACE(make_grown, realloc(make_seed(), 700))
PLACE(make_in_thread, malloc(300))

static struct place places[] = {
    {"make_tiny",    make_tiny,    50000, {0}},
    {"make_small",   make_small,   30000, {0}},
    {"make_zeroed",  make_zeroed,  10000, {0}},
    {"make_middle",  make_middle,  3000,  {0}},
    {"make_aligned", make_aligned, 2000,  {0}},
    {"make_big",     make_big,     150,   {0}},
    {"make_huge",    make_huge,    30,    {0}},
    {"make_large",   make_large,   9,     {0}},
    {"make_grown",   make_grown,   6000,  {0}},
};

static const struct place threaded = {
    "make_in_thread", make_in_thread, BLOCKS_A_THREAD, {0}};

/* Two of three die, after their neighbours were born. */
static void
fill(struct place *place, void **blocks)
{
    struct truth *truth = &place->truth;
    for (size_t i = 0; i < place->n_blocks; i++) {
        blocks[i] = place->make();
        const uint64_t n_bytes = malloc_usable_size(blocks[i]);
        truth->alloc_blocks++;
        truth->alloc_bytes += n_bytes;
        truth->live_blocks++;
        truth->live_bytes += n_bytes;
    }
    for (size_t i = 0; i < place->n_blocks; i++) {
        if (i % KEPT == 0)
            continue;
        truth->live_blocks--;
        truth->live_bytes -= malloc_usable_size(blocks[i]);
        free(blocks[i]);
    }
}

struct job {
    struct place place;
    void *blocks[BLOCKS_A_THREAD];
};

static void *
fill_in_thread(void *context)
{
    struct job *job = context;
    fill(&job->place, job->blocks);
    return NULL;
}

static void
say(const struct place *place)
{
    const struct truth *truth = &place->truth;
    printf("%s %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", place->name,
           truth->live_blocks, truth->live_bytes, truth->alloc_blocks,
           truth->alloc_bytes);
}

static struct place
run_threads(void)
{
    static struct job jobs[THREADS];
    pthread_t threads[THREADS];
    struct place all = threaded;
    for (int i = 0; i < THREADS; i++) {
        jobs[i].place = threaded;
        pthread_create(&threads[i], NULL, fill_in_thread, &jobs[i]);
    }
    for (int i = 0; i < THREADS; i++) {
        const struct truth *own = &jobs[i].place.truth;
        pthread_join(threads[i], NULL);
        all.truth.live_blocks += own->live_blocks;
        all.truth.live_bytes += own->live_bytes;
        all.truth.alloc_blocks += own->alloc_blocks;
        all.truth.alloc_bytes += own->alloc_bytes;
    }
    return all;
}

static void
run_once(void)
{
    static void *blocks[MOST_BLOCKS];
    const size_t n_places = sizeof(places) / sizeof(places[0]);
    for (size_t i = 0; i < n_places; i++)
        fill(&places[i], blocks);
    const struct place all = run_threads();
    for (size_t i = 0; i < n_places; i++)
        say(&places[i]);
    say(&all);
}

static int
run_again(char *self)
{
    char once[] = "once";
    char *const arguments[] = {self, once, NULL};
    int status = -1;
    const pid_t pid = fork();
    if (pid == 0) {
        execv(self, arguments);
        _exit(1);
    }
    waitpid(pid, &status, 0);
    return status == 0 ? 0 : 1;
}

int
main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "once") == 0) {
        run_once();
        return 0;
    }
    int n_failed = 0;
    for (int i = argc == 2 ? atoi(argv[1]) : 1; i > 0; i--)
        n_failed += run_again(argv[0]);
    return n_failed;
}
