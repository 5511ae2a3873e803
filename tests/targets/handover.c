/*
 * Threads that hand blocks to one another, in two generations: what the first
 * leaves, the second frees. No lock, and of what they share only the places
 * where the blocks change hands; each block says who made it, which number it
 * has and where it is, and is looked at whenever it is taken over.
 *
 *   handover THREADS ROUNDS
 *
 * Prints what it holds at the end, its address and usable bytes a line. Of that
 * nothing is on a list meanwhile: it is what lies in the places.
 */
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    PLACES = 256,
    MOST_THREADS = 256,
    GENERATIONS = 2,
    STACK_BYTES = 1 << 17, /* so small that glibc keeps all for the next */
    LINE_BYTES = 64,
};

struct block {
    uint32_t maker;
    uint32_t number;
    const struct block *self;
};

/* A line of the cache each, so that they share what they must. */
struct place {
    _Alignas(64) struct block *_Atomic block;
};

static struct place places[PLACES];
static pthread_t threads[MOST_THREADS];
static pthread_barrier_t barrier;
static long n_rounds;

static uint64_t
next(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

/* Mostly small, some large enough to be a mapping. */
static size_t
some_bytes(uint64_t *state)
{
    const uint64_t dice = next(state) % 1000;
    return sizeof(struct block) + (dice < 2    ? 130000 + next(state) % 200000
                                   : dice < 50 ? next(state) % 20000
                                               : next(state) % 300);
}

static void *
allocate(uint64_t *state)
{
    const size_t n_bytes = some_bytes(state);
    const size_t alignment = (size_t)16 << next(state) % 8;
    void *block = NULL;
    switch (next(state) % 12) {
    case 0:
        return calloc(1, n_bytes);
    case 1:
        return memalign(alignment, n_bytes);
    case 2:
        return aligned_alloc(alignment, n_bytes);
    case 3:
        return posix_memalign(&block, alignment, n_bytes) == 0 ? block : NULL;
    case 4:
        return realloc(NULL, n_bytes);
    default:
        return malloc(n_bytes);
    }
}

static struct block *
sign(struct block *block, uint32_t maker, long number)
{
    if (block == NULL)
        abort();
    *block = (struct block){maker, (uint32_t)number, block};
    return block;
}

/* Who made it does not matter, but it must be what was made. */
static void
look_at(const struct block *block)
{
    if (block->self != block || block->maker > MOST_THREADS ||
        block->number >= n_rounds)
        abort();
}

/* Of another's block: most are freed, some grow or shrink and are handed on. */
static void
take_over(struct block *block, uint32_t me, long number, uint64_t *state)
{
    look_at(block);
    if (next(state) % 8 != 0) {
        free(block);
        return;
    }
    struct block *moved = realloc(block, some_bytes(state));
    sign(moved, me, number);
    struct place *place = &places[next(state) % PLACES];
    struct block *other = atomic_exchange(&place->block, moved);
    if (other == NULL)
        return;
    look_at(other);
    free(other);
}

static void *
work(void *argument)
{
    const uint32_t me = (uint32_t)(uintptr_t)argument;
    uint64_t state = me;
    pthread_barrier_wait(&barrier);
    for (long i = 0; i < n_rounds; i++) {
        struct block *fresh = sign(allocate(&state), me, i);
        struct place *place = &places[next(&state) % PLACES];
        struct block *other = atomic_exchange(&place->block, fresh);
        if (other != NULL)
            take_over(other, me, i, &state);
    }
    return NULL;
}

static char *
write_number(char *end, uint64_t number, unsigned base)
{
    char digits[32];
    int n = 0;
    do {
        digits[n++] = "0123456789abcdef"[number % base];
        number /= base;
    } while (number != 0);
    while (n > 0)
        *end++ = digits[--n];
    return end;
}

/* Without stdio, which allocates. */
static void
tell(void)
{
    static char text[PLACES * LINE_BYTES];
    char *end = text;
    for (int i = 0; i < PLACES; i++) {
        struct block *block = places[i].block;
        if (block == NULL)
            continue;
        look_at(block);
        end = write_number(end, (uintptr_t)block, 16);
        *end++ = ' ';
        end = write_number(end, malloc_usable_size(block), 10);
        *end++ = '\n';
    }
    if (write(STDOUT_FILENO, text, (size_t)(end - text)) != end - text)
        abort();
}

int
main(int argc, char **argv)
{
    const long n_threads = argc > 1 ? atol(argv[1]) : 0;
    n_rounds = argc > 2 ? atol(argv[2]) : 0;
    if (n_threads < 1 || n_threads > MOST_THREADS)
        return 1;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_barrier_init(&barrier, NULL, (unsigned)n_threads);
    for (int generation = 0; generation < GENERATIONS; generation++) {
        for (long i = 1; i < n_threads; i++)
            if (pthread_create(&threads[i], &attributes, work,
                               (void *)(i + 1)) != 0)
                abort();
        work((void *)1);
        for (long i = 1; i < n_threads; i++)
            pthread_join(threads[i], NULL);
    }
    tell();
    return 0;
}
