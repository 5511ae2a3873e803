#include "preload/bootstrap.h"

#include <pthread.h>
#include <stdint.h>

#include "include/attrs.h"
#include "tests/unit/check.h"

TestSuite(bootstrap, .timeout = 20);

Test(bootstrap, every_block_is_aligned_as_asked)
{
    for (size_t alignment = 1; alignment <= 65536; alignment *= 2) {
        for (size_t size = 0; size < 100; size += 7) {
            const void *block = bootstrap_alloc(alignment, size);
            cr_assert_not_null(block);
            const size_t wanted = alignment < 16 ? 16 : alignment;
            cr_assert((uintptr_t)block % wanted == 0, "%p for %zu", block,
                      alignment);
        }
    }
    check_eq((uintptr_t)bootstrap_alloc(0, 10) % 16, 0);
}

Test(bootstrap, every_block_is_zeroed_and_its_own)
{
    enum { BLOCKS = 3000 };
    static unsigned char *blocks[BLOCKS];
    static size_t sizes[BLOCKS];
    uint64_t state = 1;
    for (unsigned i = 0; i < BLOCKS; i++) {
        sizes[i] = check_random(&state) % 600;
        blocks[i] = bootstrap_alloc(0, sizes[i]);
        cr_assert_not_null(blocks[i]);
        check_ge(bootstrap_usable_size(blocks[i]), sizes[i]);
        for (size_t at = 0; at < sizes[i]; at++)
            check_eq(blocks[i][at], 0);
        memset(blocks[i], (int)i & 0xff, bootstrap_usable_size(blocks[i]));
    }
    for (unsigned i = 0; i < BLOCKS; i++) {
        for (size_t at = 0; at < sizes[i]; at++)
            cr_assert(blocks[i][at] == (i & 0xff), "block %u was written over",
                      i);
    }
}

Test(bootstrap, it_grows_past_its_first_memory)
{
    size_t total = 0;
    while (total < 8 * 1024 * 1024) {
        unsigned char *block = bootstrap_alloc(0, 1000);
        cr_assert_not_null(block);
        memset(block, 1, 1000);
        total += 1000;
    }
}

Test(bootstrap, a_block_may_be_larger_than_a_chunk)
{
    const size_t n_bytes = 5 * 1024 * 1024;
    unsigned char *block = bootstrap_alloc(4096, n_bytes);
    cr_assert_not_null(block);
    check_eq((uintptr_t)block % 4096, 0);
    memset(block, 1, n_bytes);
    check_ge(bootstrap_usable_size(block), n_bytes);
    check_true(bootstrap_owns(block));
    check_true(bootstrap_owns(block + n_bytes - 1));
}

Test(bootstrap, what_it_gave_it_owns_and_nothing_else)
{
    static int elsewhere;
    int on_stack;
    for (unsigned i = 0; i < 200; i++) {
        const unsigned char *block = bootstrap_alloc(0, 10000);
        check_true(bootstrap_owns(block));
        check_true(bootstrap_owns(block + 9999));
    }
    check_false(bootstrap_owns(&elsewhere));
    check_false(bootstrap_owns(&on_stack));
    check_false(bootstrap_owns(NULL));
    check_false(bootstrap_owns((void *)UINTPTR_MAX));
}

/* What sends the hooks' hot paths to the slow path. */
Test(bootstrap, the_word_before_a_block_looks_like_an_mmapped_chunk)
{
    for (size_t size = 1; size < 1000; size += 13) {
        const uint64_t *block = bootstrap_alloc(0, size);
        check_eq(block[-1] & 7, 2);
        check_eq((block[-1] & ~(uint64_t)7) - 16, bootstrap_usable_size(block));
    }
}

Test(bootstrap, what_the_kernel_does_not_have_is_refused)
{
    cr_assert_null(bootstrap_alloc(0, SIZE_MAX));
    cr_assert_null(bootstrap_alloc(0, SIZE_MAX / 2));
    cr_assert_null(bootstrap_alloc(SIZE_MAX / 2 + 1, 16));
    cr_assert_null(bootstrap_alloc(0, (size_t)1 << 50));
    cr_assert_not_null(bootstrap_alloc(0, 100));
}

/*
 * Fails while a refused request of nearly half of all numbers moves the fill
 * mark all the same: the second one brings it round to memory that is in use.
 */
Test(bootstrap, refusals_do_not_give_memory_out_twice)
{
    unsigned char *blocks[64];
    for (unsigned i = 0; i < countof(blocks); i++) {
        blocks[i] = bootstrap_alloc(0, 256);
        memset(blocks[i], 0xaa, 256);
    }
    const size_t nearly_half = SIZE_MAX / 2 - 8191;
    cr_assert_null(bootstrap_alloc(0, nearly_half));
    cr_assert_null(bootstrap_alloc(0, nearly_half));
    unsigned char *late = bootstrap_alloc(0, 256);
    cr_assert_not_null(late);
    for (unsigned i = 0; i < countof(blocks); i++)
        cr_assert(late + 256 <= blocks[i] || late >= blocks[i] + 256,
                  "block %u is given out again", i);
}

Test(bootstrap, when_all_chunks_are_used_up_it_says_no)
{
    unsigned n = 0;
    while (n < 1000 && bootstrap_alloc(0, 1024 * 1024) != NULL)
        n++;
    check_ge(n, 32);
    check_le(n, 64);
    cr_assert_null(bootstrap_alloc(0, 1024 * 1024));
}

/* ---- threads ----------------------------------------------------------- */

enum { THREADS = 4, BLOCKS = 2000, BLOCK_BYTES = 200 };

static unsigned char *given[THREADS][BLOCKS];

static void *
allocate(void *context)
{
    unsigned char **mine = context;
    const int mark = (int)((mine - &given[0][0]) / BLOCKS) + 1;
    for (unsigned i = 0; i < BLOCKS; i++) {
        mine[i] = bootstrap_alloc(0, BLOCK_BYTES);
        if (mine[i] == NULL)
            return NULL;
        memset(mine[i], mark, BLOCK_BYTES);
    }
    return context;
}

Test(bootstrap, threads_are_never_given_the_same_memory)
{
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, allocate, given[i]);
    for (unsigned i = 0; i < THREADS; i++) {
        void *is_fine;
        pthread_join(threads[i], &is_fine);
        cr_assert_not_null(is_fine);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        for (unsigned block = 0; block < BLOCKS; block++) {
            for (unsigned at = 0; at < BLOCK_BYTES; at++)
                check_eq(given[i][block][at], i + 1);
        }
    }
}
