/*
 * Much memory, little of it touched:
 *
 *     sparse blocks MIB      blocks of 64 KiB to 1 MiB in malloc's heap, in all
 *                            so many MiB; of each its first page is touched
 *     sparse chunks N        N blocks that malloc maps one by one
 *     sparse mappings N      N mappings of 256 KiB, each with a guard page, so
 *                            that the kernel merges none
 *
 * Says "ready" and waits for its input to end.
 */
#include <err.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    PAGE = 4096,
    KIB = 1024,
    MIB = 1024 * KIB,
    LEAST_BLOCK = 64 * KIB,
    MOST_BLOCK = MIB,
    CHUNK = 256 * KIB,
    MOST_CHUNKS = 65536,
};

static void *kept[1 << 20];

static void *
keep(void *block, size_t number)
{
    if (block == NULL || block == MAP_FAILED)
        err(1, "%zu blocks, and no more", number);
    kept[number % (sizeof(kept) / sizeof(kept[0]))] = block;
    return block;
}

static void
make_blocks(size_t n)
{
    uint64_t state = 1;
    size_t number = 0;
    mallopt(M_MMAP_MAX, 0);
    mallopt(M_TOP_PAD, 64 * MIB);
    for (uint64_t total = 0; total < (uint64_t)n * MIB;) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        const size_t n_bytes =
            LEAST_BLOCK + (state >> 33) % (MOST_BLOCK - LEAST_BLOCK);
        *(char *)keep(malloc(n_bytes), number++) = 1;
        total += n_bytes;
    }
}

static void
make_chunks(size_t n)
{
    mallopt(M_MMAP_THRESHOLD, CHUNK / 2);
    mallopt(M_MMAP_MAX, MOST_CHUNKS);
    for (size_t i = 0; i < n; i++)
        *(char *)keep(malloc(CHUNK), i) = 1;
}

static void
make_mappings(size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char *start = keep(mmap(NULL, CHUNK + PAGE, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
                           i);
        if (mprotect(start, PAGE, PROT_NONE) != 0)
            err(1, "mprotect");
        start[PAGE] = 1;
    }
}

int
main(int argc, char **argv)
{
    char byte;
    const size_t n = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;
    if (n != 0 && strcmp(argv[1], "blocks") == 0)
        make_blocks(n);
    else if (n != 0 && strcmp(argv[1], "chunks") == 0)
        make_chunks(n);
    else if (n != 0 && strcmp(argv[1], "mappings") == 0)
        make_mappings(n);
    else
        errx(2, "usage: sparse blocks MIB | chunks N | mappings N");
    if (write(STDOUT_FILENO, "ready\n", 6) != 6)
        return 1;
    return read(STDIN_FILENO, &byte, 1) < 0;
}
