/*
 * bytes.h - a cursor over bytes that somebody else wrote
 *
 * Sizes are proved before bytes are touched: a take that would run past the
 * end sets the one sticky flag, gives zeroes, and every later take does the
 * same. A reader therefore takes all its fields first and asks bytes_ok once.
 */
#ifndef INCLUDE_BYTES_H
#define INCLUDE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
    const unsigned char *at;
    size_t left;
    bool ran_out;
};

static inline struct bytes
bytes_over(const void *start, size_t n_bytes)
{
    return (struct bytes){.at = start, .left = n_bytes, .ran_out = false};
}

static inline bool
bytes_ok(const struct bytes *bytes)
{
    return !bytes->ran_out;
}

/* Copies n_bytes into where, or zeroes it and sets the flag. */
static inline void
bytes_take(struct bytes *bytes, void *where, size_t n_bytes)
{
    if (bytes->ran_out || bytes->left < n_bytes) {
        bytes->ran_out = true;
        memset(where, 0, n_bytes);
        return;
    }
    memcpy(where, bytes->at, n_bytes);
    bytes->at += n_bytes;
    bytes->left -= n_bytes;
}

/* A view of the next n_bytes, or NULL and the flag. */
static inline const void *
bytes_view(struct bytes *bytes, size_t n_bytes)
{
    if (bytes->ran_out || bytes->left < n_bytes) {
        bytes->ran_out = true;
        return NULL;
    }
    const void *view = bytes->at;
    bytes->at += n_bytes;
    bytes->left -= n_bytes;
    return view;
}

static inline uint16_t
bytes_u16(struct bytes *bytes)
{
    uint16_t value;
    bytes_take(bytes, &value, sizeof(value));
    return value;
}

static inline uint32_t
bytes_u32(struct bytes *bytes)
{
    uint32_t value;
    bytes_take(bytes, &value, sizeof(value));
    return value;
}

static inline uint64_t
bytes_u64(struct bytes *bytes)
{
    uint64_t value;
    bytes_take(bytes, &value, sizeof(value));
    return value;
}

#endif
