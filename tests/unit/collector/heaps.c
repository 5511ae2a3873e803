/*
 * The heaps of a child that runs glibc's own malloc, and of children that only
 * say they have some.
 */
#include "collector/census/heaps.h"

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "include/attrs.h"
#include "include/glibc.h"
#include "tests/unit/check.h"
#include "tests/unit/collector/asking.h"
#include "tests/unit/collector/chunked.h"
#include "tests/unit/collector/interpreter.h"
#include "tests/unit/collector/mallocs.h"

enum { PAGE = MEMORY_PAGE, N_BLOCKS = 3000 };

TestSuite(heaps, .timeout = 60);

static struct mallocs_truth *truths; /* of the heaps, shared */
static uint64_t main_start;

/* ---- a real malloc ----------------------------------------------------- */

/* Blocks of all sizes come and go. */
static void
allocate(uint64_t seed)
{
    static _Thread_local void *blocks[N_BLOCKS];
    uint64_t state = seed;
    for (unsigned i = 0; i < 20 * N_BLOCKS; i++) {
        void **block = &blocks[check_random(&state) % N_BLOCKS];
        if (*block != NULL && check_random(&state) % 8 != 0) {
            __libc_free(*block);
            *block = NULL;
        } else if (*block == NULL) {
            *block = __libc_malloc(check_random(&state) % 16 == 0
                                       ? check_random(&state) % 100000
                                       : check_random(&state) % 700);
        }
    }
}

static void
allocate_in_main(void *context)
{
    (void)context;
    allocate(1);
    mallocs_walk_main(&truths[0], main_start);
}

Test(heaps, the_main_heap_is_found_chunk_by_chunk)
{
    main_start = mallocs_main_start();
    truths = mallocs_share(1);
    struct target target = target_start(allocate_in_main, NULL);
    const struct census_request request = asking_request(NULL, 0);
    struct mallocs mallocs = mallocs_read(&target, &request);
    check_ge(mallocs.heaps.n_heaps, 1);
    check_eq(mallocs.heaps.heaps[0].kind, HEAP_main);
    check_true(mallocs.heaps.heaps[0].arena != 0); /* in libc's data */
    check_ge(truths[0].n_chunks, 1000);
    mallocs_check(&mallocs, &truths[0]);
    mallocs_finish(&mallocs);
    target_end(&target);
}

static pthread_barrier_t barrier;

static void *
allocate_in_thread(void *context)
{
    struct mallocs_truth *truth = context;
    pthread_barrier_wait(&barrier); /* or it gets another's arena */
    const void *first = __libc_malloc(100);
    allocate((uintptr_t)truth);
    mallocs_walk_first(truth, first);
    pthread_barrier_wait(&barrier);
    return NULL;
}

/* What a thread cached was freed at its end, and its heap perhaps trimmed. */
static void
walk_again(size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const uint64_t base = truths[i].start & ~(GLIBC_HEAP_RESERVE - 1);
        const struct glibc_heap_info *info =
            (const struct glibc_heap_info *)(uintptr_t)base;
        mallocs_walk(&truths[i], truths[i].start, base + info->size);
    }
}

/* At the same time, each with an arena of its own. */
static void
allocate_in_threads(void *context)
{
    const size_t n = *(const size_t *)context;
    pthread_t threads[8];
    pthread_barrier_init(&barrier, NULL, (unsigned)n);
    for (size_t i = 0; i < n; i++)
        pthread_create(&threads[i], NULL, allocate_in_thread, &truths[i]);
    for (size_t i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    walk_again(n);
}

Test(heaps, those_of_threads_are_found_chunk_by_chunk)
{
    size_t n = 6;
    truths = mallocs_share(n);
    main_start = mallocs_main_start();
    struct target target = target_start(allocate_in_threads, &n);
    const struct census_request request = asking_request(NULL, 0);
    struct mallocs mallocs = mallocs_read(&target, &request);
    check_ge(mallocs.heaps.n_heaps, n + 1);
    for (size_t i = 0; i < n; i++) {
        check_ge(truths[i].n_chunks, 1000);
        mallocs_check(&mallocs, &truths[i]);
        check_eq(mallocs_heap(&mallocs, truths[i].start)->kind, HEAP_thread);
    }
    for (size_t i = 1; i < mallocs.heaps.n_heaps; i++)
        check_true(mallocs.heaps.heaps[i - 1].end <=
                   mallocs.heaps.heaps[i].start);
    mallocs_finish(&mallocs);
    target_end(&target);
}

/* Three heaps of one arena: 200 MB, of which only headers are touched. */
static void *
overflow(void *context)
{
    (void)context;
    const void *first = __libc_malloc(100);
    const void *last = first;
    for (unsigned i = 0; i < 2000; i++)
        last = __libc_malloc(100000);
    const uint64_t heap = (uintptr_t)last & ~(GLIBC_HEAP_RESERVE - 1);
    uint64_t between = 0; /* the heap before it */
    memcpy(&between, (const char *)(uintptr_t)heap + 8, sizeof(between));
    mallocs_walk_first(&truths[0], first);
    mallocs_walk_further(&truths[1], last);
    mallocs_walk_further(&truths[2], (const void *)(uintptr_t)(between + 1));
    return NULL;
}

static void
overflow_in_thread(void *context)
{
    pthread_t thread;
    pthread_create(&thread, NULL, overflow, context);
    pthread_join(thread, NULL);
    walk_again(3);
}

Test(heaps, an_arena_may_have_several)
{
    truths = mallocs_share(3);
    main_start = mallocs_main_start();
    struct target target = target_start(overflow_in_thread, NULL);
    const struct census_request request = asking_request(NULL, 0);
    struct mallocs mallocs = mallocs_read(&target, &request);
    check_ge(mallocs.heaps.n_heaps, 1 + 3);
    for (size_t i = 0; i < 3; i++) {
        mallocs_check(&mallocs, &truths[i]);
        check_eq(mallocs_heap(&mallocs, truths[i].start)->arena,
                 mallocs_heap(&mallocs, truths[0].start)->arena);
    }
    mallocs_finish(&mallocs);
    target_end(&target);
}

/* ---- mmapped chunks ---------------------------------------------------- */

enum { LARGE = 1 << 20 };

static char **larges; /* shared */

static void
allocate_large(void *context)
{
    (void)context;
    for (unsigned i = 0; i < 3; i++) {
        larges[i] = __libc_malloc(LARGE);
        memset(larges[i], 1, LARGE);
    }
}

static struct census_block
block_of(const void *addr, uint64_t n_bytes)
{
    return (struct census_block){.addr = (uintptr_t)addr, .n_bytes = n_bytes};
}

static char **
share_larges(void)
{
    return mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                -1, 0);
}

Test(heaps, a_mmapped_chunk_is_its_mapping)
{
    larges = share_larges();
    struct target target = target_start(allocate_large, NULL);
    const uint64_t usable = LARGE + PAGE - CHUNK_HEADER_BYTES;
    struct census_request request = asking_request(NULL, 0);
    struct census *before = asking_take(&target, &request);
    struct census_block blocks[] = {
        block_of(larges[2], usable),
        block_of(larges[1], usable),
        block_of(larges[0], usable),
    };
    blocks[1].is_python = true;
    request.blocks = blocks;
    request.n_blocks = countof(blocks);
    struct census *census = asking_take(&target, &request);
    const struct census_heap *row = &census->heaps[census->n_heaps - 1];
    check_eq(row->kind, HEAP_mmapped);
    check_eq(row->address, 0);
    check_eq(row->n_chunks, 3);
    check_eq(row->live_bytes, 3 * usable);
    check_eq(row->resident_bytes, 3 * (LARGE + PAGE));
    check_eq(census->ledger[CAUSE_python_large], usable);
    check_eq(census->ledger[CAUSE_native_live],
             before->ledger[CAUSE_native_live] + 2 * usable);
    check_eq(census->ledger[CAUSE_native_overhead],
             before->ledger[CAUSE_native_overhead] + 3 * CHUNK_HEADER_BYTES);
    census_destroy(before);
    census_destroy(census);
    target_end(&target);
}

/* glibc 2.43's: the mapping's last 8 bytes are its next chunk's, as it were. */
Test(heaps, a_mmapped_chunk_may_end_before_its_mapping)
{
    larges = share_larges();
    struct target target = target_start(allocate_large, NULL);
    struct census_request request = asking_request(NULL, 0);
    const uint64_t usable = LARGE + PAGE - CHUNK_HEADER_BYTES - 8;
    struct census_block block = block_of(larges[0], usable);
    struct census *before = asking_take(&target, &request);
    request.blocks = &block;
    request.n_blocks = 1;
    struct census *census = asking_take(&target, &request);
    const struct census_heap *row = &census->heaps[census->n_heaps - 1];
    check_eq(row->kind, HEAP_mmapped);
    check_eq(row->resident_bytes, LARGE + PAGE);
    check_eq(row->live_bytes, usable);
    check_eq(census->ledger[CAUSE_native_live],
             before->ledger[CAUSE_native_live] + usable);
    check_eq(census->ledger[CAUSE_native_overhead],
             before->ledger[CAUSE_native_overhead] + CHUNK_HEADER_BYTES + 8);
    census_destroy(before);
    census_destroy(census);
    target_end(&target);
}

/* It was there when the pages were looked at; its header says nothing now. */
Test(heaps, one_that_has_gone_since_is_known_by_its_bounds)
{
    larges = share_larges();
    struct target target = target_start(allocate_large, NULL);
    struct census_request request = asking_request(NULL, 0);
    struct census_block block =
        block_of(larges[0], LARGE + PAGE - CHUNK_HEADER_BYTES);
    block.is_gone = true;
    request.blocks = &block;
    request.n_blocks = 1;
    struct census *census = asking_take(&target, &request);
    check_eq(census->heaps[census->n_heaps - 1].kind, HEAP_mmapped);
    census_destroy(census);
    target_end(&target);
}

/* By the time that it is told it has grown, or shrunk: it was there before. */
Test(heaps, one_of_another_size_is_what_was_there_of_it)
{
    larges = share_larges();
    struct target target = target_start(allocate_large, NULL);
    const uint64_t usable = LARGE + PAGE - CHUNK_HEADER_BYTES;
    struct census_request request = asking_request(NULL, 0);
    struct census_block blocks[] = {
        block_of(larges[0], usable),
        block_of(larges[0], 0),
    };
    blocks[0].is_gone = true;
    request.blocks = blocks;
    request.n_blocks = 2;
    static const uint64_t sizes[] = {LARGE / 2 + PAGE - 16,
                                     1000 * (uint64_t)LARGE + PAGE - 16};
    for (size_t i = 0; i < countof(sizes); i++) {
        blocks[1].n_bytes = sizes[i];
        struct census *census = asking_take(&target, &request);
        const struct census_heap *row = &census->heaps[census->n_heaps - 1];
        check_eq(row->kind, HEAP_mmapped);
        check_eq(row->resident_bytes, LARGE + PAGE);
        census_destroy(census);
    }
    target_end(&target);
}

Test(heaps, mmapped_chunks_that_lie_or_overlap_are_dealt_once)
{
    larges = share_larges();
    struct target target = target_start(allocate_large, NULL);
    struct census_block blocks[] = {
        block_of(NULL, 0),
        block_of(NULL, PAGE),
        block_of((void *)16, PAGE - 16),
        block_of((void *)16, UINT64_MAX - 15),
        block_of(larges[2], LARGE + PAGE - 16),
        block_of(larges[2], LARGE + PAGE - 16), /* twice */
        block_of(larges[2] + PAGE, LARGE - 16),
        block_of(larges[1] - LARGE, 2 * LARGE + PAGE - 16),
        block_of(larges[0], 1000 * (uint64_t)LARGE + PAGE - 16),
        block_of(larges[0] + 2 * PAGE, PAGE - 16),
        block_of((void *)(UINTPTR_MAX - 15), 16),
        block_of((void *)(UINTPTR_MAX - 4095), PAGE),
    };
    struct census_request request = asking_request(NULL, 0);
    request.blocks = blocks;
    request.n_blocks = countof(blocks);
    census_destroy(asking_take(&target, &request)); /* which adds up */
    for (size_t i = 0; i < countof(blocks); i++)
        blocks[i].is_gone = i % 3 != 0;
    census_destroy(asking_take(&target, &request));
    target_end(&target);
}

/* ---- heaps that are none ----------------------------------------------- */

static char *area; /* of three places where a heap may begin */

static void
put_info(char *at, const struct glibc_heap_info *info)
{
    memcpy(at, info, sizeof(*info));
}

/* Infos that say the impossible, before chunks that are fine. */
static void
lay_forged(void *context)
{
    const struct glibc_heap_info *info = context;
    for (uint64_t i = 0; i < 3; i++) {
        char *at = area + i * GLIBC_HEAP_RESERVE;
        struct glibc_heap_info its = *info;
        its.arena += (uintptr_t)at;
        put_info(at, &its);
        struct chunked chunked =
            chunked_begin(at + 48 + 2208, GLIBC_NON_MAIN_ARENA);
        for (unsigned n = 0; n < 100; n++)
            chunked_put(&chunked, 1040, n % 2 == 0);
    }
}

Test(heaps, what_no_heap_would_say_of_itself_is_none)
{
    static const struct glibc_heap_info infos[] = {
        {0,              0, 33 * PAGE,      33 * PAGE },
        {16,             0, 33 * PAGE,      33 * PAGE },
        {50,             0, 33 * PAGE,      33 * PAGE },
        {48,             0, 0,              33 * PAGE },
        {48,             0, 33 * PAGE + 16, 34 * PAGE },
        {48,             0, 33 * PAGE,      32 * PAGE },
        {48,             0, 33 * PAGE,      UINT64_MAX},
        {48,             0, UINT64_MAX,     UINT64_MAX},
        {48,             0, 1 << 27,        1 << 27   },
        {48,             8, 33 * PAGE,      33 * PAGE },
        {UINT64_MAX / 2, 0, 33 * PAGE,      33 * PAGE },
    };
    area = target_reserve(3 * GLIBC_HEAP_RESERVE, GLIBC_HEAP_RESERVE);
    for (size_t i = 0; i < countof(infos); i++) {
        struct glibc_heap_info info = infos[i];
        struct target target = target_start(lay_forged, &info);
        const struct census_request request = asking_request(NULL, 0);
        struct census *census = asking_take(&target, &request);
        for (size_t k = 0; k < census->n_heaps; k++)
            check_true(census->heaps[k].address - (uintptr_t)area >=
                       3 * GLIBC_HEAP_RESERVE);
        census_destroy(census);
        target_end(&target);
    }
}

Test(heaps, one_that_is_laid_out_as_such_is_one)
{
    area = target_reserve(3 * GLIBC_HEAP_RESERVE, GLIBC_HEAP_RESERVE);
    struct glibc_heap_info info = {48, 0, 33 * PAGE, 33 * PAGE};
    struct target target = target_start(lay_forged, &info);
    const struct census_request request = asking_request(NULL, 0);
    struct census *census = asking_take(&target, &request);
    unsigned n_found = 0;
    for (size_t i = 0; i < census->n_heaps; i++)
        n_found +=
            census->heaps[i].address - (uintptr_t)area < 3 * GLIBC_HEAP_RESERVE;
    check_eq(n_found, 3);
    census_destroy(census);
    target_end(&target);
}

/* ---- whatever it says -------------------------------------------------- */

/* Words of all kinds, of which many are sizes, addresses and heads of heaps. */
static void
lay_noise(void *context)
{
    uint64_t state = *(const uint64_t *)context;
    for (uint64_t i = 0; i < 3; i++) {
        char *at = area + i * GLIBC_HEAP_RESERVE;
        const uint64_t n_pages = 1 + check_random(&state) % 64;
        put_info(at, &(struct glibc_heap_info){
                         (uintptr_t)area +
                             check_random(&state) % 3 * (1u << 26) + 48,
                         i == 0 ? 0 : (uintptr_t)area, n_pages * PAGE,
                         GLIBC_HEAP_RESERVE});
        struct chunked chunked =
            chunked_begin(at + 48 + (i == 0 ? 2208 : 0), 4);
        while (chunked.here < at + n_pages * PAGE)
            chunked_put(&chunked, 16 * (1 + check_random(&state) % 200),
                        check_random(&state) % 3 != 0);
        for (unsigned n = 0; n < check_random(&state) % 40; n++)
            interpreter_put(at + PAGE,
                            (uint32_t)(check_random(&state) % (60 * PAGE)),
                            check_random(&state) >> check_random(&state) % 64);
        madvise(at + check_random(&state) % 64 * PAGE, 4 * PAGE, MADV_DONTNEED);
    }
}

static void
make_up(uint64_t *state, struct census_block *blocks, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        blocks[i].addr = (uintptr_t)area + 16 +
                         check_random(state) % 3 * GLIBC_HEAP_RESERVE +
                         check_random(state) % 100 * PAGE;
        blocks[i].n_bytes = (1 + check_random(state) % 50) * PAGE - 16;
        blocks[i].is_python = check_random(state) % 2 == 0;
        blocks[i].is_gone = check_random(state) % 2 == 0;
    }
}

Test(heaps, whatever_a_target_says_every_byte_is_dealt_once)
{
    area = target_reserve(3 * GLIBC_HEAP_RESERVE, GLIBC_HEAP_RESERVE);
    for (uint64_t seed = 0; seed < 40; seed++) {
        uint64_t state = seed;
        struct target target = target_start(lay_noise, &state);
        struct census_block blocks[30];
        make_up(&state, blocks, countof(blocks));
        uint64_t control_blocks[] = {(uintptr_t)area + 7 * PAGE};
        struct census_request request = asking_request(NULL, 0);
        request.blocks = blocks;
        request.n_blocks = countof(blocks);
        request.control_blocks = control_blocks;
        request.n_control_blocks = 1;
        request.wants_proofs = true;
        struct census *census = asking_take(&target, &request);
        uint64_t proved = 0;
        for (size_t i = 0; i < census->n_proofs; i++)
            proved += census->proofs[i].n_bytes;
        check_eq(proved, census->rss_bytes);
        census_destroy(census);
        target_end(&target);
    }
}
