/*
 * chunks.h - the chunks of one heap, end to end
 *
 * What a walk over glibc's chunks leaves behind: four bytes a chunk, so that a
 * heap of any size can be looked at again without its being read again. No
 * target, no I/O.
 *
 * A chunk's address is that of its header as glibc counts it (malloc/malloc.c,
 * struct malloc_chunk): 16 bytes before the block that the program has. The
 * block ends 8 bytes behind the chunk.
 */
#ifndef COLLECTOR_CENSUS_CHUNKS_H
#define COLLECTOR_CENSUS_CHUNKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CHUNK_USED = 1,   /* as glibc's walk counts: also where it is cached */
    CHUNK_CACHED = 2, /* free, in a tcache or a fastbin */
    CHUNK_FAST = 4,   /* in a fastbin: malloc_trim would merge it */
    CHUNK_PYTHON = 8, /* in use, and the interpreter asked for it */
};

enum {
    CHUNK_GRAIN = 16,
    CHUNK_LEAST_BYTES = 32,
    CHUNK_HEADER_BYTES = 16, /* to the block */
};

struct chunk {
    uint64_t at;
    uint64_t n_bytes;
    unsigned flags;
    size_t entry; /* chunks.c's own, like the list's fields */
};

struct chunks {
    uint64_t start;
    uint64_t end; /* of the last chunk */
    uint32_t *entries;
    size_t n_entries;
    size_t capacity;
    struct chunks_mark *marks;
    size_t n_marks;
    size_t mark_capacity;
};

void chunks_begin(struct chunks *chunks, uint64_t start);
void chunks_finish(struct chunks *chunks);

/* Behind the last one; n_bytes a multiple of CHUNK_GRAIN and not 0. */
void chunks_append(struct chunks *chunks, uint64_t n_bytes, unsigned flags);

/* Drops some of the last chunks; false: there were none. */
bool chunks_rewind(struct chunks *chunks);

/* In order; n_bytes 0: that was the last. */
struct chunk chunks_first(const struct chunks *chunks);
struct chunk chunks_next(const struct chunks *chunks,
                         const struct chunk *chunk);

/* One that begins at an address or a little before; of no bytes: outside. */
struct chunk chunks_near(const struct chunks *chunks, uint64_t at);

/* The chunk that begins at an address, or one of no bytes. */
struct chunk chunks_find(const struct chunks *chunks, uint64_t at);

void chunks_flag(struct chunks *chunks, const struct chunk *chunk,
                 unsigned flags);

#endif
