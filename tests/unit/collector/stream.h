/*
 * stream.h - the writing end of a stream, as a preload's is
 *
 * A pipe, a sealed memfd and one buffer after another, written without any of
 * the preload's code, and without its scruples where a test wants that.
 */
#ifndef TESTS_UNIT_COLLECTOR_STREAM_H
#define TESTS_UNIT_COLLECTOR_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "include/wire.h"

enum { STREAM_BUFFERS = 4 };

struct stream {
    int pipe_read;  /* for a source, which closes it */
    int pipe_write; /* -1: it was closed */
    int shared;     /* for a source */
    char *memory;   /* ours: the header, then the buffers */
    char *ring;     /* of buffer 1, if it was given one */
};

/* n_buffers are announced; seals are those of memfd_create(2). */
struct stream stream_create(uint32_t n_buffers, unsigned seals);
void stream_destroy(struct stream *stream);

struct wire_shared *stream_header(struct stream *stream);
struct wire_buffer_head *stream_head(struct stream *stream, uint32_t buffer);

/* Buffer 1 has a ring from its first batch on. */
void stream_give_ring(struct stream *stream);

/* The batch that a buffer is filling. */
struct wire_batch *stream_batch(struct stream *stream, uint32_t buffer);

/* A death with this stamp; a full batch is an error of the test. */
void stream_put(struct stream *stream, uint32_t buffer, uint64_t stamp);

/* Begins the next batch; what was filled goes into the pipe, or nowhere. */
void stream_close_batch(struct stream *stream, uint32_t buffer, bool is_sent);

/* n_bytes into the pipe, whatever they are. */
void stream_send(struct stream *stream, const void *bytes, uint32_t n_bytes);

/* The target is gone. */
void stream_hang_up(struct stream *stream);

#endif
