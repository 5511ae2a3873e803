#include "tests/unit/collector/stream.h"

#include <err.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MEMORY_BYTES = (STREAM_BUFFERS + 1) * WIRE_BUFFER_BYTES };

/* With one ring. */
#define FILE_BYTES ((off_t)(WIRE_RINGS_START + WIRE_RING_BYTES))

struct stream
stream_create(uint32_t n_buffers, unsigned seals)
{
    int pipe[2];
    const int shared = memfd_create("residue", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (shared < 0 || ftruncate(shared, MEMORY_BYTES) != 0 ||
        fcntl(shared, F_ADD_SEALS, (int)seals) != 0)
        err(1, "no memfd is to be had");
    if (pipe2(pipe, O_CLOEXEC | O_NONBLOCK) != 0)
        err(1, "no pipe is to be had");
    struct stream stream = {
        .pipe_read = pipe[0],
        .pipe_write = pipe[1],
        .shared = shared,
        .memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
                       shared, 0),
    };
    if (stream.memory == MAP_FAILED)
        err(1, "the memfd cannot be mapped");
    *stream_header(&stream) = (struct wire_shared){
        .magic = WIRE_MAGIC,
        .version = WIRE_VERSION,
        .n_buffers = n_buffers,
    };
    return stream;
}

void
stream_hang_up(struct stream *stream)
{
    if (stream->pipe_write >= 0)
        close(stream->pipe_write);
    stream->pipe_write = -1;
}

void
stream_destroy(struct stream *stream)
{
    stream_hang_up(stream);
    munmap(stream->memory, MEMORY_BYTES);
    if (stream->ring != NULL)
        munmap(stream->ring, WIRE_RING_BYTES);
}

struct wire_shared *
stream_header(struct stream *stream)
{
    return (struct wire_shared *)(void *)stream->memory;
}

struct wire_buffer_head *
stream_head(struct stream *stream, uint32_t buffer)
{
    return (struct wire_buffer_head *)(void *)(stream->memory +
                                               (uint64_t)(buffer + 1) *
                                                   WIRE_BUFFER_BYTES);
}

void
stream_give_ring(struct stream *stream)
{
    if (ftruncate(stream->shared, FILE_BYTES) != 0)
        err(1, "the memfd has no room for a ring");
    stream->ring = mmap(NULL, WIRE_RING_BYTES, PROT_READ | PROT_WRITE,
                        MAP_SHARED, stream->shared, (off_t)WIRE_RINGS_START);
    if (stream->ring == MAP_FAILED)
        err(1, "the ring cannot be mapped");
    stream_head(stream, 1)->ring = 1;
}

static struct wire_batch *
batch_at(struct stream *stream, uint32_t buffer, uint64_t sequence)
{
    struct wire_buffer_head *head = stream_head(stream, buffer);
    char *place = head->ring != 0
                      ? stream->ring + (sequence - 1) % WIRE_RING_BATCHES *
                                           WIRE_BATCH_BYTES
                      : (char *)head + (1 + (sequence - 1) % WIRE_BATCHES) *
                                           WIRE_BATCH_BYTES;
    return (struct wire_batch *)(void *)place;
}

struct wire_batch *
stream_batch(struct stream *stream, uint32_t buffer)
{
    return batch_at(stream, buffer, stream_head(stream, buffer)->sequence);
}

static void
open_next(struct stream *stream, uint32_t buffer)
{
    struct wire_buffer_head *head = stream_head(stream, buffer);
    struct wire_batch *batch = batch_at(stream, buffer, head->sequence + 1);
    __atomic_store_n(&batch->sequence, 0, __ATOMIC_SEQ_CST);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    memset(batch, 0, WIRE_BATCH_BYTES);
    *batch = (struct wire_batch){
        .magic = WIRE_MAGIC,
        .version = WIRE_VERSION,
        .used_bytes = sizeof(struct wire_batch),
        .buffer = buffer,
        .sequence = head->sequence + 1,
        .first_event = head->n_events,
    };
    __atomic_store_n(&head->sequence, head->sequence + 1, __ATOMIC_RELEASE);
}

void
stream_put(struct stream *stream, uint32_t buffer, uint64_t stamp)
{
    struct wire_buffer_head *head = stream_head(stream, buffer);
    if (head->sequence == 0)
        open_next(stream, buffer);
    struct wire_batch *batch = stream_batch(stream, buffer);
    const struct wire_death death = {
        .record = {.kind = WIRE_KIND_DEATH, .n_bytes = sizeof(death)},
        .stamp = stamp,
        .addr = stamp,
        .n_bytes = stamp,
    };
    if (batch->used_bytes + sizeof(death) > WIRE_BATCH_BYTES)
        errx(1, "the batch is full");
    memcpy((char *)batch + batch->used_bytes, &death, sizeof(death));
    __atomic_store_n(&batch->used_bytes,
                     (uint16_t)(batch->used_bytes + sizeof(death)),
                     __ATOMIC_RELEASE);
    head->n_events++;
}

void
stream_close_batch(struct stream *stream, uint32_t buffer, bool is_sent)
{
    if (is_sent)
        stream_send(stream, stream_batch(stream, buffer), WIRE_BATCH_BYTES);
    open_next(stream, buffer);
}

void
stream_send(struct stream *stream, const void *bytes, uint32_t n_bytes)
{
    if (write(stream->pipe_write, bytes, n_bytes) != (ssize_t)n_bytes)
        err(1, "the pipe took less");
}
