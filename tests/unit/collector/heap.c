#include "collector/census/heap.h"

#include <string.h>

#include "include/attrs.h"
#include "include/glibc.h"
#include "tests/unit/check.h"
#include "tests/unit/collector/chunked.h"
#include "tests/unit/collector/fake_memory.h"

enum { PAGE = MEMORY_PAGE, HEAP_BYTES = 64 * PAGE, MOST_CHUNKS = 20000 };

#define START ((uint64_t)0x555500000000)

/* A chunk as it was laid out; the last one is the top. */
struct laid {
    uint64_t n_bytes;
    bool is_used;
};

/* What the visitor was told. */
static struct {
    struct chunk chunks[MOST_CHUNKS];
    char contents[MOST_CHUNKS][HEAP_CONTENT_BYTES];
    size_t n_contents[MOST_CHUNKS];
    size_t n;
    int questions; /* left */
} told;

static struct memory memory;
static char *bytes; /* of the heap */

static void
set_up(void)
{
    bytes = fake_memory_add(&memory, START, HEAP_BYTES);
    told.questions = 1000;
}

static void
clean_up(void)
{
    check_eq(memory.n_bad_reads, 0);
    fake_memory_finish(&memory);
}

TestSuite(heap, .init = set_up, .fini = clean_up, .timeout = 20);

static unsigned
visit(void *context, const struct chunk *chunk, const char *content,
      size_t n_bytes)
{
    (void)context;
    check_le(n_bytes, HEAP_CONTENT_BYTES);
    if (told.n == MOST_CHUNKS)
        return 0;
    told.chunks[told.n] = *chunk;
    told.n_contents[told.n] = n_bytes;
    memcpy(told.contents[told.n++], content, n_bytes);
    return n_bytes != 0 && content[0] == 'P' ? CHUNK_PYTHON : 0;
}

static bool
may_go_on(void *context)
{
    (void)context;
    return told.questions-- > 0;
}

static struct heap
heap_of(enum recording_heap_kind kind)
{
    return (struct heap){
        .kind = kind,
        .start = START,
        .end = START + HEAP_BYTES,
    };
}

/* Walks by the pages there are; then another view of them may be taken. */
static bool
walk_by(struct heap *heap, const struct memory_runs *runs)
{
    const struct census_patience patience = {.may_go_on = may_go_on};
    const struct heap_visitor visitor = {
        .visit = visit,
        .patience = &patience,
    };
    struct window window;
    window_init(&window, &memory, runs);
    told.n = 0;
    const bool is_walked = heap_walk(heap, heap->start, &window, &visitor);
    window_finish(&window);
    return is_walked;
}

static bool
walk(struct heap *heap)
{
    struct memory_runs runs = fake_memory_runs(&memory);
    const bool is_walked = walk_by(heap, &runs);
    memory_runs_finish(&runs);
    return is_walked;
}

/* ---- a heap that is whole ---------------------------------------------- */

/* Lays them out, and a top up to the heap's end. */
static void
lay(const struct laid *laid, size_t n, uint64_t bits)
{
    struct chunked chunked = chunked_begin(bytes, bits);
    for (size_t i = 0; i < n; i++)
        chunked_put(&chunked, laid[i].n_bytes, laid[i].is_used);
    chunked_put(&chunked, (uint64_t)(bytes + HEAP_BYTES - chunked.here), false);
}

static void
check_chunks(const struct heap *heap, const struct laid *laid, size_t n)
{
    uint64_t at = heap->start;
    struct chunk chunk = chunks_first(&heap->chunks);
    for (size_t i = 0; i < n; i++) {
        check_eq(chunk.at, at);
        check_eq(chunk.n_bytes, laid[i].n_bytes);
        check_eq(chunk.flags & CHUNK_USED, laid[i].is_used ? CHUNK_USED : 0);
        at += laid[i].n_bytes;
        chunk = chunks_next(&heap->chunks, &chunk);
    }
}

static void
check_whole(const struct heap *heap)
{
    check_false(heap->is_torn);
    check_eq(heap->n_torn, 0);
    check_eq(heap->chunks.end, heap->end);
}

static const struct laid some[] = {
    {0x290, true },
    {32,    true },
    {48,    false},
    {4096,  true },
    {20000, false},
    {64,    true },
    {512,   true },
    {1024,  false},
    {32,    true },
};

Test(heap, a_walk_finds_each_chunk_and_the_top)
{
    lay(some, countof(some), 0);
    struct heap heap = heap_of(HEAP_main);
    check_true(walk(&heap));
    check_whole(&heap);
    check_chunks(&heap, some, countof(some));
    check_eq(heap.chunks.n_entries, countof(some) + 1);
    check_eq(told.n, 6); /* in use, all but the last: that is the top */
    heap_finish(&heap);
}

Test(heap, the_visitor_sees_the_blocks_in_use_and_says_whose_they_are)
{
    lay(some, countof(some), 0);
    memset(bytes + 16, 'P', 0x290 - 16);
    memset(bytes + 0x290 + 16, 'n', 24);
    struct heap heap = heap_of(HEAP_main);
    check_true(walk(&heap));
    check_eq(told.chunks[0].at, START);
    check_eq(told.chunks[0].n_bytes, 0x290);
    check_eq(told.n_contents[0], HEAP_CONTENT_BYTES);
    check_eq(told.contents[0][HEAP_CONTENT_BYTES - 1], 'P');
    check_eq(told.n_contents[1], 24); /* to its end, 8 behind the chunk */
    check_eq(told.contents[1][23], 'n');
    const struct chunk first = chunks_first(&heap.chunks);
    check_eq(first.flags, CHUNK_USED | CHUNK_PYTHON);
    check_eq(chunks_next(&heap.chunks, &first).flags, CHUNK_USED);
    heap_finish(&heap);
}

Test(heap, the_rest_of_a_block_may_not_be_resident)
{
    const struct laid laid[] = {
        {PAGE - 48, true},
        {8 * PAGE,  true},
        {8 * PAGE,  true},
    };
    lay(laid, countof(laid), 0);
    fake_memory_set(&memory, START + PAGE, START + 8 * PAGE, FAKE_ABSENT);
    fake_memory_set(&memory, START + 9 * PAGE, START + 16 * PAGE, FAKE_SWAPPED);
    struct heap heap = heap_of(HEAP_main);
    check_true(walk(&heap));
    check_whole(&heap);
    check_chunks(&heap, laid, countof(laid));
    check_eq(told.n_contents[1], 32);
    check_eq(told.n_contents[2], 32);
    heap_finish(&heap);
}

/* On a kernel before 6.7 that would be a reading of all its mappings. */
Test(heap, for_what_is_in_a_block_the_kernel_is_not_asked)
{
    struct chunked chunked = chunked_begin(bytes, 0);
    chunked_put(&chunked, PAGE - 48, true);
    for (unsigned i = 0; i < 31; i++)
        chunked_put(&chunked, (uint64_t)2 * PAGE, true);
    chunked_put(&chunked, (uint64_t)(bytes + HEAP_BYTES - chunked.here), false);
    for (unsigned i = 1; i < 64; i += 2)
        fake_memory_set(&memory, START + (uint64_t)i * PAGE,
                        START + (uint64_t)i * PAGE + PAGE, FAKE_ABSENT);
    struct heap heap = heap_of(HEAP_main);
    check_true(walk(&heap));
    check_whole(&heap);
    check_eq(memory.n_scans, 0);
    heap_finish(&heap);
}

Test(heap, pages_in_a_free_chunk_may_be_absent_or_swapped)
{
    const struct laid laid[] = {
        {32,            true },
        {20 * PAGE,     false},
        {32,            true },
        {20 * PAGE,     false},
        {PAGE - 2 * 32, true },
    };
    lay(laid, countof(laid), 0);
    fake_memory_set(&memory, START + PAGE, START + 20 * PAGE, FAKE_ABSENT);
    fake_memory_set(&memory, START + 21 * PAGE, START + 40 * PAGE,
                    FAKE_SWAPPED);
    fake_memory_set(&memory, START + 42 * PAGE, START + 64 * PAGE, FAKE_ABSENT);
    struct heap heap = heap_of(HEAP_main);
    check_true(walk(&heap));
    check_whole(&heap);
    check_chunks(&heap, laid, countof(laid));
    heap_finish(&heap);
}

Test(heap, the_bits_of_another_arena_are_a_threads)
{
    lay(some, countof(some), GLIBC_NON_MAIN_ARENA);
    struct heap heap = heap_of(HEAP_thread);
    check_true(walk(&heap));
    check_whole(&heap);
    check_chunks(&heap, some, countof(some));
    heap_finish(&heap);
    heap = heap_of(HEAP_main); /* which has no such chunk */
    check_false(walk(&heap));
    check_true(heap.is_torn);
    heap_finish(&heap);
}

/* ---- ends -------------------------------------------------------------- */

Test(heap, a_full_one_ends_in_two_fenceposts)
{
    struct chunked chunked = chunked_begin(bytes, GLIBC_NON_MAIN_ARENA);
    chunked_put(&chunked, HEAP_BYTES - 128 - 32, true);
    chunked_put(&chunked, 128, false);
    chunked_end_full(&chunked);
    check_eq(chunked.here - bytes, HEAP_BYTES);
    const struct laid laid[] = {
        {HEAP_BYTES - 128 - 32, true },
        {128,                   false},
        {16,                    true },
        {16,                    false},
    };
    struct heap heap = heap_of(HEAP_thread);
    check_true(walk(&heap));
    check_whole(&heap);
    check_chunks(&heap, laid, countof(laid));
    check_eq(told.n, 1); /* fenceposts have no block */
    heap_finish(&heap);
}

Test(heap, where_somebody_else_moved_the_break_fenceposts_stand)
{
    const struct laid laid[] = {
        {64, true},
        {16, true},
        {16, true},
        {64, true},
    };
    lay(laid, countof(laid), 0);
    struct heap heap = heap_of(HEAP_main);
    check_true(walk(&heap));
    check_whole(&heap);
    check_chunks(&heap, laid, countof(laid));
    heap_finish(&heap);
}

Test(heap, a_top_that_goes_on_behind_the_view_ends_with_it)
{
    struct chunked chunked = chunked_begin(bytes, 0);
    chunked_put(&chunked, 64, true);
    chunked_put(&chunked, HEAP_BYTES + 33 * PAGE, false);
    struct heap heap = heap_of(HEAP_main);
    check_true(walk(&heap));
    check_whole(&heap);
    check_eq(chunks_find(&heap.chunks, START + 64).n_bytes, HEAP_BYTES - 64);
    heap_finish(&heap);
}

/* The target has given the upper half of it back since the view. */
static struct heap
walk_trimmed(const char *maps)
{
    lay(some, countof(some), 0);
    struct memory_runs runs = fake_memory_runs(&memory);
    struct chunked chunked = chunked_begin(bytes, 0);
    for (size_t i = 0; i < countof(some); i++)
        chunked_put(&chunked, some[i].n_bytes, some[i].is_used);
    const uint64_t top = START + (uint64_t)(chunked.here - bytes);
    chunked_put(&chunked, START + 32 * PAGE - top, false);
    fake_memory_set(&memory, START + 32 * PAGE, START + HEAP_BYTES,
                    FAKE_ABSENT);
    memory.maps = maps;
    struct heap heap = heap_of(HEAP_main);
    check_true(walk_by(&heap, &runs));
    check_chunks(&heap, some, countof(some));
    check_eq(chunks_find(&heap.chunks, top).flags, 0);
    memory_runs_finish(&runs);
    memory.n_bad_reads = 0; /* of what was there a moment ago */
    return heap;
}

Test(heap, a_top_that_was_given_back_since_was_free)
{
    struct heap heap = walk_trimmed(
        "555500000000-555500010000 rw-p 00000000 00:00 0    [heap]\n"
        "555500010000-555500020000 rw-p 00000000 00:00 0    [heap]\n");
    check_whole(&heap);
    heap_finish(&heap);
}

Test(heap, a_top_behind_which_there_is_nothing_is_not_believed)
{
    static const char *const maps[] = {
        NULL,
        /* It ends elsewhere, is none, or something else is behind it. */
        "555500000000-555500021000 rw-p 00000000 00:00 0    [heap]\n",
        "555500000000-555500020000 rw-p 00000000 00:00 0\n",
        "555500000000-555500020000 rw-p 00000000 00:00 0    [heap]\n"
        "555500020000-555500040000 rw-p 00000000 00:00 0    [heap]\n",
    };
    for (size_t i = 0; i < countof(maps); i++) {
        struct heap heap = walk_trimmed(maps[i]);
        check_true(heap.is_torn);
        check_eq(chunks_find(&heap.chunks, heap.chunks.end).n_bytes, 0);
        heap_finish(&heap);
    }
}

Test(heap, a_header_that_is_not_resident_ends_it)
{
    const struct laid laid[] = {
        {64,       true},
        {2 * PAGE, true},
        {64,       true},
        {64,       true},
    };
    lay(laid, countof(laid), 0);
    fake_memory_set(&memory, START + 2 * PAGE, START + 3 * PAGE, FAKE_SWAPPED);
    struct heap heap = heap_of(HEAP_main);
    check_true(walk(&heap));
    check_true(heap.is_torn);
    check_eq(heap.chunks.end, START + 64); /* the next is not sure */
    heap_finish(&heap);

    fake_memory_set(&memory, START, START + PAGE, FAKE_ABSENT);
    heap = heap_of(HEAP_main);
    check_false(walk(&heap));
    check_true(heap.is_torn);
    heap_finish(&heap);
}

/* ---- what is no chunk -------------------------------------------------- */

static void
check_torn_at(uint64_t n_before)
{
    struct heap heap = heap_of(HEAP_main);
    walk(&heap);
    check_true(heap.is_torn);
    check_le(heap.n_torn, 8);
    check_le(heap.chunks.end, START + n_before);
    heap_finish(&heap);
}

Test(heap, a_size_that_is_none_tears_it)
{
    static const uint64_t sizes[] = {
        0,
        1,
        8 | GLIBC_PREV_INUSE,
        24 | GLIBC_PREV_INUSE,
        40 | GLIBC_PREV_INUSE,
        64 | GLIBC_PREV_INUSE | GLIBC_IS_MMAPPED,
        64 | GLIBC_PREV_INUSE | GLIBC_NON_MAIN_ARENA,
        ((uint64_t)1 << 47) | GLIBC_PREV_INUSE,
        UINT64_MAX,
        UINT64_MAX - 15,
    };
    for (size_t i = 0; i < countof(sizes); i++) {
        lay(some, countof(some), 0);
        fake_memory_put(&memory, START + 0x290 + 32 + 8, sizes[i]);
        check_torn_at(0x290 + 32);
    }
}

Test(heap, a_free_chunk_whose_size_does_not_stand_behind_it_tears_it)
{
    lay(some, countof(some), 0);
    fake_memory_put(&memory, START + 0x290 + 32 + 48, 64);
    check_torn_at(0x290 + 32);
}

/*
 * What lies before an arena's first chunk looks like one now and then: the size
 * of its memory, or an address below 64 TiB.
 */
Test(heap, the_first_chunk_says_that_before_it_all_is_in_use)
{
    fake_memory_put(&memory, START, 1);
    fake_memory_put(&memory, START + 8, HEAP_BYTES);
    struct heap heap = heap_of(HEAP_thread);
    check_false(walk(&heap));
    heap_finish(&heap);
}

Test(heap, a_threads_chunk_is_not_larger_than_its_heap_can_be)
{
    struct chunked chunked = chunked_begin(bytes, GLIBC_NON_MAIN_ARENA);
    chunked_put(&chunked, 64, true);
    chunked_put(&chunked, GLIBC_HEAP_RESERVE + 16, false);
    struct heap heap = heap_of(HEAP_thread);
    walk(&heap);
    check_true(heap.is_torn);
    heap_finish(&heap);
}

/* ---- a target that runs ------------------------------------------------ */

/* After so many reads the heap is whole. */
static unsigned reads_until_whole;

static void
mend(struct memory *torn, uint64_t addr, size_t n_bytes)
{
    (void)addr, (void)n_bytes;
    if (torn->n_reads == reads_until_whole)
        lay(some, countof(some), 0);
}

Test(heap, what_was_torn_for_a_moment_is_walked_again)
{
    lay(some, countof(some), 0);
    fake_memory_put(&memory, START + 0x290 + 32 + 8, 3);
    memory.on_read = mend;
    reads_until_whole = 3;
    struct heap heap = heap_of(HEAP_main);
    check_true(walk(&heap));
    check_false(heap.is_torn);
    check_eq(heap.n_torn, 3);
    check_eq(heap.chunks.end, heap.end);
    check_chunks(&heap, some, countof(some));
    heap_finish(&heap);
}

Test(heap, without_patience_it_ends_where_it_is)
{
    struct chunked chunked = chunked_begin(bytes, 0);
    while (chunked.here < bytes + HEAP_BYTES)
        chunked_put(&chunked, 32, true);
    told.questions = 1;
    struct heap heap = heap_of(HEAP_main);
    check_true(walk(&heap));
    check_true(heap.is_torn);
    check_true(heap.chunks.end < heap.end);
    check_ge(heap.chunks.end, START + PAGE);
    heap_finish(&heap);
}

/* ---- at random --------------------------------------------------------- */

static size_t
lay_random(uint64_t *state, struct laid *laid)
{
    struct chunked chunked = chunked_begin(bytes, 0);
    size_t n = 0;
    bool was_used = true;
    for (;;) {
        const uint64_t left = (uint64_t)(bytes + HEAP_BYTES - chunked.here);
        const uint64_t n_grains = check_random(state) % 16 == 0
                                      ? 2 + check_random(state) % 2000
                                      : 2 + check_random(state) % 30;
        if (n_grains * 16 + 32 > left)
            break;
        was_used = !was_used || check_random(state) % 3 != 0;
        laid[n] = (struct laid){n_grains * 16, was_used};
        chunked_put(&chunked, laid[n].n_bytes, laid[n].is_used);
        n++;
    }
    chunked_put(&chunked, (uint64_t)(bytes + HEAP_BYTES - chunked.here), false);
    return n;
}

Test(heap, any_layout_is_found_as_it_was_laid)
{
    static struct laid laid[HEAP_BYTES / 32];
    uint64_t state = 3;
    for (unsigned round = 0; round < 200; round++) {
        const size_t n = lay_random(&state, laid);
        struct heap heap = heap_of(HEAP_main);
        check_true(walk(&heap));
        check_whole(&heap);
        check_chunks(&heap, laid, n);
        heap_finish(&heap);
    }
}

/* Chunks lie in the heap, end to end, and are at least as long as can be. */
static void
check_sane(const struct heap *heap)
{
    uint64_t at = heap->start;
    for (struct chunk chunk = chunks_first(&heap->chunks); chunk.n_bytes != 0;
         chunk = chunks_next(&heap->chunks, &chunk)) {
        check_eq(chunk.at, at);
        check_eq(chunk.n_bytes % CHUNK_GRAIN, 0);
        at += chunk.n_bytes;
    }
    check_eq(at, heap->chunks.end);
    check_le(at, heap->end);
    check_eq(at == heap->end, !heap->is_torn);
}

Test(heap, any_damage_leaves_chunks_that_lie_in_it)
{
    static struct laid laid[HEAP_BYTES / 32];
    uint64_t state = 4;
    for (unsigned round = 0; round < 500; round++) {
        lay_random(&state, laid);
        const unsigned n_hits = 1 + (unsigned)check_random(&state) % 8;
        for (unsigned i = 0; i < n_hits; i++) {
            const uint64_t at = check_random(&state) % (HEAP_BYTES / 8) * 8;
            fake_memory_put(&memory, START + at,
                            check_random(&state) >> check_random(&state) % 64);
        }
        const enum recording_heap_kind kind =
            check_random(&state) % 2 == 0 ? HEAP_main : HEAP_thread;
        struct heap heap = heap_of(kind);
        walk(&heap);
        check_sane(&heap);
        heap_finish(&heap);
    }
}
