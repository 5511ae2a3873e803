/*
 * The input is a pool: a byte that chooses its layout, then its content, at an
 * address that pointers in the input can be right about.
 */
#include <string.h>

#include "collector/census/pool.h"
#include "include/xalloc.h"
#include "tests/fuzz/fuzz.h"

#define ADDR ((uint64_t)0x10000)

static void
check_pool(const struct pool *pool, uint32_t pool_bytes)
{
    if (pool->state == POOL_NONE || pool->state == POOL_TORN)
        return;
    fuzz_holds(pool->pool_bytes == pool_bytes);
    fuzz_holds(pool->size >= CPYTHON_OLD_ALIGNMENT);
    fuzz_holds(pool->size <= CPYTHON_LARGEST_BLOCK);
    fuzz_holds(pool->n_used <= pool->n_carved);
    fuzz_holds(pool->n_carved <= pool->n_blocks);
    fuzz_holds(pool->n_blocks <= POOL_MOST_BLOCKS);
    fuzz_holds((pool->state == POOL_FULL) == (pool->first_free == 0));
    fuzz_holds((pool->state == POOL_EMPTY) == (pool->n_used == 0));
    fuzz_holds((uint64_t)pool->n_blocks * pool->size +
                   CPYTHON_POOL_HEADER_BYTES <=
               pool_bytes);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    if (n_bytes < 1 + sizeof(struct cpython_pool))
        return 0;
    const uint32_t pool_bytes =
        bytes[0] % 2 == 0 ? CPYTHON_SMALL_POOL : CPYTHON_LARGE_POOL;
    bytes++;
    n_bytes--;
    char *content = xcalloc(pool_bytes, 1);
    memcpy(content, bytes, n_bytes < pool_bytes ? n_bytes : pool_bytes);
    struct cpython_pool header;
    memcpy(&header, content, sizeof(header));
    const struct pool pool = pool_read(ADDR, pool_bytes, &header);
    check_pool(&pool, pool_bytes);
    bool is_free[POOL_MOST_BLOCKS];
    if ((pool.state == POOL_USED || pool.state == POOL_EMPTY ||
         pool.state == POOL_FULL) &&
        pool_walk(&pool, ADDR, content, is_free)) {
        uint32_t n_free = 0;
        for (uint32_t i = 0; i < pool.n_carved; i++)
            n_free += is_free[i];
        fuzz_holds(n_free + pool.n_used == pool.n_carved);
    }
    free(content);
    return 0;
}
