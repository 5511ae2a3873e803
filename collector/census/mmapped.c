#include "collector/census/mmapped.h"

#include <stdlib.h>

#include "collector/census/arenas.h"
#include "collector/census/pages.h"
#include "include/glibc.h"
#include "include/xalloc.h"

static void
add(struct mmapped *mmapped, struct mmapped_chunk chunk)
{
    XGROW(mmapped->chunks, mmapped->capacity, mmapped->n_chunks);
    mmapped->chunks[mmapped->n_chunks++] = chunk;
}

/* A chunk's header, if it says that the chunk is mmapped. */
static bool
read_header(const struct heaps_target *target, uint64_t at, uint64_t words[2])
{
    return pages_is_resident(target->runs, at) &&
           memory_read(target->memory, at, words, 2 * sizeof(words[0])) &&
           (words[1] & GLIBC_SIZE_BITS) == GLIBC_IS_MMAPPED;
}

/*
 * The first heap that ends behind an address. Heaps may have been left before
 * their end: nothing of what they reach over is anybody else's.
 */
static const struct heap *
heap_behind(const struct heaps *heaps, uint64_t addr)
{
    size_t low = 0;
    size_t high = heaps->n_heaps;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (heaps->heaps[middle].end <= addr)
            low = middle + 1;
        else
            high = middle;
    }
    return low == heaps->n_heaps ? NULL : &heaps->heaps[low];
}

/* ---- blocks that were told --------------------------------------------- */

/* Where its mapping begins by what its header says; 0: it says otherwise. */
static uint64_t
mapping_start(const struct heaps_target *target, uint64_t at)
{
    uint64_t words[2];
    if (!read_header(target, at, words) || words[0] >= at ||
        (at - words[0]) % MEMORY_PAGE != 0)
        return 0;
    return at - words[0];
}

/*
 * Where the mapping of a block ends: with the block, to glibc 2.42; since 2.43
 * 8 bytes behind it, as of any chunk. 0: it is no mapping's end.
 */
static uint64_t
mapping_end(uint64_t block_end)
{
    if (block_end % MEMORY_PAGE == 0)
        return block_end;
    return (block_end + 8) % MEMORY_PAGE == 0 ? block_end + 8 : 0;
}

/*
 * A mapping of its own: its chunk's header says so, or, once it has gone or was
 * given another size, that it was told with bounds no other chunk has: a page's
 * first 16 bytes before it, a page's end behind it. All of it was there: what
 * has grown since the view is known by the bounds that it had before.
 */
static bool
read_told(const struct heaps_target *target, const struct census_block *block,
          struct mmapped_chunk *chunk)
{
    const uint64_t at = block->addr - CHUNK_HEADER_BYTES;
    const uint64_t block_end = block->addr + block->n_bytes;
    const uint64_t end = mapping_end(block_end);
    if (block->addr % CHUNK_GRAIN != 0 || end == 0)
        return false;
    uint64_t start = block->is_gone ? 0 : mapping_start(target, at);
    if (start == 0 && at % MEMORY_PAGE == 0)
        start = at;
    *chunk = (struct mmapped_chunk){
        .start = start,
        .block = block->addr,
        .block_end = block_end,
        .end = end,
        .is_python = block->is_python && target->objects != NULL,
    };
    return start != 0 && block->addr < end &&
           claims_are(target->claims, start, end, CAUSE_unexplained);
}

static void
find_told(struct mmapped *mmapped, const struct heaps_target *target,
          const struct heaps *heaps)
{
    for (size_t i = 0; i < target->request->n_blocks; i++) {
        struct mmapped_chunk chunk;
        if (!read_told(target, &target->request->blocks[i], &chunk))
            continue;
        const struct heap *heap = heap_behind(heaps, chunk.start);
        if (heap == NULL || heap->start >= chunk.end)
            add(mmapped, chunk);
    }
}

static int
compare_chunks(const void *left, const void *right)
{
    const struct mmapped_chunk *a = left;
    const struct mmapped_chunk *b = right;
    return (a->start > b->start) - (a->start < b->start);
}

/* One that has gone and its successor may overlap: nothing is dealt twice. */
static void
part(struct mmapped *mmapped)
{
    size_t kept = 0;
    uint64_t floor = 0;
    if (mmapped->n_chunks != 0)
        qsort(mmapped->chunks, mmapped->n_chunks, sizeof(mmapped->chunks[0]),
              compare_chunks);
    for (size_t i = 0; i < mmapped->n_chunks; i++) {
        struct mmapped_chunk chunk = mmapped->chunks[i];
        chunk.start = chunk.start < floor ? floor : chunk.start;
        chunk.block = chunk.block < chunk.start ? chunk.start : chunk.block;
        if (chunk.block >= chunk.block_end)
            continue;
        floor = chunk.end;
        mmapped->chunks[kept++] = chunk;
    }
    mmapped->n_chunks = kept;
}

/* ---- a target that told nothing ---------------------------------------- */

/*
 * Whether a chunk begins with a mapping at an address. Its size is the
 * mapping's, or since glibc 2.43 16 bytes less, of which 8 are usable.
 */
static bool
read_found(const struct heaps_target *target, uint64_t at, uint64_t limit,
           struct mmapped_chunk *chunk)
{
    uint64_t words[2];
    if (!read_header(target, at, words) || words[0] != 0)
        return false;
    const uint64_t n_bytes = words[1] & ~GLIBC_SIZE_BITS;
    const uint64_t block_bytes =
        n_bytes % MEMORY_PAGE == 0 ? n_bytes : n_bytes + 8;
    const uint64_t end = mapping_end(at + block_bytes);
    if (n_bytes == 0 || end <= at || end > limit)
        return false;
    *chunk = (struct mmapped_chunk){
        .start = at,
        .block = at + CHUNK_HEADER_BYTES,
        .block_end = at + block_bytes,
        .end = end,
    };
    return true;
}

/* What begins at an address: its end, and where the next thing may begin. */
static uint64_t
take_one(struct mmapped *mmapped, const struct heaps_target *target,
         uint64_t at, uint64_t limit)
{
    struct mmapped_chunk chunk;
    if (read_found(target, at, limit, &chunk)) {
        add(mmapped, chunk);
        return chunk.end;
    }
    const uint64_t end =
        target->objects == NULL
            ? 0
            : arenas_stack_chunk_end(target->memory, target->runs, at, limit);
    claims_add(
        &mmapped->stack_chunks,
        (struct claim){at, end, CAUSE_python_overhead, PROOF_stack_chunk, at});
    return end != 0 ? end : limit;
}

/*
 * A mapping may begin where one of the kernel's list does, which merges
 * neighbours, and behind whatever else is known to be there.
 */
static void
scan(struct mmapped *mmapped, const struct heaps_target *target,
     const struct heaps *heaps, const struct map *map)
{
    const struct claims *claims = target->claims;
    uint64_t at = claims_next_free(claims, map->start, map->end);
    while (at < map->end) {
        const uint64_t limit =
            claims_reach(claims, at, map->end, CAUSE_unexplained);
        const struct heap *heap = heap_behind(heaps, at);
        const uint64_t next = heap != NULL && heap->start <= at
                                  ? heap->end
                                  : take_one(mmapped, target, at, limit);
        at = claims_next_free(claims, next, map->end);
    }
}

/* ---- all --------------------------------------------------------------- */

void
mmapped_read(struct mmapped *mmapped, const struct heaps_target *target,
             const struct heaps *heaps)
{
    const struct maps *maps = target->maps;
    *mmapped = (struct mmapped){0};
    if (!target->request->is_unprepared)
        find_told(mmapped, target, heaps);
    for (size_t i = 0; i < maps->n_maps && target->request->is_unprepared;
         i++) {
        if (heaps_may_lie_in(&maps->maps[i]))
            scan(mmapped, target, heaps, &maps->maps[i]);
    }
    part(mmapped);
}

void
mmapped_finish(struct mmapped *mmapped)
{
    free(mmapped->chunks);
    claims_finish(&mmapped->stack_chunks);
    *mmapped = (struct mmapped){0};
}

void
mmapped_mark_python(struct mmapped *mmapped, const uint64_t *blocks, size_t n)
{
    size_t i = 0;
    for (size_t k = 0; k < mmapped->n_chunks; k++) {
        struct mmapped_chunk *chunk = &mmapped->chunks[k];
        while (i < n && blocks[i] < chunk->block)
            i++;
        chunk->is_python =
            chunk->is_python || (i < n && blocks[i] == chunk->block);
    }
}
