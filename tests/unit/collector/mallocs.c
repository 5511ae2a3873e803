#include "tests/unit/collector/mallocs.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "collector/census/ranges.h"
#include "include/glibc.h"
#include "tests/unit/check.h"

/* sizeof(struct malloc_state) from 2.27 to 2.41. */
enum { STATE_BYTES = 2200 };

/* ---- in the target ----------------------------------------------------- */

struct mallocs_truth *
mallocs_share(size_t n)
{
    struct mallocs_truth *truths =
        mmap(NULL, n * sizeof(*truths), PROT_READ | PROT_WRITE,
             MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    check_true(truths != MAP_FAILED);
    return truths;
}

uint64_t
mallocs_main_start(void)
{
    __libc_free(__libc_malloc(1)); /* that there is one */
    const struct target self = {.pid = getpid()};
    struct memory *memory = target_memory(&self, 0);
    struct maps maps = maps_parse(memory_maps_text(memory));
    uint64_t start = 0;
    for (size_t i = maps.n_maps; i-- > 0;) {
        if (strcmp(maps.maps[i].name, "[heap]") == 0)
            start = maps.maps[i].start;
    }
    maps_finish(&maps);
    memory_destroy(memory);
    check_true(start != 0);
    return start;
}

static uint64_t
word_at(uint64_t at)
{
    return *(const uint64_t *)(uintptr_t)at;
}

void
mallocs_walk(struct mallocs_truth *truth, uint64_t first, uint64_t end)
{
    truth->start = first;
    truth->end = end;
    truth->n_chunks = 0;
    for (uint64_t at = first; at < end;) {
        uint64_t n_bytes = word_at(at + 8) & ~GLIBC_SIZE_BITS;
        if (n_bytes == 0)
            n_bytes = end - at; /* the last fencepost */
        const uint64_t next = at + n_bytes;
        if (truth->n_chunks < MALLOCS_MOST_CHUNKS)
            truth->chunks[truth->n_chunks++] = (struct mallocs_chunk){
                .at = at,
                .n_bytes = n_bytes,
                .is_used =
                    next < end && (word_at(next + 8) & GLIBC_PREV_INUSE) != 0,
            };
        at = next;
    }
}

void
mallocs_walk_main(struct mallocs_truth *truth, uint64_t start)
{
    mallocs_walk(truth, start, (uintptr_t)sbrk(0));
}

static uint64_t
heap_of(const void *block)
{
    return (uintptr_t)block & ~(GLIBC_HEAP_RESERVE - 1);
}

void
mallocs_walk_first(struct mallocs_truth *truth, const void *block)
{
    const uint64_t heap = heap_of(block);
    const uint64_t behind = word_at(heap) + STATE_BYTES;
    mallocs_walk(truth, (behind + CHUNK_GRAIN - 1) & ~(uint64_t)15,
                 heap + word_at(heap + 16));
}

void
mallocs_walk_further(struct mallocs_truth *truth, const void *block)
{
    const uint64_t heap = heap_of(block);
    mallocs_walk(truth, heap + word_at(heap) % GLIBC_HEAP_RESERVE,
                 heap + word_at(heap + 16));
}

/* ---- in the test ------------------------------------------------------- */

bool
mallocs_go_on(void *context)
{
    (void)context;
    return true;
}

struct mallocs
mallocs_read(const struct target *target, const struct census_request *request)
{
    struct mallocs mallocs = {.memory = target_memory(target, target->pid)};
    mallocs.view = view_take(mallocs.memory);
    mallocs.claims = ranges_maps(&mallocs.view->maps, request);
    const struct heaps_target where = {
        .memory = mallocs.memory,
        .maps = &mallocs.view->maps,
        .runs = &mallocs.view->runs,
        .claims = &mallocs.claims,
        .request = request,
    };
    const struct census_patience patience = {.may_go_on = mallocs_go_on};
    heaps_read(&mallocs.heaps, &where, &patience);
    return mallocs;
}

void
mallocs_finish(struct mallocs *mallocs)
{
    heaps_finish(&mallocs->heaps);
    claims_finish(&mallocs->claims);
    view_destroy(mallocs->view);
    memory_destroy(mallocs->memory);
}

const struct heap *
mallocs_heap(const struct mallocs *mallocs, uint64_t first)
{
    const struct heap *heap = NULL;
    for (size_t i = 0; i < mallocs->heaps.n_heaps; i++) {
        if (mallocs->heaps.heaps[i].chunks.start == first)
            heap = &mallocs->heaps.heaps[i];
    }
    cr_assert(heap != NULL, "no heap has its first chunk at %#llx",
              (unsigned long long)first);
    return heap;
}

void
mallocs_check(const struct mallocs *mallocs, const struct mallocs_truth *truth)
{
    const struct heap *heap = mallocs_heap(mallocs, truth->start);
    check_false(heap->is_torn);
    check_eq(heap->end, truth->end);
    check_true(truth->n_chunks < MALLOCS_MOST_CHUNKS);
    struct chunk chunk = chunks_first(&heap->chunks);
    for (size_t i = 0; i < truth->n_chunks; i++) {
        check_eq(chunk.at, truth->chunks[i].at);
        check_eq(chunk.n_bytes, truth->chunks[i].n_bytes);
        check_eq((chunk.flags & CHUNK_USED) != 0, truth->chunks[i].is_used);
        chunk = chunks_next(&heap->chunks, &chunk);
    }
    check_eq(chunk.n_bytes, 0);
}
