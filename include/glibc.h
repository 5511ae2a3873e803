/*
 * glibc.h - how glibc's malloc lays out its memory, on x86-64
 *
 * From malloc/malloc.c (malloc_chunk, malloc_state, tcache_perthread_struct)
 * and malloc/arena.c (heap_info) of 2.26 to 2.41; run against 2.36. Everything
 * here is recognised by its content and never believed for its version: where
 * a layout differs, nothing is found and its bytes stay unexplained.
 */
#ifndef INCLUDE_GLIBC_H
#define INCLUDE_GLIBC_H

#include <stdint.h>

/* ---- chunks ------------------------------------------------------------ */

/* Bits of the size word, which is a chunk's second. */
#define GLIBC_PREV_INUSE ((uint64_t)1)
#define GLIBC_IS_MMAPPED ((uint64_t)2)
#define GLIBC_NON_MAIN_ARENA ((uint64_t)4)
#define GLIBC_SIZE_BITS ((uint64_t)7)

enum {
    GLIBC_CHUNK_HEADER_BYTES = 16, /* before the block */
    GLIBC_LEAST_CHUNK_BYTES = 32,
    GLIBC_FENCEPOST_BYTES = 16,    /* ends a stretch that cannot grow */
    GLIBC_CHUNK_STRUCT_BYTES = 48, /* sizeof(struct malloc_chunk) */
    GLIBC_PAGE_MINUS_1 = 4095,
};

#define GLIBC_MOST_CHUNK_BYTES ((uint64_t)1 << 46)

/* ---- arenas ------------------------------------------------------------ */

/*
 * Heaps of threads' arenas: reserved at multiples of this, the first part
 * readable and writable.
 */
#define GLIBC_HEAP_RESERVE ((uint64_t)64 * 1024 * 1024)

/* struct heap_info, the words that have been there since 2.10. */
struct glibc_heap_info {
    uint64_t arena;    /* its malloc_state */
    uint64_t previous; /* heap of the same arena; 0: the first */
    uint64_t size;     /* bytes in use, from the heap's start */
    uint64_t mprotect_size;
};

enum {
    GLIBC_HEAP_INFO_LEAST = 32,
    GLIBC_HEAP_INFO_MOST = 64, /* 48 from 2.35 on */
    /* Where the first chunk of an arena's first heap may lie behind its state:
       sizeof(struct malloc_state) is 2200 from 2.27 to 2.41. */
    GLIBC_STATE_LEAST = 2100,
    GLIBC_STATE_MOST = 2400,
};

/* struct malloc_state from 2.27 on. */
enum {
    GLIBC_STATE_FASTBINS_AT = 16,
    GLIBC_N_FASTBINS = 10,
    GLIBC_STATE_TOP_AT = 96,
    GLIBC_STATE_BINS_AT = 112, /* pairs of fd and bk, of bins 1 to 127 */
    GLIBC_N_BINS = 127,
    GLIBC_STATE_READ_BYTES = GLIBC_STATE_BINS_AT + GLIBC_N_BINS * 16,
};

/* The chunk size of a fastbin or a tcache bin. */
#define GLIBC_BIN_BYTES(i) ((uint64_t)((i) + 2) * 16)

/* ---- ld.so ------------------------------------------------------------- */

/*
 * struct link_map (include/link.h): its public part, then some 1100 bytes of
 * addresses and numbers, in all versions since 2.28. The words of the list:
 */
enum {
    GLIBC_LINK_MAP_BYTES = 1128,
    GLIBC_LINK_MAP_NEXT = 3,
    GLIBC_LINK_MAP_PREVIOUS = 4,
};

/* ---- tcache ------------------------------------------------------------ */

/* struct tcache_perthread_struct: counts of 64 bins, then their heads. */
struct glibc_tcache_layout {
    uint32_t chunk_bytes;
    uint32_t count_bytes; /* of one count */
    uint32_t heads_at;
};

enum {
    GLIBC_TCACHE_BINS = 64,
    GLIBC_TCACHE_MOST_BYTES = 640,
    GLIBC_LEAST_TCACHE_BYTES = 0x250, /* of its chunk */
};

static const struct glibc_tcache_layout glibc_tcache_layouts[] = {
    {0x290, 2, 128}, /* from 2.30 */
    {0x250, 1, 64 }, /* from 2.26 */
};

/*
 * Links of tcaches and fastbins are mangled from 2.32 on (PROTECT_PTR): what
 * lies at `at` is the next one's address xor at >> 12.
 */
static inline uint64_t
glibc_reveal(uint64_t at, uint64_t word)
{
    return word ^ (at >> 12);
}

#endif
