#include "collector/census/pool.h"

#include <string.h>

/* The size of the header's blocks, or 0: it does not add up. */
static uint32_t
block_size(const struct cpython_pool *header, uint32_t pool_bytes)
{
    static const uint32_t alignments[] = {CPYTHON_ALIGNMENT,
                                          CPYTHON_OLD_ALIGNMENT};
    if (header->szidx >= CPYTHON_N_CLASSES)
        return 0;
    for (unsigned i = 0; i < 2; i++) {
        const uint32_t size = (header->szidx + 1) * alignments[i];
        if (size <= CPYTHON_LARGEST_BLOCK &&
            header->maxnextoffset == pool_bytes - size)
            return size;
    }
    return 0;
}

/* The offset of the free list's head, or 0 where it points outside. */
static uint32_t
list_head(uint64_t addr, const struct pool *pool, uint64_t freeblock)
{
    const uint64_t offset = freeblock - addr;
    const uint64_t end =
        CPYTHON_POOL_HEADER_BYTES + (uint64_t)pool->n_carved * pool->size;
    if (offset < CPYTHON_POOL_HEADER_BYTES || offset >= end ||
        (offset - CPYTHON_POOL_HEADER_BYTES) % pool->size != 0)
        return 0;
    return (uint32_t)offset;
}

static enum pool_state
judge(const struct pool *pool, const struct cpython_pool *header)
{
    if (header->freeblock == 0)
        return pool->n_used == pool->n_blocks ? POOL_FULL : POOL_TORN;
    if (pool->first_free == 0 || pool->n_used >= pool->n_carved)
        return POOL_TORN;
    return pool->n_used == 0 ? POOL_EMPTY : POOL_USED;
}

struct pool
pool_read(uint64_t addr, uint32_t pool_bytes, const struct cpython_pool *header)
{
    static const struct cpython_pool zeroes;
    struct pool pool = {.pool_bytes = pool_bytes, .state = POOL_TORN};
    if (memcmp(header, &zeroes, sizeof(zeroes)) == 0) {
        pool.state = POOL_NONE;
        return pool;
    }
    pool.size = block_size(header, pool_bytes);
    if (pool.size == 0 || header->count_padding != 0)
        return pool;

    const uint32_t carved_bytes =
        header->nextoffset - CPYTHON_POOL_HEADER_BYTES;
    pool.n_blocks = (pool_bytes - CPYTHON_POOL_HEADER_BYTES) / pool.size;
    pool.n_carved = carved_bytes / pool.size;
    pool.n_used = header->count;
    if (header->nextoffset < CPYTHON_POOL_HEADER_BYTES ||
        carved_bytes % pool.size != 0 || pool.n_carved > pool.n_blocks ||
        pool.n_used > pool.n_carved)
        return pool;
    pool.first_free = list_head(addr, &pool, header->freeblock);
    pool.state = judge(&pool, header);
    return pool;
}

bool
pool_walk(const struct pool *pool, uint64_t addr, const char *content,
          bool *is_free)
{
    memset(is_free, 0, pool->n_carved * sizeof(is_free[0]));
    uint32_t n_free = 0;
    uint32_t at = pool->first_free;
    while (at != 0) {
        const uint32_t index = (at - CPYTHON_POOL_HEADER_BYTES) / pool->size;
        if (is_free[index])
            return false;
        is_free[index] = true;
        n_free++;
        uint64_t next;
        memcpy(&next, content + at, sizeof(next));
        if (next == 0)
            break;
        at = list_head(addr, pool, next);
        if (at == 0)
            return false;
    }
    return n_free + pool->n_used == pool->n_carved;
}

bool
pool_is_debugged(const char *block)
{
    const unsigned char *bytes = (const unsigned char *)block;
    const unsigned char letter = bytes[CPYTHON_DEBUG_LETTER_AT];
    const unsigned char first = bytes[CPYTHON_DEBUG_FORBIDDEN_AT];
    if ((letter != 'o' && letter != 'm' && letter != 'r') ||
        (first != CPYTHON_DEBUG_FORBIDDEN &&
         first != CPYTHON_DEBUG_FORBIDDEN_BEFORE))
        return false;
    for (unsigned i = 1; i < CPYTHON_DEBUG_FORBIDDEN_BYTES; i++) {
        if (bytes[CPYTHON_DEBUG_FORBIDDEN_AT + i] != first)
            return false;
    }
    return true;
}
