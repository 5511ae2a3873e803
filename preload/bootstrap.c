/*
 * Any thread may come here at any time. One atomic addition hands out memory;
 * a chunk that overflows is abandoned for the next, larger one.
 */
#include "preload/bootstrap.h"

#include <stdatomic.h>
#include <stdint.h>

#include "include/attrs.h"
#include "preload/raw.h"

enum {
    FIRST_BYTES = 64 * 1024,
    CHUNK_BYTES = 1024 * 1024,
    N_CHUNKS = 64,
    ALIGNMENT = 16,
    HEADER_BYTES = 16, /* a spare word, then the chunk word */
    CHUNK_IS_MMAPPED = 2,
};

struct chunk {
    _Atomic(char *) start;
    size_t n_bytes;
    _Atomic size_t used;
};

static _Alignas(ALIGNMENT) char first[FIRST_BYTES];

static struct {
    struct chunk chunks[N_CHUNKS];
    _Atomic unsigned n_claimed; /* of chunks; may exceed their number */
    _Atomic unsigned current;
} bootstrap = {
    .chunks[0] = {.start = first, .n_bytes = FIRST_BYTES},
    .n_claimed = 1,
};

/* Carves size bytes, header before them, or returns NULL: the chunk is full. */
static void *
carve(struct chunk *chunk, size_t alignment, size_t size)
{
    const size_t needed = size + alignment + HEADER_BYTES;
    if (needed > chunk->n_bytes)
        return NULL;
    const size_t used = atomic_fetch_add(&chunk->used, needed);
    if (used > chunk->n_bytes || chunk->n_bytes - used < needed)
        return NULL;

    char *const start = atomic_load(&chunk->start);
    uintptr_t block = (uintptr_t)(start + used) + HEADER_BYTES;
    block = (block + alignment - 1) & ~(uintptr_t)(alignment - 1);
    ((size_t *)block)[-1] = (size + HEADER_BYTES) | CHUNK_IS_MMAPPED;
    return (void *)block;
}

/*
 * Out of a chunk of its own, which others may go on with. Who grows at the same
 * time, be it a signal handler in the middle of this, takes the next one.
 */
static void *
carve_anew(size_t alignment, size_t size)
{
    const unsigned own = atomic_fetch_add(&bootstrap.n_claimed, 1);
    if (own >= N_CHUNKS)
        return NULL;
    const size_t needed = size + alignment + HEADER_BYTES;
    const size_t wanted = needed > CHUNK_BYTES ? needed : CHUNK_BYTES;
    char *start = raw_map(wanted, -1, 0);
    if (start == NULL)
        return NULL;
    struct chunk *chunk = &bootstrap.chunks[own];
    chunk->n_bytes = wanted;
    atomic_store(&chunk->start, start);
    void *block = carve(chunk, alignment, size);
    atomic_store(&bootstrap.current, own);
    return block;
}

void *
bootstrap_alloc(size_t alignment, size_t size)
{
    if (alignment < ALIGNMENT)
        alignment = ALIGNMENT;
    if (size > SIZE_MAX / 2 || alignment > SIZE_MAX / 4)
        return NULL;
    size = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);

    const unsigned current = atomic_load(&bootstrap.current);
    void *block = carve(&bootstrap.chunks[current], alignment, size);
    return block != NULL ? block : carve_anew(alignment, size);
}

bool
bootstrap_owns(const void *block)
{
    const uintptr_t at = (uintptr_t)block;
    const unsigned n = atomic_load(&bootstrap.n_claimed);
    for (unsigned i = 0; i < n && i < N_CHUNKS; i++) {
        const struct chunk *chunk = &bootstrap.chunks[i];
        const uintptr_t start = (uintptr_t)atomic_load(&chunk->start);
        if (start != 0 && at >= start && at - start < chunk->n_bytes)
            return true;
    }
    return false;
}

size_t
bootstrap_usable_size(const void *block)
{
    const size_t word = ((const size_t *)block)[-1];
    return (word & ~(size_t)7) - HEADER_BYTES;
}
