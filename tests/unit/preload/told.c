#include "tests/unit/preload/told.h"

#include <string.h>

static void
read_batch(const char *batch, struct told *told)
{
    struct wire_batch header;
    memcpy(&header, batch, sizeof(header));
    size_t at = sizeof(header);
    const size_t end =
        header.used_bytes == 0 ? WIRE_BATCH_BYTES : header.used_bytes;
    while (at < end) {
        uint64_t word;
        struct wire_record record;
        memcpy(&word, batch + at, sizeof(word));
        memcpy(&record, batch + at, sizeof(record));
        if (word == 0)
            break;
        told->records[told->n] = batch + at;
        told->words[told->n++] = word;
        at += (word & WIRE_EVENT) != 0 ? sizeof(word) : record.n_bytes;
    }
}

const struct told *
told_in(const struct wire_buffer_head *head)
{
    static struct told told;
    const char *batches = head->ring != 0
                              ? (const char *)(uintptr_t)head->ring
                              : (const char *)head + WIRE_BATCH_BYTES;
    told.n = 0;
    for (uint64_t i = 0; i < head->sequence; i++)
        read_batch(batches + i * WIRE_BATCH_BYTES, &told);
    return &told;
}

unsigned
told_kind(uint64_t word)
{
    struct wire_record record;
    memcpy(&record, &word, sizeof(record));
    return (word & WIRE_EVENT) != 0 ? WIRE_KIND_NONE : record.kind;
}
