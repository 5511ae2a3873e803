/*
 * What a real malloc caches, and tcaches that only look so.
 */
#include "collector/census/cached.h"

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

enum { PAGE = MEMORY_PAGE };

TestSuite(cached, .timeout = 60);

/* ---- a real malloc ----------------------------------------------------- */

enum {
    N_SIZES = 6,
    N_BLOCKS = 40, /* of a size */
    N_TCACHED = 7, /* of one, by default */
    N_FREED = 19,  /* the others of these into a fastbin, if it has one */
    LARGEST_FAST = 128,
};

static const size_t sizes[N_SIZES] = {24, 40, 56, 120, 200, 1000};

/* What the child did with its blocks, shared. */
static struct {
    uint64_t blocks[N_SIZES][N_BLOCKS]; /* the first N_FREED are free */
} * done;

static void
fill_caches(void)
{
    void *blocks[N_SIZES][N_BLOCKS];
    for (size_t i = 0; i < N_SIZES; i++) {
        /* What was cached before is in use again. */
        for (size_t k = 0; k < 2000; k++)
            *(volatile char *)__libc_malloc(sizes[i]);
        for (size_t k = 0; k < N_BLOCKS; k++) {
            blocks[i][k] = __libc_malloc(sizes[i]);
            done->blocks[i][k] = (uintptr_t)blocks[i][k];
        }
    }
    for (size_t i = 0; i < N_SIZES; i++) {
        for (size_t k = 0; k < N_FREED; k++)
            __libc_free(blocks[i][k]);
    }
}

static unsigned
flags_of(const struct mallocs *mallocs, uint64_t block)
{
    const uint64_t at = block - CHUNK_HEADER_BYTES;
    struct heap *heap =
        heap_find(mallocs->heaps.heaps, mallocs->heaps.n_heaps, at);
    cr_assert_not_null(heap);
    const struct chunk chunk = chunks_find(&heap->chunks, at);
    check_true(chunk.n_bytes != 0);
    return chunk.flags;
}

static void
check_caches(const struct mallocs *mallocs)
{
    for (size_t i = 0; i < N_SIZES; i++) {
        for (size_t k = 0; k < N_BLOCKS; k++) {
            unsigned wanted = CHUNK_USED;
            if (k < N_TCACHED)
                wanted |= CHUNK_CACHED;
            else if (k < N_FREED && sizes[i] + 8 <= LARGEST_FAST)
                wanted |= CHUNK_CACHED | CHUNK_FAST;
            else if (k < N_FREED)
                continue; /* merged with their neighbours */
            const unsigned flags = flags_of(mallocs, done->blocks[i][k]);
            cr_assert(flags == wanted, "block %zu of %zu bytes is %u", k,
                      sizes[i], flags);
        }
    }
}

static void
share_done(void)
{
    done = mmap(NULL, sizeof(*done), PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    check_true(done != MAP_FAILED);
}

static void
fill_in_main(void *context)
{
    (void)context;
    fill_caches();
}

Test(cached, what_a_program_freed_into_caches_is_found_there)
{
    share_done();
    struct target target = target_start(fill_in_main, NULL);
    const struct census_request request = asking_request(NULL, 0);
    struct mallocs mallocs = mallocs_read(&target, &request);
    check_caches(&mallocs);
    mallocs_finish(&mallocs);
    target_end(&target);
}

static pthread_barrier_t barrier;

static void *
fill_and_wait(void *context)
{
    fill_caches();
    pthread_barrier_wait(&barrier);
    for (;;)
        pause();
    return context;
}

static void
fill_in_thread(void *context)
{
    pthread_t thread;
    pthread_barrier_init(&barrier, NULL, 2);
    pthread_create(&thread, NULL, fill_and_wait, context);
    pthread_barrier_wait(&barrier);
}

Test(cached, so_is_what_a_thread_of_it_did)
{
    share_done();
    struct target target = target_start(fill_in_thread, NULL);
    const struct census_request request = asking_request(NULL, 0);
    struct mallocs mallocs = mallocs_read(&target, &request);
    check_caches(&mallocs);
    mallocs_finish(&mallocs);
    target_end(&target);
}

/* ---- tcaches that are none --------------------------------------------- */

enum { N_CHUNKS = 200, TCACHE = 0x290, HEAP_BYTES = 16 * PAGE };

static char *area;            /* a heap */
static uint64_t at[N_CHUNKS]; /* chunks of 32 bytes in it, behind a tcache */

/* The tcache's: counts of two bytes, then heads. */
static void
set_bin(unsigned bin, uint64_t count, uint64_t head)
{
    char *block = area + CHUNK_HEADER_BYTES;
    memcpy(block + (size_t)bin * 2, &count, 2);
    memcpy(block + 128 + (size_t)bin * 8, &head, 8);
}

/* The link of a free chunk, as it is from 2.32 on. */
static void
link_to(size_t from, uint64_t block)
{
    const uint64_t here = at[from] + CHUNK_HEADER_BYTES;
    interpreter_put((char *)(uintptr_t)here, 0, block ^ (here >> 12));
}

static void
lay_heap(void)
{
    struct chunked chunked = chunked_begin(area, 0);
    chunked_put(&chunked, TCACHE, true);
    for (size_t i = 0; i < N_CHUNKS; i++)
        chunked_put(&chunked, 32, true);
    chunked_put(&chunked, (uint64_t)(area + HEAP_BYTES - chunked.here), false);
}

struct forged {
    void (*lay)(void);
    size_t n_cached; /* are found in spite of it */
    bool is_tcache;
};

static void
lay_forged(void *context)
{
    const struct forged *forged = context;
    lay_heap();
    forged->lay();
}

static unsigned
no_visit(void *context, const struct chunk *chunk, const char *content,
         size_t n_bytes)
{
    (void)context, (void)chunk, (void)content, (void)n_bytes;
    return 0;
}

static size_t
count_cached(const struct heap *heap)
{
    size_t n = 0;
    for (struct chunk chunk = chunks_first(&heap->chunks); chunk.n_bytes != 0;
         chunk = chunks_next(&heap->chunks, &chunk))
        n += (chunk.flags & CHUNK_CACHED) != 0;
    return n;
}

static void
check_forged(struct forged forged)
{
    area = target_reserve(HEAP_BYTES, PAGE);
    for (size_t i = 0; i < N_CHUNKS; i++)
        at[i] = (uintptr_t)area + TCACHE + 32 * i;
    struct target target = target_start(lay_forged, &forged);
    struct memory *memory = target_memory(&target, target.pid);
    struct memory_runs runs = {0};
    check_true(memory_scan(memory, 0, MEMORY_END, &runs));
    const struct census_patience patience = {.may_go_on = mallocs_go_on};
    const struct heap_visitor visitor = {.visit = no_visit,
                                         .patience = &patience};
    struct window window;
    window_init(&window, memory, &runs);
    struct heap heap = {.kind = HEAP_main,
                        .start = (uintptr_t)area,
                        .end = (uintptr_t)area + HEAP_BYTES};
    check_true(heap_walk(&heap, heap.start, &window, &visitor));
    const struct cached cached = {
        .memory = memory,
        .runs = &runs,
        .window = &window,
        .patience = &patience,
        .heaps = &heap,
        .n_heaps = 1,
    };
    check_eq(cached_read_tcache(&cached, heap.start + CHUNK_HEADER_BYTES),
             forged.is_tcache);
    check_eq(count_cached(&heap), forged.n_cached);
    heap_finish(&heap);
    window_finish(&window);
    memory_runs_finish(&runs);
    memory_destroy(memory);
    target_end(&target);
}

static uint64_t
block(size_t i)
{
    return at[i] + CHUNK_HEADER_BYTES;
}

static void
lay_good(void)
{
    set_bin(0, 3, block(0));
    link_to(0, block(5));
    link_to(5, block(9));
    link_to(9, 0);
}

Test(cached, a_list_is_followed_as_far_as_its_count)
{
    check_forged((struct forged){lay_good, 3, true});
}

static void
lay_unmangled(void)
{
    set_bin(0, 2, block(0));
    interpreter_put((char *)(uintptr_t)block(0), 0, block(1));
    interpreter_put((char *)(uintptr_t)block(1), 0, 0);
}

Test(cached, before_2_32_links_are_plain)
{
    check_forged((struct forged){lay_unmangled, 2, true});
}

static void
lay_circle(void)
{
    set_bin(0, 1000, block(0));
    link_to(0, block(1));
    link_to(1, block(0));
}

Test(cached, a_circle_ends_where_it_closes)
{
    check_forged((struct forged){lay_circle, 2, true});
}

static void
lay_outside(void)
{
    set_bin(0, 5, block(0));
    link_to(0, block(1));
    link_to(1, (uintptr_t)area + 100 * PAGE);
}

Test(cached, a_link_to_outside_ends_a_list)
{
    check_forged((struct forged){lay_outside, 2, true});
}

static void
lay_between(void)
{
    set_bin(0, 5, block(0));
    link_to(0, block(1) + 16);
}

Test(cached, a_link_to_no_chunk_ends_a_list)
{
    check_forged((struct forged){lay_between, 1, true});
}

static void
lay_count_too_great(void)
{
    set_bin(0, 2000, block(0));
}

static void
lay_count_without_head(void)
{
    set_bin(0, 3, block(0));
    set_bin(5, 1, 0);
}

static void
lay_head_without_count(void)
{
    set_bin(5, 0, block(0));
}

static void
lay_head_of_another_size(void)
{
    set_bin(1, 1, block(0)); /* of 48 bytes */
}

static void
lay_head_outside(void)
{
    set_bin(0, 1, 0x10000);
}

static void
lay_head_below_all(void)
{
    set_bin(0, 1, 8);
}

Test(cached, what_does_not_go_together_is_no_tcache)
{
    static void (*const lays[])(void) = {
        lay_count_too_great,    lay_count_without_head,
        lay_head_without_count, lay_head_of_another_size,
        lay_head_outside,       lay_head_below_all,
    };
    for (size_t i = 0; i < countof(lays); i++)
        check_forged((struct forged){lays[i], 0, false});
}

static void
lay_nothing(void)
{
}

Test(cached, an_empty_one_caches_nothing)
{
    check_forged((struct forged){lay_nothing, 0, true});
}

/* ---- what is worth a look ---------------------------------------------- */

Test(cached, only_a_block_with_small_counts_may_be_one)
{
    char bytes[HEAP_CONTENT_BYTES] = {0};
    check_true(cached_may_be_tcache(0x290, bytes, sizeof(bytes)));
    check_true(cached_may_be_tcache(0x250, bytes, 64));
    check_false(cached_may_be_tcache(0x290, bytes, 64)); /* not all of them */
    check_false(cached_may_be_tcache(0x280, bytes, sizeof(bytes)));
    bytes[126] = 7;
    check_true(cached_may_be_tcache(0x290, bytes, sizeof(bytes)));
    bytes[127] = 7;
    check_false(cached_may_be_tcache(0x290, bytes, sizeof(bytes)));
    check_true(cached_may_be_tcache(0x250, bytes, sizeof(bytes)));
}
