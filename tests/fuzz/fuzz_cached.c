/*
 * The input is what a heap's first block holds, which has the size of a tcache,
 * then the start of an arena's state, then words to be put into other blocks.
 * The heap is whole. Whatever they say, only chunks in use are cached, each of
 * them once, and no list is followed for ever.
 */
#include <string.h>

#include "collector/census/cached.h"
#include "include/glibc.h"
#include "include/xalloc.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/collector/chunked.h"
#include "tests/unit/collector/fake_memory.h"

enum { PAGE = MEMORY_PAGE, HEAP_BYTES = 8 * PAGE, TCACHE = 0x290 };

#define HEAP ((uint64_t)0x555500000000)
#define STATE ((uint64_t)0x7f1000000000)

/* Chunks of 32 to 128 bytes, and where their blocks are. */
static uint64_t blocks[HEAP_BYTES / 32];
static size_t n_blocks;

static void
lay_chunks(char *bytes)
{
    struct chunked chunked = chunked_begin(bytes, 0);
    chunked_put(&chunked, TCACHE, true);
    n_blocks = 0;
    for (size_t i = 0; chunked.here < bytes + HEAP_BYTES - 1024; i++) {
        blocks[n_blocks++] =
            HEAP + (uint64_t)(chunked.here - bytes) + CHUNK_HEADER_BYTES;
        chunked_put(&chunked, 32 + i % 7 * 16, i % 9 != 8);
    }
    chunked_put(&chunked, (uint64_t)(bytes + HEAP_BYTES - chunked.here), false);
}

static size_t
pour(char *where, size_t most, const uint8_t *bytes, size_t n_bytes)
{
    const size_t n = n_bytes < most ? n_bytes : most;
    memcpy(where, bytes, n);
    return n;
}

/* Two bytes say which block, eight what its link is: the size of a free one
   stands behind it, so that links of free ones stay as they are. */
static void
put_links(struct memory *memory, const uint8_t *bytes, size_t n_bytes)
{
    for (; n_bytes >= 10; bytes += 10, n_bytes -= 10) {
        uint64_t link;
        const size_t which = bytes[0] + ((size_t)bytes[1] << 8);
        memcpy(&link, bytes + 2, sizeof(link));
        fake_memory_put(memory, blocks[which % n_blocks], link);
    }
}

static unsigned
no_visit(void *context, const struct chunk *chunk, const char *content,
         size_t n_bytes)
{
    (void)context, (void)chunk, (void)content, (void)n_bytes;
    return 0;
}

static bool
go_on(void *context)
{
    (void)context;
    return true;
}

static void
check_chunks(const struct heap *heap)
{
    fuzz_holds(!heap->is_torn);
    for (struct chunk chunk = chunks_first(&heap->chunks); chunk.n_bytes != 0;
         chunk = chunks_next(&heap->chunks, &chunk)) {
        if ((chunk.flags & CHUNK_FAST) != 0)
            fuzz_holds((chunk.flags & CHUNK_CACHED) != 0 &&
                       chunk.n_bytes < GLIBC_BIN_BYTES(GLIBC_N_FASTBINS));
        if ((chunk.flags & CHUNK_CACHED) != 0)
            fuzz_holds((chunk.flags & CHUNK_USED) != 0);
    }
}

static void
read_caches(struct memory *memory, struct heap *heap)
{
    struct memory_runs runs = fake_memory_runs(memory);
    struct maps maps = maps_parse(
        xstrdup("7f1000000000-7f1000002000 rw-p 0 fe:00 9 /libc.so.6\n"));
    struct window window;
    window_init(&window, memory, &runs);
    const struct census_patience patience = {.may_go_on = go_on};
    const struct heap_visitor visitor = {.visit = no_visit,
                                         .patience = &patience};
    heap_walk(heap, HEAP, &window, &visitor);
    const struct cached cached = {
        .memory = memory,
        .runs = &runs,
        .window = &window,
        .patience = &patience,
        .heaps = heap,
        .n_heaps = 1,
    };
    cached_read_tcache(&cached, HEAP + CHUNK_HEADER_BYTES);
    cached_read_tcache(&cached, blocks[0]);
    const uint64_t state = cached_find_state(&cached, &maps, heap);
    cached_read_fastbins(&cached, state != 0 ? state : STATE);
    window_finish(&window);
    maps_finish(&maps);
    memory_runs_finish(&runs);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct memory memory = {0};
    char *heap_bytes = fake_memory_add(&memory, HEAP, HEAP_BYTES);
    char *state = fake_memory_add(&memory, STATE, (uint64_t)2 * PAGE);
    lay_chunks(heap_bytes);
    size_t at =
        pour(heap_bytes + CHUNK_HEADER_BYTES, TCACHE - 16, bytes, n_bytes);
    at += pour(state, GLIBC_STATE_READ_BYTES, bytes + at, n_bytes - at);
    put_links(&memory, bytes + at, n_bytes - at);
    struct heap heap = {
        .kind = HEAP_main,
        .start = HEAP,
        .end = HEAP + HEAP_BYTES,
    };
    read_caches(&memory, &heap);
    check_chunks(&heap);
    fuzz_holds(memory.n_bad_reads == 0);
    heap_finish(&heap);
    fake_memory_finish(&memory);
    return 0;
}
