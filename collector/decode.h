/*
 * decode.h - batches into records, proved before they are believed
 *
 * A batch comes from a stranger. Every length is checked before the bytes
 * behind it are touched; an unknown kind is skipped by its length; a record of
 * a known kind that is too short makes the rest of its batch malformed. What
 * follows a MODULE (its path) and a STACK (its frames) is handed over with it.
 */
#ifndef COLLECTOR_DECODE_H
#define COLLECTOR_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "include/wire.h"

/* One function a kind; NULL: not of interest. */
struct decode_handler {
    void *context;
    /* Events of one word, that many one behind another. */
    void (*events)(void *context, const void *words, size_t n);
#define X(NAME, name) \
    void (*name)(void *context, const struct wire_##name *record);
    WIRE_RECORDS(X)
#undef X
};

static inline size_t
decode_n_frames(const struct wire_stack *stack)
{
    return (stack->record.n_bytes - sizeof(*stack)) / sizeof(stack->frames[0]);
}

/* Whether the header is one, of this buffer, with a length inside the batch. */
bool decode_is_batch(const struct wire_batch *header, uint32_t n_buffers);

struct decode_counts {
    uint64_t records; /* the holes included */
    uint64_t events;  /* among them, and the holes */
    uint64_t holes;
};

/*
 * Hands over the records of a batch from offset `at` on (0: all of them), and
 * returns the offset behind the last. Adds to what it counts. False in
 * *is_sound if the rest could not be understood.
 */
size_t decode_batch(const void *batch, size_t at,
                    const struct decode_handler *handler,
                    struct decode_counts *counts, bool *is_sound);

#endif
