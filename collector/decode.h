/*
 * decode.h - batches into records, proved before they are believed
 *
 * A batch comes from a stranger. Every length is checked before the bytes
 * behind it are touched; an unknown kind is skipped by its length; a record of
 * a known kind that is too short makes the rest of its batch malformed.
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
#define X(NAME, name) \
    void (*name)(void *context, const struct wire_##name *record);
    WIRE_RECORDS(X)
#undef X
};

/* Whether the header is one, of this buffer, with a length inside the batch. */
bool decode_is_batch(const struct wire_batch *header, uint32_t n_buffers);

/*
 * Hands over the records of a batch from offset `at` on (0: all of them), and
 * returns the offset behind the last. *n_records counts them. False in
 * *is_sound if the rest could not be understood.
 */
size_t decode_batch(const void *batch, size_t at,
                    const struct decode_handler *handler, uint64_t *n_records,
                    bool *is_sound);

#endif
