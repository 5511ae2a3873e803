#include "collector/census/heap.h"

#include <string.h>

#include "collector/census/maps.h"
#include "collector/census/pages.h"
#include "include/glibc.h"

enum { MOST_TEARS = 8, STEPS_A_QUESTION = 4096 };

/* The chunk before the one being read: it is not yet known to be in use. */
struct pending {
    uint64_t n_bytes; /* 0: there is none */
    size_t n_content;
    char content[HEAP_CONTENT_BYTES];
};

struct walk {
    struct heap *heap;
    struct window *window;
    const struct heap_visitor *visitor;
    struct pending pending;
};

enum step { STEP_ON, STEP_DONE, STEP_TORN, STEP_ABSENT };

/* ---- one chunk --------------------------------------------------------- */

/* Settles the pending chunk, which ends where the next begins. */
static void
settle(struct walk *walk, bool is_used)
{
    struct pending *pending = &walk->pending;
    if (pending->n_bytes == 0)
        return;
    unsigned flags = is_used ? CHUNK_USED : 0;
    const struct chunk chunk = {
        .at = walk->heap->chunks.end,
        .n_bytes = pending->n_bytes,
        .flags = flags,
    };
    if (is_used && pending->n_bytes >= CHUNK_LEAST_BYTES &&
        pending->n_bytes >= walk->visitor->least_bytes)
        flags |= walk->visitor->visit(walk->visitor->context, &chunk,
                                      pending->content, pending->n_content);
    chunks_append(&walk->heap->chunks, pending->n_bytes, flags);
    pending->n_bytes = 0;
}

/*
 * The size of the chunk at `at`, or 0: this is none of the heap's. One that
 * goes on beyond the heap's end is its last: the heap has grown since.
 */
static uint64_t
chunk_bytes(const struct heap *heap, uint64_t at, uint64_t word)
{
    const uint64_t n_bytes = word & ~GLIBC_SIZE_BITS;
    const uint64_t most =
        heap->kind == HEAP_main ? GLIBC_MOST_CHUNK_BYTES : GLIBC_HEAP_RESERVE;
    if (n_bytes == 0 && at + GLIBC_FENCEPOST_BYTES == heap->end)
        return GLIBC_FENCEPOST_BYTES; /* the last of a heap that is full */
    if ((word & GLIBC_IS_MMAPPED) != 0 || n_bytes % CHUNK_GRAIN != 0 ||
        n_bytes < GLIBC_FENCEPOST_BYTES || n_bytes > most ||
        (heap->kind == HEAP_main && (word & GLIBC_NON_MAIN_ARENA) != 0))
        return 0;
    return n_bytes < heap->end - at ? n_bytes : heap->end - at;
}

/* Its second page may be out of reach, and the block end with the heap. */
static void
keep_content(struct walk *walk, uint64_t at, uint64_t n_bytes)
{
    struct pending *pending = &walk->pending;
    const struct memory_runs *runs = walk->window->runs;
    const uint64_t block = at + CHUNK_HEADER_BYTES;
    size_t n = n_bytes - 8 < HEAP_CONTENT_BYTES ? (size_t)(n_bytes - 8)
                                                : HEAP_CONTENT_BYTES;
    if (!pages_is_resident(runs, block + n - 1))
        n = MEMORY_PAGE - block % MEMORY_PAGE;
    const char *content = pages_is_resident(runs, block + n - 1)
                              ? window_at(walk->window, block, n)
                              : NULL;
    pending->n_content = content == NULL ? 0 : n;
    if (content != NULL)
        memcpy(pending->content, content, n);
    pending->n_bytes = n_bytes;
}

static enum step
step(struct walk *walk)
{
    struct heap *heap = walk->heap;
    const uint64_t at = heap->chunks.end + walk->pending.n_bytes;
    if (at == heap->end) {
        settle(walk, false); /* the top, or nothing behind a fencepost */
        return STEP_DONE;
    }
    const char *header = window_at(walk->window, at, GLIBC_CHUNK_HEADER_BYTES);
    if (header == NULL)
        return STEP_ABSENT;
    uint64_t words[2];
    memcpy(words, header, sizeof(words));
    const uint64_t n_bytes = chunk_bytes(heap, at, words[1]);
    const bool was_used = (words[1] & GLIBC_PREV_INUSE) != 0;
    const uint64_t before = walk->pending.n_bytes;
    const bool is_first = at == heap->chunks.start;
    const bool may_be_free = !is_first && (before == 0 || words[0] == before);
    if (n_bytes == 0 || (!was_used && !may_be_free))
        return STEP_TORN;
    settle(walk, was_used);
    if (n_bytes < walk->visitor->least_bytes)
        walk->pending = (struct pending){.n_bytes = n_bytes};
    else
        keep_content(walk, at, n_bytes);
    return STEP_ON;
}

/* ---- all of them ------------------------------------------------------- */

/* Whether the main heap ends here by now: its top was given back since. */
static bool
was_trimmed(const struct walk *walk, uint64_t at)
{
    if (walk->heap->kind != HEAP_main || walk->pending.n_bytes == 0 ||
        at % MEMORY_PAGE != 0)
        return false;
    struct maps maps = maps_parse(memory_maps_text(walk->window->memory));
    const struct map *last = maps_at(&maps, at - 1);
    const bool is_end = last != NULL && last->end == at &&
                        strcmp(last->name, "[heap]") == 0 &&
                        maps_at(&maps, at) == NULL;
    maps_finish(&maps);
    return is_end;
}

/* What the view has of it behind its end was free when it was given back. */
static enum step
end_trimmed(struct walk *walk)
{
    walk->pending.n_bytes = walk->heap->end - walk->heap->chunks.end;
    settle(walk, false);
    return STEP_DONE;
}

/* False: it has torn too often. */
static bool
take_up_again(struct walk *walk)
{
    struct heap *heap = walk->heap;
    walk->pending.n_bytes = 0;
    window_forget(walk->window);
    return ++heap->n_torn < MOST_TEARS && chunks_rewind(&heap->chunks);
}

bool
heap_walk(struct heap *heap, uint64_t first_chunk, struct window *window,
          const struct heap_visitor *visitor)
{
    struct walk walk = {.heap = heap, .window = window, .visitor = visitor};
    chunks_begin(&heap->chunks, first_chunk);
    const struct census_patience *patience = visitor->patience;
    enum step outcome = STEP_ON;
    for (unsigned n = 1; outcome == STEP_ON; n++) {
        outcome = step(&walk);
        if (outcome == STEP_TORN && take_up_again(&walk))
            outcome = STEP_ON;
        if (outcome == STEP_ABSENT &&
            was_trimmed(&walk, heap->chunks.end + walk.pending.n_bytes))
            outcome = end_trimmed(&walk);
        if (n % STEPS_A_QUESTION == 0 &&
            !patience->may_go_on(patience->context))
            break; /* what came since the last question may be too late */
    }
    heap->is_torn = outcome != STEP_DONE;
    return heap->chunks.n_entries != 0;
}

void
heap_finish(struct heap *heap)
{
    chunks_finish(&heap->chunks);
}

struct heap *
heap_find(struct heap *heaps, size_t n_heaps, uint64_t at)
{
    size_t low = 0;
    size_t high = n_heaps;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (heaps[middle].chunks.end <= at)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n_heaps && heaps[low].chunks.start <= at ? &heaps[low] : NULL;
}
