/*
 * The input is a program of a hostile writer, over a stream that was sound:
 *
 *   place (2 bytes), n (1 byte), n bytes    written to the memory at place * 8
 *   place, 0xfd     the stream hangs up
 *   place, 0xfe     the source is drained
 *   place, 0xff     the 4096 bytes at place * 8 are sent by the pipe
 *   place, 0xfc     as many bytes of them as place says, which is no batch
 */
#include <err.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "collector/source.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/collector/stream.h"

enum {
    MEMORY_BYTES = (STREAM_BUFFERS + 1) * WIRE_BUFFER_BYTES,
    ROOM = 64, /* for buffers, most of them holes that are announced only */
    MOST_SENT = 64,
    SEND_PART = 0xfc,
    HANG_UP = 0xfd,
    DRAIN = 0xfe,
    SEND = 0xff,
};

struct writer {
    struct stream stream;
    struct source *source;
    unsigned n_sent;
    uint64_t n_heard;
};

static void
on_death(void *context, const struct wire_death *death)
{
    struct writer *writer = context;
    fuzz_holds(death->record.kind == WIRE_KIND_DEATH);
    writer->n_heard++;
}

static void
on_end(void *context, const struct wire_end *end)
{
    struct writer *writer = context;
    fuzz_holds(end->record.kind == WIRE_KIND_END);
    writer->n_heard++;
}

static void
drain(struct writer *writer)
{
    const struct decode_handler handler = {
        .context = writer, .death = on_death, .end = on_end};
    const bool was_sound = source_is_sound(writer->source);
    source_drain(writer->source, &handler);
    fuzz_holds(was_sound || !source_is_sound(writer->source));
    source_totals(writer->source);
    source_end_is_awaited(writer->source, 1);
}

static void
send(struct writer *writer, size_t at, uint32_t n_bytes)
{
    if (writer->stream.pipe_write < 0 || writer->n_sent == MOST_SENT ||
        n_bytes == 0)
        return;
    if (at > MEMORY_BYTES - WIRE_BATCH_BYTES)
        at = MEMORY_BYTES - WIRE_BATCH_BYTES;
    stream_send(&writer->stream, writer->stream.memory + at, n_bytes);
    writer->n_sent++;
}

/* A few batches in each buffer, some sent, the last of each being filled. */
static void
begin(struct writer *writer)
{
    writer->stream = stream_create(STREAM_BUFFERS, F_SEAL_SHRINK);
    if (ftruncate(writer->stream.shared, (ROOM + 1) * WIRE_BUFFER_BYTES) != 0)
        err(1, "the memfd cannot grow");
    writer->source =
        source_create(writer->stream.pipe_read, writer->stream.shared);
    for (uint32_t buffer = 0; buffer < STREAM_BUFFERS; buffer++) {
        for (uint64_t i = 0; i < 20; i++) {
            stream_put(&writer->stream, buffer, i);
            if (i % 5 == 4)
                stream_close_batch(&writer->stream, buffer, i % 2 == 0);
        }
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct writer writer = {0};
    begin(&writer);
    size_t i = 0;
    while (i + 3 <= n_bytes) {
        const size_t place = (size_t)bytes[i] | (size_t)bytes[i + 1] << 8;
        const size_t at = place * 8 % MEMORY_BYTES;
        size_t n = bytes[i + 2];
        i += 3;
        if (n == SEND) {
            send(&writer, at, WIRE_BATCH_BYTES);
        } else if (n == SEND_PART) {
            send(&writer, at, (uint32_t)(place % WIRE_BATCH_BYTES));
        } else if (n == DRAIN) {
            drain(&writer);
        } else if (n == HANG_UP) {
            stream_hang_up(&writer.stream);
        } else {
            n = n < n_bytes - i ? n : n_bytes - i;
            n = n < MEMORY_BYTES - at ? n : MEMORY_BYTES - at;
            memcpy(writer.stream.memory + at, bytes + i, n);
            i += n;
        }
    }
    drain(&writer);
    drain(&writer);
    source_destroy(writer.source);
    stream_destroy(&writer.stream);
    return 0;
}
