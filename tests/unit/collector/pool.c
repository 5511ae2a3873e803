#include "collector/census/pool.h"

#include <stdlib.h>

#include "include/attrs.h"
#include "tests/unit/check.h"

/* ---- a pool as obmalloc writes it -------------------------------------- */

#define ADDR ((uint64_t)0x7f0000400000)

struct layout {
    uint32_t pool_bytes;
    uint32_t alignment;
};

/* Every layout that a CPython of 2.7 to 3.15 has. */
static const struct layout layouts[] = {
    {CPYTHON_SMALL_POOL, CPYTHON_OLD_ALIGNMENT},
    {CPYTHON_SMALL_POOL, CPYTHON_ALIGNMENT    },
    {CPYTHON_LARGE_POOL, CPYTHON_ALIGNMENT    },
};

struct making {
    struct layout layout;
    uint32_t size;
    uint32_t n_blocks;
    uint32_t n_carved;
    _Alignas(16) char bytes[CPYTHON_LARGE_POOL];
};

static struct cpython_pool *
header_of(struct making *making)
{
    return (struct cpython_pool *)(void *)making->bytes;
}

static uint64_t
block_at(const struct making *making, uint32_t index)
{
    return ADDR + CPYTHON_POOL_HEADER_BYTES + (uint64_t)index * making->size;
}

/* A word of the block's own, where the list's links are. */
static void
link_block(struct making *making, uint32_t index, uint64_t next)
{
    memcpy(making->bytes + (block_at(making, index) - ADDR), &next,
           sizeof(next));
}

/*
 * n_carved blocks, all in use; the caller frees some. Static: it is larger than
 * a stack frame should be, and every test has a process of its own.
 */
static struct making *
carve(struct layout layout, uint32_t size, uint32_t n_carved)
{
    static struct making making;
    making = (struct making){
        .layout = layout,
        .size = size,
        .n_blocks = (layout.pool_bytes - CPYTHON_POOL_HEADER_BYTES) / size,
        .n_carved = n_carved,
    };
    *header_of(&making) = (struct cpython_pool){
        .count = n_carved,
        .nextpool = ADDR + 0x4000,
        .prevpool = ADDR - 0x4000,
        .arenaindex = 5,
        .szidx = size / layout.alignment - 1,
        .nextoffset = CPYTHON_POOL_HEADER_BYTES + n_carved * size,
        .maxnextoffset = layout.pool_bytes - size,
    };
    return &making;
}

/* obmalloc's: the freed block becomes the head of the list. */
static void
release(struct making *making, uint32_t index)
{
    struct cpython_pool *header = header_of(making);
    link_block(making, index, header->freeblock);
    header->freeblock = block_at(making, index);
    header->count--;
}

static struct pool
read_pool(struct making *making)
{
    return pool_read(ADDR, making->layout.pool_bytes, header_of(making));
}

static bool is_free[POOL_MOST_BLOCKS];

/* Walks a copy that ends where the pool does, for a sanitizer to see. */
static bool
walk(struct making *making)
{
    const struct pool pool = read_pool(making);
    char *exact = malloc(making->layout.pool_bytes);
    memcpy(exact, making->bytes, making->layout.pool_bytes);
    const bool is_sound = pool_walk(&pool, ADDR, exact, is_free);
    free(exact);
    return is_sound;
}

static struct making *
ordinary(void)
{
    return carve(layouts[2], 32, 100);
}

/* ---- states ------------------------------------------------------------ */

Test(pool, a_pool_that_was_never_carved_is_none)
{
    const struct cpython_pool zeroes = {0};
    check_eq(pool_read(ADDR, CPYTHON_LARGE_POOL, &zeroes).state, POOL_NONE);
}

Test(pool, every_class_of_every_layout_is_understood)
{
    for (size_t i = 0; i < countof(layouts); i++) {
        const struct layout layout = layouts[i];
        for (uint32_t size = layout.alignment; size <= CPYTHON_LARGEST_BLOCK;
             size += layout.alignment) {
            struct making *making = carve(layout, size, 3);
            release(making, 1);
            const struct pool pool = read_pool(making);
            cr_assert(pool.state == POOL_USED, "size %u of pools of %u", size,
                      layout.pool_bytes);
            check_eq(pool.size, size);
            check_eq(pool.n_used, 2);
            check_eq(pool.n_carved, 3);
            check_eq(pool.n_blocks, making->n_blocks);
            check_true(walk(making));
            check_false(is_free[0]);
            check_true(is_free[1]);
            check_false(is_free[2]);
        }
    }
}

Test(pool, a_full_pool_has_no_list)
{
    for (size_t i = 0; i < countof(layouts); i++) {
        for (uint32_t size = layouts[i].alignment; size <= 512;
             size += layouts[i].alignment) {
            struct making *making = carve(layouts[i], size, 0);
            making = carve(layouts[i], size, making->n_blocks);
            const struct pool pool = read_pool(making);
            check_eq(pool.state, POOL_FULL);
            check_eq(pool.n_used, pool.n_blocks);
            check_true(walk(making));
        }
    }
}

Test(pool, a_pool_whose_blocks_are_all_free_is_empty)
{
    struct making *making = ordinary();
    for (uint32_t i = 0; i < 100; i++)
        release(making, i);
    check_eq(read_pool(making).state, POOL_EMPTY);
    check_true(walk(making));
    for (uint32_t i = 0; i < 100; i++)
        check_true(is_free[i]);
}

Test(pool, a_list_in_any_order_is_walked)
{
    uint64_t state = 3;
    for (unsigned round = 0; round < 200; round++) {
        struct making *making = ordinary();
        bool was_freed[100] = {false};
        const unsigned n = 1 + (unsigned)check_random(&state) % 99;
        for (unsigned freed = 0; freed < n;) {
            const uint32_t index = (uint32_t)check_random(&state) % 100;
            if (was_freed[index])
                continue;
            was_freed[index] = true;
            release(making, index);
            freed++;
        }
        check_eq(read_pool(making).n_used, 100 - n);
        check_true(walk(making));
        check_eq(memcmp(is_free, was_freed, sizeof(was_freed)), 0);
    }
}

/* ---- headers that are none --------------------------------------------- */

#define CHECK_TORN(change)                               \
    do {                                                 \
        struct making *making = ordinary();              \
        release(making, 40);                             \
        check_eq(read_pool(making).state, POOL_USED);    \
        struct cpython_pool *header = header_of(making); \
        header->change;                                  \
        check_eq(read_pool(making).state, POOL_TORN);    \
    } while (0)

Test(pool, a_header_with_one_thing_wrong_is_torn)
{
    CHECK_TORN(count_padding = 1);
    CHECK_TORN(szidx = CPYTHON_N_CLASSES);
    CHECK_TORN(szidx = UINT32_MAX);
    CHECK_TORN(szidx++);
    CHECK_TORN(maxnextoffset++);
    CHECK_TORN(maxnextoffset = 0);
    CHECK_TORN(nextoffset = 0);
    CHECK_TORN(nextoffset = CPYTHON_POOL_HEADER_BYTES - 1);
    CHECK_TORN(nextoffset++);
    CHECK_TORN(nextoffset = UINT32_MAX);
    CHECK_TORN(nextoffset = CPYTHON_LARGE_POOL + 32);
    CHECK_TORN(count = 100);
    CHECK_TORN(count = 101);
    CHECK_TORN(count = UINT32_MAX);
}

Test(pool, a_list_whose_head_points_outside_is_torn)
{
    CHECK_TORN(freeblock = 1);
    CHECK_TORN(freeblock = ADDR);
    CHECK_TORN(freeblock = ADDR + 40);
    CHECK_TORN(freeblock++);
    CHECK_TORN(freeblock = ADDR + CPYTHON_POOL_HEADER_BYTES + 100 * 32);
    CHECK_TORN(freeblock = ADDR + CPYTHON_LARGE_POOL);
    CHECK_TORN(freeblock = UINT64_MAX);
}

Test(pool, no_list_and_not_full_is_torn)
{
    struct making *making = ordinary();
    check_eq(read_pool(making).state, POOL_TORN);
    making = carve(layouts[2], 32, 100);
    header_of(making)->count = 0;
    check_eq(read_pool(making).state, POOL_TORN);
}

Test(pool, a_full_count_with_a_list_is_torn)
{
    struct making *making = carve(layouts[2], 512, 31);
    check_eq(read_pool(making).state, POOL_FULL);
    header_of(making)->freeblock = block_at(making, 0);
    check_eq(read_pool(making).state, POOL_TORN);
}

Test(pool, a_pool_is_not_read_as_one_of_the_other_size)
{
    struct making *making = ordinary();
    release(making, 1);
    check_eq(pool_read(ADDR, CPYTHON_SMALL_POOL, header_of(making)).state,
             POOL_TORN);
}

Test(pool, random_words_are_hardly_ever_a_pool)
{
    uint64_t state = 11;
    unsigned n_pools = 0;
    for (unsigned round = 0; round < 1000000; round++) {
        uint64_t words[6];
        for (unsigned i = 0; i < countof(words); i++)
            words[i] = check_random(&state) & 0xffff;
        struct cpython_pool header;
        memcpy(&header, words, sizeof(header));
        const enum pool_state is =
            pool_read(ADDR, CPYTHON_LARGE_POOL, &header).state;
        n_pools += is == POOL_USED || is == POOL_FULL || is == POOL_EMPTY;
    }
    check_eq(n_pools, 0);
}

/* ---- lists that are torn ----------------------------------------------- */

Test(pool, a_torn_free_list_is_told)
{
    static const uint64_t nonsense[] = {
        1,
        ADDR,
        ADDR + CPYTHON_POOL_HEADER_BYTES - 32,
        ADDR + CPYTHON_POOL_HEADER_BYTES + 1,
        ADDR + CPYTHON_POOL_HEADER_BYTES + 100 * 32,
        ADDR + CPYTHON_LARGE_POOL,
        UINT64_MAX,
    };
    for (size_t i = 0; i < countof(nonsense); i++) {
        struct making *making = ordinary();
        release(making, 10);
        release(making, 20);
        check_true(walk(making));
        link_block(making, 20, nonsense[i]);
        cr_assert(!walk(making), "a link to %lx is followed", nonsense[i]);
    }
}

Test(pool, a_list_that_runs_in_a_circle_is_told)
{
    struct making *making = ordinary();
    for (uint32_t i = 10; i < 20; i++)
        release(making, i);
    link_block(making, 10, block_at(making, 15));
    check_false(walk(making));
    making = ordinary();
    release(making, 10);
    link_block(making, 10, block_at(making, 10));
    check_false(walk(making));
}

Test(pool, a_list_that_does_not_match_the_count_is_told)
{
    struct making *making = ordinary();
    release(making, 10);
    release(making, 20);
    header_of(making)->count++;
    check_false(walk(making));
    header_of(making)->count -= 2;
    check_false(walk(making));
    header_of(making)->count++;
    check_true(walk(making));
    link_block(making, 20, 0); /* block 10 is lost */
    check_false(walk(making));
}

Test(pool, any_content_is_walked_within_its_bounds)
{
    uint64_t state = 5;
    for (unsigned round = 0; round < 3000; round++) {
        const struct layout layout = layouts[round % countof(layouts)];
        const uint32_t size =
            layout.alignment * (1 + (uint32_t)check_random(&state) % 32);
        struct making *making = carve(layout, size, 2);
        const uint32_t n_carved =
            2 + (uint32_t)check_random(&state) % (making->n_blocks - 2);
        making = carve(layout, size, n_carved);
        release(making, (uint32_t)check_random(&state) % n_carved);
        for (uint32_t i = 0; i < n_carved; i++) {
            const uint32_t to = (uint32_t)check_random(&state) % n_carved;
            link_block(making, i, block_at(making, to));
        }
        check_false(walk(making)); /* no link is NULL: a circle */
    }
}
