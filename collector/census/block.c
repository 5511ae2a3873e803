#include "collector/census/block.h"

#include <string.h>

#include "include/attrs.h"

enum {
    CHUNK_FLAGS = 7, /* in the low bits of a chunk's size (malloc/malloc.c) */
    CHUNK_PREVIOUS_IN_USE = 1,
    CHUNK_ALIGNMENT = 16,
    LEAST_CHUNK = 32,
    LARGEST_CHUNK = 1 << 20,
    WORD = sizeof(uint64_t),
};

/* ---- pymalloc ---------------------------------------------------------- */

const struct census_arena *
block_arena(const struct census *census, uint64_t addr)
{
    size_t low = 0;
    size_t high = census->n_arenas;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const struct census_arena *arena = &census->arenas[middle];
        if (arena->address + arena->n_bytes <= addr)
            low = middle + 1;
        else
            high = middle;
    }
    return low < census->n_arenas && census->arenas[low].address <= addr
               ? &census->arenas[low]
               : NULL;
}

static uint64_t
first_pool(const struct census_arena *arena)
{
    return (arena->address + arena->pool_bytes - 1) / arena->pool_bytes *
           arena->pool_bytes;
}

static bool
read_pool(struct peek *peek, uint64_t addr, uint32_t pool_bytes,
          struct pool *pool)
{
    struct cpython_pool header;
    if (!peek_read(peek, addr, &header, sizeof(header)))
        return false;
    *pool = pool_read(addr, pool_bytes, &header);
    return pool->state == POOL_USED || pool->state == POOL_FULL;
}

bool
block_in_arena(const struct census *census, struct peek *peek, uint64_t addr,
               struct block *block)
{
    const struct census_arena *arena = block_arena(census, addr);
    if (arena == NULL)
        return false;
    const uint64_t start = addr - addr % arena->pool_bytes;
    const uint64_t first = first_pool(arena);
    const uint64_t index = (start - first) / arena->pool_bytes;
    struct pool pool;
    if (start < first || index >= arena->n_pools || !arena->is_used[index] ||
        addr - start < CPYTHON_POOL_HEADER_BYTES ||
        !read_pool(peek, start, arena->pool_bytes, &pool))
        return false;
    const uint64_t number =
        (addr - start - CPYTHON_POOL_HEADER_BYTES) / pool.size;
    *block = (struct block){
        .addr = start + CPYTHON_POOL_HEADER_BYTES + number * pool.size,
        .n_bytes = pool.size,
        .pool = start,
        .pool_bytes = arena->pool_bytes,
    };
    return number < pool.n_carved;
}

static bool
is_live(const struct block *block, const struct pool *pool, const bool *is_free)
{
    const uint64_t offset =
        block->addr - block->pool - CPYTHON_POOL_HEADER_BYTES;
    return block->n_bytes == pool->size && offset % pool->size == 0 &&
           offset / pool->size < pool->n_carved &&
           !is_free[offset / pool->size];
}

/*
 * The pool and what it carved. Of the last block that it carved, which may lie
 * on a page that was never touched but for the link in its first word, no more
 * than that word is read; the rest is zeroes.
 */
static bool
read_content(struct peek *peek, uint64_t addr, const struct pool *pool,
             char content[CPYTHON_LARGE_POOL])
{
    const size_t end =
        CPYTHON_POOL_HEADER_BYTES + (size_t)pool->n_carved * pool->size;
    memset(content + end - pool->size, 0, pool->size);
    return pool->n_carved != 0 &&
           peek_read(peek, addr, content, end - pool->size + WORD);
}

enum block_verdict
block_are_live(struct peek *peek, const struct block *blocks, size_t n,
               bool *are_live)
{
    char content[CPYTHON_LARGE_POOL];
    bool is_free[POOL_MOST_BLOCKS];
    const uint64_t start = blocks[0].pool;
    struct pool pool;
    const bool is_read = read_pool(peek, start, blocks[0].pool_bytes, &pool);
    if (is_read && !read_content(peek, start, &pool, content))
        return BLOCK_UNKNOWN;
    const bool is_whole = is_read && pool_walk(&pool, start, content, is_free);
    enum block_verdict verdict = BLOCK_LIVE;
    for (size_t i = 0; i < n; i++) {
        const bool is = is_whole && is_live(&blocks[i], &pool, is_free);
        if (are_live != NULL)
            are_live[i] = is;
        if (!is)
            verdict = BLOCK_NOT_LIVE;
    }
    return verdict;
}

/* Whether the pool's first live block is debugged; false: it has none. */
static bool
tells(struct peek *peek, uint64_t start, uint32_t pool_bytes, bool *is_debugged)
{
    char content[CPYTHON_LARGE_POOL];
    bool is_free[POOL_MOST_BLOCKS];
    struct pool pool;
    if (!read_pool(peek, start, pool_bytes, &pool) ||
        pool.size <= CPYTHON_DEBUG_PREFIX_BYTES ||
        !read_content(peek, start, &pool, content) ||
        !pool_walk(&pool, start, content, is_free))
        return false;
    for (uint32_t i = 0; i < pool.n_carved; i++) {
        if (is_free[i])
            continue;
        *is_debugged = pool_is_debugged(content + CPYTHON_POOL_HEADER_BYTES +
                                        (size_t)i * pool.size);
        return true;
    }
    return false;
}

uint32_t
block_debug_bytes(const struct census *census, struct peek *peek)
{
    for (size_t i = 0; i < census->n_arenas; i++) {
        const struct census_arena *arena = &census->arenas[i];
        const uint64_t first = first_pool(arena);
        for (uint32_t k = 0; k < arena->n_pools; k++) {
            bool is_debugged;
            if (arena->is_used[k] &&
                tells(peek, first + (uint64_t)k * arena->pool_bytes,
                      arena->pool_bytes, &is_debugged))
                return is_debugged ? CPYTHON_DEBUG_PREFIX_BYTES : 0;
        }
    }
    return 0;
}

/* ---- malloc ------------------------------------------------------------ */

/*
 * A chunk's size stands in the word before its data; the next chunk's says
 * whether it is in use.
 */
bool
block_of_malloc(struct peek *peek, uint64_t addr, struct block *block)
{
    uint64_t word;
    if (addr % CHUNK_ALIGNMENT != 0 || !peek_word(peek, addr - WORD, &word))
        return false;
    const uint64_t n_bytes = word & ~(uint64_t)CHUNK_FLAGS;
    if (n_bytes < LEAST_CHUNK || n_bytes > LARGEST_CHUNK ||
        n_bytes % CHUNK_ALIGNMENT != 0 ||
        !peek_word(peek, addr - WORD + n_bytes, &word) ||
        (word & CHUNK_PREVIOUS_IN_USE) == 0)
        return false;
    *block = (struct block){.addr = addr, .n_bytes = n_bytes - WORD};
    return true;
}
