#include "collector/census/chunks.h"

#include <stdlib.h>

#include "include/xalloc.h"
#include "tests/unit/check.h"

#define START ((uint64_t)0x7f0000000010)
#define GIB ((uint64_t)1 << 30)

/* The longest chunk that one entry can hold, and what takes two and three. */
#define LONGEST (((uint64_t)1 << 27) * CHUNK_GRAIN - CHUNK_GRAIN)

/* More than what chunks_rewind drops at most: its marks, and long chunks. */
enum { MOST_REWOUND = 300 };

/* ---- a model: a list --------------------------------------------------- */

struct model_chunk {
    uint64_t at;
    uint64_t n_bytes;
    unsigned flags;
};

struct model {
    struct model_chunk *chunks;
    size_t n_chunks;
    size_t capacity;
    uint64_t end;
};

static void
append(struct chunks *chunks, struct model *model, uint64_t n_bytes,
       unsigned flags)
{
    chunks_append(chunks, n_bytes, flags);
    XGROW(model->chunks, model->capacity, model->n_chunks);
    model->chunks[model->n_chunks++] =
        (struct model_chunk){model->end, n_bytes, flags};
    model->end += n_bytes;
    check_eq(chunks->end, model->end);
}

static void
check_chunk(const struct chunk *chunk, const struct model_chunk *wanted)
{
    check_eq(chunk->at, wanted->at);
    check_eq(chunk->n_bytes, wanted->n_bytes);
    check_eq(chunk->flags, wanted->flags);
}

/* From the first to the last, and each by its address. */
static void
check_all(const struct chunks *chunks, const struct model *model)
{
    struct chunk chunk = chunks_first(chunks);
    for (size_t i = 0; i < model->n_chunks; i++) {
        const struct model_chunk *wanted = &model->chunks[i];
        check_chunk(&chunk, wanted);
        const struct chunk found = chunks_find(chunks, wanted->at);
        check_chunk(&found, wanted);
        check_eq(chunks_find(chunks, wanted->at + CHUNK_GRAIN).n_bytes,
                 wanted->n_bytes > CHUNK_GRAIN ? 0
                 : i + 1 == model->n_chunks    ? 0
                                               : wanted[1].n_bytes);
        check_eq(chunks_find(chunks, wanted->at + 8).n_bytes, 0);
        chunk = chunks_next(chunks, &chunk);
    }
    check_eq(chunk.n_bytes, 0);
    check_eq(chunks_find(chunks, model->end).n_bytes, 0);
    check_eq(chunks_find(chunks, START - CHUNK_GRAIN).n_bytes, 0);
    check_eq(chunks_find(chunks, UINT64_MAX).n_bytes, 0);
}

/* Drops from the model what was dropped from the chunks. */
static void
rewind_both(struct chunks *chunks, struct model *model)
{
    const bool had_some = model->n_chunks != 0;
    check_eq(chunks_rewind(chunks), had_some);
    size_t n_dropped = 0;
    while (model->n_chunks != 0 && model->end > chunks->end) {
        model->end -= model->chunks[--model->n_chunks].n_bytes;
        n_dropped++;
    }
    check_eq(chunks->end, model->end);
    check_eq(n_dropped != 0, had_some);
    check_le(n_dropped, MOST_REWOUND);
}

static void
finish(struct chunks *chunks, struct model *model)
{
    chunks_finish(chunks);
    free(model->chunks);
}

/* ---- by hand ----------------------------------------------------------- */

Test(chunks, of_none_there_is_no_first)
{
    struct chunks chunks;
    chunks_begin(&chunks, START);
    check_eq(chunks_first(&chunks).n_bytes, 0);
    check_eq(chunks_find(&chunks, START).n_bytes, 0);
    check_false(chunks_rewind(&chunks));
    check_eq(chunks.end, START);
    chunks_finish(&chunks);
    chunks_finish(&chunks); /* which is zeroed storage now */
}

Test(chunks, they_follow_one_another)
{
    struct model model = {.end = START};
    struct chunks chunks;
    chunks_begin(&chunks, START);
    append(&chunks, &model, 32, CHUNK_USED);
    append(&chunks, &model, 16, 0);
    append(&chunks, &model, 4096, CHUNK_USED | CHUNK_PYTHON);
    append(&chunks, &model, 48,
           CHUNK_USED | CHUNK_CACHED | CHUNK_FAST | CHUNK_PYTHON);
    check_all(&chunks, &model);
    finish(&chunks, &model);
}

Test(chunks, a_long_one_takes_several_entries_and_is_one)
{
    static const uint64_t lengths[] = {LONGEST,           LONGEST + CHUNK_GRAIN,
                                       4 * GIB,           4 * GIB + 16,
                                       2 * LONGEST,       2 * LONGEST + 16,
                                       (uint64_t)1 << 40, 7 * LONGEST - 4096};
    struct model model = {.end = START};
    struct chunks chunks;
    chunks_begin(&chunks, START);
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        append(&chunks, &model, lengths[i], i % 2 == 0 ? CHUNK_USED : 0);
        append(&chunks, &model, 32, CHUNK_PYTHON);
    }
    check_all(&chunks, &model);
    finish(&chunks, &model);
}

Test(chunks, a_flag_is_of_its_chunk_alone)
{
    struct model model = {.end = START};
    struct chunks chunks;
    chunks_begin(&chunks, START);
    append(&chunks, &model, 32, CHUNK_USED);
    append(&chunks, &model, 9 * GIB, CHUNK_USED);
    append(&chunks, &model, 32, CHUNK_USED);
    const struct chunk found = chunks_find(&chunks, START + 32);
    chunks_flag(&chunks, &found, CHUNK_CACHED | CHUNK_FAST);
    model.chunks[1].flags |= CHUNK_CACHED | CHUNK_FAST;
    check_all(&chunks, &model);
    finish(&chunks, &model);
}

Test(chunks, rewinding_drops_a_long_chunk_whole)
{
    struct model model = {.end = START};
    struct chunks chunks;
    chunks_begin(&chunks, START);
    for (unsigned i = 0; i < 3; i++)
        append(&chunks, &model, (uint64_t)600 << 31, CHUNK_USED);
    while (model.n_chunks != 0) {
        rewind_both(&chunks, &model);
        check_all(&chunks, &model);
    }
    append(&chunks, &model, 64, CHUNK_USED);
    check_all(&chunks, &model);
    finish(&chunks, &model);
}

/* ---- at random --------------------------------------------------------- */

static uint64_t
random_length(uint64_t *state)
{
    switch (check_random(state) % 64) {
    case 0:
        return LONGEST + (check_random(state) % 5 - 2) * CHUNK_GRAIN;
    case 1:
        return (1 + check_random(state) % 64) * GIB;
    default:
        return (1 + check_random(state) % 300) * CHUNK_GRAIN;
    }
}

static void
flag_any(struct chunks *chunks, struct model *model, uint64_t *state)
{
    struct model_chunk *one =
        &model->chunks[check_random(state) % model->n_chunks];
    const unsigned flags = (unsigned)check_random(state) % 16;
    const struct chunk found = chunks_find(chunks, one->at);
    chunks_flag(chunks, &found, flags);
    one->flags |= flags;
}

Test(chunks, any_sequence_is_what_a_list_would_hold)
{
    uint64_t state = 7;
    for (unsigned round = 0; round < 40; round++) {
        struct model model = {.end = START};
        struct chunks chunks;
        chunks_begin(&chunks, START);
        const unsigned n_steps = (unsigned)check_random(&state) % 3000;
        for (unsigned i = 0; i < n_steps; i++) {
            const unsigned what = (unsigned)check_random(&state) % 400;
            if (what == 0)
                rewind_both(&chunks, &model);
            else if (what < 20 && model.n_chunks != 0)
                flag_any(&chunks, &model, &state);
            else
                append(&chunks, &model, random_length(&state),
                       (unsigned)check_random(&state) % 16);
        }
        check_all(&chunks, &model);
        finish(&chunks, &model);
    }
}
