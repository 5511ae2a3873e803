#include "collector/census/heaps.h"

#include <stdlib.h>
#include <string.h>

#include "collector/census/cached.h"
#include "collector/census/pages.h"
#include "include/cpython.h"
#include "include/glibc.h"
#include "include/xalloc.h"

enum {
    MOST_TCACHES = 1024, /* of one heap: what merely has their size is more */
    HEAPS_A_QUESTION = 64,
    /* From here on a search is quicker than to go from chunk to chunk. */
    FAR_BYTES = 64 * 1024,
};

struct search {
    struct heaps *heaps;
    const struct heaps_target *target;
    const struct census_patience *patience;
    struct window window;
    size_t most_tcaches; /* up to the heap that is walked */
};

/* ---- what a walk passes ------------------------------------------------ */

/* Chunks up to this hold nothing that a visit wants. */
static uint64_t
least_bytes(const struct heaps_target *target)
{
    if (target->objects == NULL)
        return GLIBC_LEAST_TCACHE_BYTES;
    return target->has_arenas ? CPYTHON_LARGEST_BLOCK + 8 : CHUNK_LEAST_BYTES;
}

/* A rest that is too small for a chunk of its own is given along. */
static bool
is_of_block27(uint64_t chunk_bytes)
{
    return chunk_bytes == CPYTHON_BLOCK27_BYTES + CHUNK_GRAIN ||
           chunk_bytes == CPYTHON_BLOCK27_BYTES + 2 * CHUNK_GRAIN;
}

static unsigned
visit(void *context, const struct chunk *chunk, const char *content,
      size_t n_bytes)
{
    const struct search *search = context;
    struct heaps *heaps = search->heaps;
    struct objects *objects = search->target->objects;
    if (heaps->n_tcaches < search->most_tcaches &&
        cached_may_be_tcache(chunk->n_bytes, content, n_bytes)) {
        XGROW(heaps->tcaches, heaps->tcache_capacity, heaps->n_tcaches);
        heaps->tcaches[heaps->n_tcaches++] = chunk->at + CHUNK_HEADER_BYTES;
    }
    if (objects == NULL)
        return 0;
    if (is_of_block27(chunk->n_bytes) &&
        search->target->request->python_major == 2) {
        XGROW(heaps->blocks27, heaps->block27_capacity, heaps->n_blocks27);
        heaps->blocks27[heaps->n_blocks27++] = chunk->at + CHUNK_HEADER_BYTES;
    }
    const struct objects_block block = {content, n_bytes, chunk->n_bytes - 8};
    const unsigned number = objects_classify(objects, &block);
    return number == TYPE_RAW ? 0 : CHUNK_PYTHON;
}

/* ---- the main heap ----------------------------------------------------- */

/* Walks; keeps the heap if there is a chunk in it. */
static bool
walk(struct search *search, struct heap *heap, uint64_t first_chunk)
{
    struct heaps *heaps = search->heaps;
    const struct heap_visitor visitor = {
        .visit = visit,
        .patience = search->patience,
        .least_bytes = least_bytes(search->target),
        .context = search,
    };
    search->most_tcaches = heaps->n_tcaches + MOST_TCACHES;
    if (!heap_walk(heap, first_chunk, &search->window, &visitor)) {
        heap_finish(heap);
        return false;
    }
    XGROW(heaps->heaps, heaps->capacity, heaps->n_heaps);
    heaps->heaps[heaps->n_heaps++] = *heap;
    return true;
}

/* [heap] may be several mappings, and begin with a piece of the program. */
static void
find_main(struct search *search)
{
    const struct maps *maps = search->target->maps;
    struct heap heap = {.kind = HEAP_main};
    for (size_t i = 0; i < maps->n_maps; i++) {
        const struct map *map = &maps->maps[i];
        if (strcmp(map->name, "[heap]") != 0 ||
            (heap.end != 0 && heap.end != map->start))
            continue;
        if (heap.end == 0)
            heap.start = map->start;
        heap.end = map->end;
    }
    heap.start = claims_free_from(search->target->claims, heap.start, heap.end);
    heap.start = (heap.start + MEMORY_PAGE - 1) & ~(uint64_t)(MEMORY_PAGE - 1);
    if (heap.start < heap.end)
        walk(search, &heap, heap.start);
}

/* ---- heaps of threads' arenas ------------------------------------------ */

static bool
is_heap_info(const struct glibc_heap_info *info, uint64_t start)
{
    const uint64_t base = info->arena & ~(GLIBC_HEAP_RESERVE - 1);
    const uint64_t head = info->arena - base;
    return head >= GLIBC_HEAP_INFO_LEAST && head <= GLIBC_HEAP_INFO_MOST &&
           head % CHUNK_GRAIN == 0 && info->size >= MEMORY_PAGE &&
           info->size % MEMORY_PAGE == 0 && info->mprotect_size >= info->size &&
           info->mprotect_size <= GLIBC_HEAP_RESERVE &&
           info->mprotect_size % MEMORY_PAGE == 0 &&
           info->previous % GLIBC_HEAP_RESERVE == 0 &&
           (info->previous == 0) == (base == start);
}

/* Whether a thread heap's first chunk lies here, in use or free. */
static bool
may_be_first(struct search *search, const struct heap *heap, uint64_t at)
{
    const char *header =
        window_at(&search->window, at, GLIBC_CHUNK_HEADER_BYTES);
    uint64_t word;
    if (header == NULL)
        return false;
    memcpy(&word, header + 8, sizeof(word));
    const uint64_t n_bytes = word & ~GLIBC_SIZE_BITS;
    const uint64_t flags = word & GLIBC_SIZE_BITS;
    return n_bytes >= CHUNK_LEAST_BYTES && n_bytes <= heap->end - at &&
           (flags == (GLIBC_PREV_INUSE | GLIBC_NON_MAIN_ARENA) ||
            flags == GLIBC_PREV_INUSE);
}

/*
 * An arena's first heap begins with the arena's state, whose size differs
 * between versions: what follows it is a chunk, and zeroes lie before.
 */
static void
walk_first_heap(struct search *search, struct heap *heap)
{
    for (uint64_t size = GLIBC_STATE_LEAST; size <= GLIBC_STATE_MOST;
         size += CHUNK_GRAIN) {
        const uint64_t first =
            (heap->arena + size) & ~(uint64_t)(CHUNK_GRAIN - 1);
        if (may_be_first(search, heap, first)) {
            walk(search, heap, first);
            return;
        }
    }
}

bool
heaps_may_lie_in(const struct map *map)
{
    return map_is_anonymous(map) && map->is_writable &&
           strcmp(map->name, "[heap]") != 0;
}

/*
 * How far from start on all is such mappings. A heap may be several: what has
 * grown since a fork is one of its own.
 */
static uint64_t
reach(const struct maps *maps, const struct map *map, uint64_t start)
{
    uint64_t end = map->end;
    const struct map *behind = &maps->maps[maps->n_maps];
    while (++map < behind && map->start == end && heaps_may_lie_in(map) &&
           end - start < GLIBC_HEAP_RESERVE)
        end = map->end;
    return end;
}

static void
try_heap(struct search *search, const struct map *map, uint64_t start)
{
    const struct heaps_target *target = search->target;
    struct glibc_heap_info info;
    if (!pages_is_resident(target->runs, start) ||
        !memory_read(target->memory, start, &info, sizeof(info)) ||
        !is_heap_info(&info, start) ||
        info.size > reach(target->maps, map, start) - start ||
        !claims_are(target->claims, start, start + info.size,
                    CAUSE_unexplained))
        return;
    struct heap heap = {
        .kind = HEAP_thread,
        .start = start,
        .end = start + info.size,
        .arena = info.arena,
    };
    if (info.previous == 0)
        walk_first_heap(search, &heap);
    else
        walk(search, &heap, start + info.arena % GLIBC_HEAP_RESERVE);
}

/* The first place from addr on where a heap may begin. */
static uint64_t
next_place(const struct memory_runs *runs, uint64_t addr)
{
    const size_t i = pages_first(runs, addr);
    if (i == runs->n_runs)
        return UINT64_MAX;
    const uint64_t from =
        runs->runs[i].start > addr ? runs->runs[i].start : addr;
    return (from + GLIBC_HEAP_RESERVE - 1) & ~(GLIBC_HEAP_RESERVE - 1);
}

static bool
may_go_on(const struct search *search)
{
    return search->heaps->n_heaps % HEAPS_A_QUESTION != HEAPS_A_QUESTION - 1 ||
           search->patience->may_go_on(search->patience->context);
}

static void
find_thread_heaps(struct search *search)
{
    const struct maps *maps = search->target->maps;
    const struct memory_runs *runs = search->target->runs;
    for (size_t i = 0; i < maps->n_maps; i++) {
        const struct map *map = &maps->maps[i];
        if (!heaps_may_lie_in(map))
            continue;
        uint64_t at = next_place(runs, map->start);
        for (; at < map->end && may_go_on(search);
             at = next_place(runs, at + GLIBC_HEAP_RESERVE))
            try_heap(search, map, at);
    }
}

static int
compare_heaps(const void *left, const void *right)
{
    const struct heap *a = left;
    const struct heap *b = right;
    return (a->start > b->start) - (a->start < b->start);
}

/* The main one need not be the lowest. */
static void
sort_heaps(struct heaps *heaps)
{
    if (heaps->n_heaps != 0)
        qsort(heaps->heaps, heaps->n_heaps, sizeof(heaps->heaps[0]),
              compare_heaps);
}

/* ---- all --------------------------------------------------------------- */

static void
flag_cached(struct search *search)
{
    const struct heaps_target *target = search->target;
    const struct cached cached = {
        .memory = target->memory,
        .runs = target->runs,
        .window = &search->window,
        .patience = search->patience,
        .heaps = search->heaps->heaps,
        .n_heaps = search->heaps->n_heaps,
    };
    for (size_t i = 0; i < search->heaps->n_tcaches; i++)
        cached_read_tcache(&cached, search->heaps->tcaches[i]);
    for (size_t i = 0; i < cached.n_heaps; i++) {
        struct heap *heap = &cached.heaps[i];
        if (heap->kind == HEAP_main && !heap->is_torn)
            heap->arena = cached_find_state(&cached, target->maps, heap);
        if (heap->arena != 0 && (heap->kind == HEAP_main ||
                                 heap->arena - heap->start < MEMORY_PAGE))
            cached_read_fastbins(&cached, heap->arena);
    }
}

/* Leaves out what lies in a tcache, or came twice where a walk had torn. */
static void
sift_blocks27(struct heaps *heaps)
{
    size_t kept = 0;
    uint64_t last = 0;
    for (size_t i = 0; i < heaps->n_blocks27; i++) {
        const uint64_t block = heaps->blocks27[i];
        const uint64_t at = block - CHUNK_HEADER_BYTES;
        const struct heap *heap = heap_find(heaps->heaps, heaps->n_heaps, at);
        const struct chunk chunk =
            heap == NULL ? (struct chunk){0} : chunks_find(&heap->chunks, at);
        if (block <= last || !is_of_block27(chunk.n_bytes) ||
            (chunk.flags & CHUNK_CACHED) != 0)
            continue;
        heaps->blocks27[kept++] = block;
        last = block;
    }
    heaps->n_blocks27 = kept;
}

void
heaps_read(struct heaps *heaps, const struct heaps_target *target,
           const struct census_patience *patience)
{
    struct search search = {
        .heaps = heaps,
        .target = target,
        .patience = patience,
    };
    *heaps = (struct heaps){0};
    window_init(&search.window, target->memory, target->runs);
    find_main(&search);
    find_thread_heaps(&search);
    sort_heaps(heaps);
    flag_cached(&search);
    sift_blocks27(heaps);
    window_finish(&search.window);
}

void
heaps_finish(struct heaps *heaps)
{
    for (size_t i = 0; i < heaps->n_heaps; i++)
        heap_finish(&heaps->heaps[i]);
    free(heaps->heaps);
    free(heaps->blocks27);
    free(heaps->tcaches);
    *heaps = (struct heaps){0};
}

static void
mark_chunks(struct chunks *chunks, const uint64_t *blocks, size_t n)
{
    struct chunk chunk = chunks_first(chunks);
    for (size_t i = 0; i < n && chunk.n_bytes != 0; i++) {
        const uint64_t at = blocks[i] - CHUNK_HEADER_BYTES;
        if (at > chunk.at + FAR_BYTES)
            chunk = chunks_near(chunks, at);
        while (chunk.n_bytes != 0 && chunk.at < at)
            chunk = chunks_next(chunks, &chunk);
        if (chunk.n_bytes != 0 && chunk.at == at &&
            (chunk.flags & CHUNK_USED) != 0)
            chunks_flag(chunks, &chunk, CHUNK_PYTHON);
    }
}

void
heaps_mark_python(struct heaps *heaps, const uint64_t *blocks, size_t n)
{
    for (size_t i = 0; i < heaps->n_heaps; i++)
        mark_chunks(&heaps->heaps[i].chunks, blocks, n);
}
