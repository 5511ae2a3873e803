/*
 * An entry is a chunk's size in grains, shifted left by FLAG_BITS, and its
 * flags. A chunk too long for that takes several, each but the last with
 * GOES_ON. Every STRIDE entries or so the address of a chunk is noted, so that
 * one is found by a search and a few steps.
 */
#include "collector/census/chunks.h"

#include <stdlib.h>

#include "include/xalloc.h"

enum { FLAG_BITS = 5, GOES_ON = 16, STRIDE = 64 };

#define MOST_GRAINS ((uint64_t)(UINT32_MAX >> FLAG_BITS))

struct chunks_mark {
    uint64_t at;
    size_t entry;
};

void
chunks_begin(struct chunks *chunks, uint64_t start)
{
    *chunks = (struct chunks){.start = start, .end = start};
}

void
chunks_finish(struct chunks *chunks)
{
    free(chunks->entries);
    free(chunks->marks);
    *chunks = (struct chunks){0};
}

static void
push(struct chunks *chunks, uint64_t n_grains, unsigned flags)
{
    XGROW(chunks->entries, chunks->capacity, chunks->n_entries);
    chunks->entries[chunks->n_entries++] =
        (uint32_t)(n_grains << FLAG_BITS) | flags;
}

void
chunks_append(struct chunks *chunks, uint64_t n_bytes, unsigned flags)
{
    const size_t next_mark =
        chunks->n_marks == 0
            ? 0
            : chunks->marks[chunks->n_marks - 1].entry + STRIDE;
    if (chunks->n_entries >= next_mark) {
        XGROW(chunks->marks, chunks->mark_capacity, chunks->n_marks);
        chunks->marks[chunks->n_marks++] =
            (struct chunks_mark){chunks->end, chunks->n_entries};
    }
    chunks->end += n_bytes;
    uint64_t n_grains = n_bytes / CHUNK_GRAIN;
    for (; n_grains > MOST_GRAINS; n_grains -= MOST_GRAINS)
        push(chunks, MOST_GRAINS, flags | GOES_ON);
    push(chunks, n_grains, flags);
}

bool
chunks_rewind(struct chunks *chunks)
{
    if (chunks->n_marks == 0)
        return false;
    const struct chunks_mark *mark = &chunks->marks[--chunks->n_marks];
    chunks->end = mark->at;
    chunks->n_entries = mark->entry;
    return true;
}

static struct chunk
chunk_of(const struct chunks *chunks, uint64_t at, size_t entry)
{
    struct chunk chunk = {.at = at, .entry = entry};
    uint32_t word = GOES_ON;
    while ((word & GOES_ON) != 0 && entry < chunks->n_entries) {
        word = chunks->entries[entry++];
        chunk.n_bytes += (uint64_t)(word >> FLAG_BITS) * CHUNK_GRAIN;
        chunk.flags = word & (GOES_ON - 1);
    }
    return chunk;
}

struct chunk
chunks_first(const struct chunks *chunks)
{
    return chunk_of(chunks, chunks->start, 0);
}

struct chunk
chunks_next(const struct chunks *chunks, const struct chunk *chunk)
{
    size_t entry = chunk->entry;
    while ((chunks->entries[entry] & GOES_ON) != 0)
        entry++;
    return chunk_of(chunks, chunk->at + chunk->n_bytes, entry + 1);
}

struct chunk
chunks_near(const struct chunks *chunks, uint64_t at)
{
    if (at < chunks->start || at >= chunks->end)
        return (struct chunk){0};
    size_t low = 0;
    size_t high = chunks->n_marks;
    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        if (chunks->marks[middle].at <= at)
            low = middle;
        else
            high = middle;
    }
    return chunk_of(chunks, chunks->marks[low].at, chunks->marks[low].entry);
}

struct chunk
chunks_find(const struct chunks *chunks, uint64_t at)
{
    struct chunk chunk = chunks_near(chunks, at);
    while (chunk.n_bytes != 0 && chunk.at < at)
        chunk = chunks_next(chunks, &chunk);
    return chunk.at == at ? chunk : (struct chunk){0};
}

void
chunks_flag(struct chunks *chunks, const struct chunk *chunk, unsigned flags)
{
    size_t entry = chunk->entry;
    while ((chunks->entries[entry] & GOES_ON) != 0)
        chunks->entries[entry++] |= flags;
    chunks->entries[entry] |= flags;
}
