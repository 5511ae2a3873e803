/*
 * Memory that looks like what it is not.
 *
 *   forged pools     pools of pymalloc: in 16 MiB that a raw system call maps
 *                    at a multiple of 1 MiB, and in blocks of malloc
 *   forged heap      a heap of malloc's, chunks and all, at a multiple of
 *                    64 MiB that a raw system call maps: 16 MiB of it
 *   forged nothing   the same memory, filled with a letter
 *
 * Prints where: `raw ADDRESS BYTES` and `malloc ADDRESS BYTES`, then "ready",
 * and waits for its input to end.
 */
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    MIB = 1024 * 1024,
    RAW_BYTES = 16 * MIB,
    LARGE_BYTES = 4 * MIB, /* a mapping of its own */
    SMALL_BYTES = 100 * 1024,
    N_SMALL = 40,
    POOL_BYTES = 16384,
    BLOCK_BYTES = 64,
    CHUNK_BYTES = 112,
};

#define HEAP_MAX ((uintptr_t)64 * MIB)

static char *
raw_map(uintptr_t at, size_t n_bytes)
{
    char *start;
    register long flags __asm__("r10") =
        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    register long fd __asm__("r8") = -1;
    register long offset __asm__("r9") = 0;
    __asm__ volatile("syscall"
                     : "=a"(start)
                     : "a"(SYS_mmap), "D"(at), "S"(n_bytes),
                       "d"(PROT_READ | PROT_WRITE), "r"(flags), "r"(fd),
                       "r"(offset)
                     : "rcx", "r11", "memory");
    if ((uintptr_t)start != at)
        abort();
    return start;
}

/* A place that is free, far from everything, at a multiple of 64 MiB. */
static char *
raw_heap(size_t n_bytes)
{
    return raw_map(HEAP_MAX * 0x8000, n_bytes);
}

static void
put(char *at, size_t offset, uint64_t word)
{
    memcpy(at + offset, &word, sizeof(word));
}

/* ---- pools --------------------------------------------------------------- */

/* Half of its blocks carved; of those, each second one is free. */
static void
forge_pool(char *pool)
{
    const uint32_t n_carved = (POOL_BYTES - 48) / BLOCK_BYTES / 2 & ~1u;
    const uint32_t tail[4] = {0, BLOCK_BYTES / 16 - 1,
                              48 + n_carved * BLOCK_BYTES,
                              POOL_BYTES - BLOCK_BYTES};
    memset(pool, 'p', POOL_BYTES);
    for (uint32_t i = 0; i < n_carved; i += 2) {
        char *block = pool + 48 + (size_t)i * BLOCK_BYTES;
        const uint64_t next =
            i + 2 < n_carved ? (uintptr_t)block + 2 * BLOCK_BYTES : 0;
        put(block, 0, next);
    }
    put(pool, 0, n_carved / 2);
    put(pool, 8, (uintptr_t)pool + 48);
    put(pool, 16, (uintptr_t)pool);
    put(pool, 24, (uintptr_t)pool);
    memcpy(pool + 32, tail, sizeof(tail));
}

static void
forge_pools(char *start, size_t n_bytes)
{
    const uintptr_t first =
        ((uintptr_t)start + POOL_BYTES - 1) & ~(uintptr_t)(POOL_BYTES - 1);
    for (char *pool = (char *)first; pool + POOL_BYTES <= start + n_bytes;
         pool += POOL_BYTES)
        forge_pool(pool);
}

/* ---- a heap -------------------------------------------------------------- */

static uintptr_t other_block;

static void *
allocate_elsewhere(void *unused)
{
    other_block = (uintptr_t)malloc(100);
    return unused;
}

/* The malloc_state of an arena that is real: that of a thread which was. */
static uint64_t
real_arena(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, allocate_elsewhere, NULL) != 0)
        abort();
    pthread_join(thread, NULL);
    uint64_t arena;
    memcpy(&arena, (void *)(other_block & ~(HEAP_MAX - 1)), sizeof(arena));
    return arena;
}

/* heap_info, chunks of which each second one is free, and a top. */
static void
forge_heap(char *heap)
{
    const uint64_t words[] = {real_arena(), 0, RAW_BYTES, RAW_BYTES, 4096, 0};
    size_t at = sizeof(words);
    memset(heap, 'h', RAW_BYTES);
    memcpy(heap, words, sizeof(words));
    while (at + 4 * CHUNK_BYTES < RAW_BYTES) {
        /* In use, and so is the one before: sizes with all their bits. */
        put(heap, at + 8, CHUNK_BYTES | 4);
        put(heap, at + CHUNK_BYTES + 8, CHUNK_BYTES | 4 | 1);
        at += CHUNK_BYTES;
        put(heap, at + 16, (uintptr_t)heap + at);
        put(heap, at + 24, (uintptr_t)heap + at);
        put(heap, at + CHUNK_BYTES, CHUNK_BYTES);
        at += CHUNK_BYTES;
    }
    put(heap, 48 + 8, CHUNK_BYTES | 4 | 1);
    put(heap, at + 8, (RAW_BYTES - at) | 1);
}

/* ---- all ----------------------------------------------------------------- */

static void
fill(char *start, size_t n_bytes, int has_pools)
{
    memset(start, 'n', n_bytes);
    if (has_pools)
        forge_pools(start, n_bytes);
    printf("malloc %p %zu\n", (void *)start, malloc_usable_size(start));
}

int
main(int argc, char **argv)
{
    const int is_heap = argc > 1 && strcmp(argv[1], "heap") == 0;
    const int has_pools = argc > 1 && strcmp(argv[1], "pools") == 0;
    char *raw = raw_heap(RAW_BYTES);
    char word;
    memset(raw, 'n', RAW_BYTES);
    if (is_heap)
        forge_heap(raw);
    else
        real_arena(); /* so that all of them have the same memory */
    if (has_pools)
        forge_pools(raw, RAW_BYTES);
    printf("raw %p %d\n", (void *)raw, RAW_BYTES);
    fill(malloc(LARGE_BYTES), LARGE_BYTES, has_pools);
    for (int i = 0; i < N_SMALL; i++)
        fill(malloc(SMALL_BYTES), SMALL_BYTES, has_pools);
    puts("ready");
    fflush(stdout);
    return read(STDIN_FILENO, &word, 1) < 0;
}
