/*
 * The input is a batch: as much of WIRE_BATCH_BYTES as there is. Its header is
 * made sound where it is not, so that what is behind it is reached.
 */
#include <string.h>

#include "collector/decode.h"
#include "include/xalloc.h"
#include "tests/fuzz/fuzz.h"

enum { BUFFERS = 4 };

struct heard {
    uint64_t n;
    uint64_t sum; /* so that every field is looked at */
};

/* How much of a record is said to be there. */
static size_t
whole_bytes(const struct wire_record *record, size_t fixed_bytes)
{
    if (record->kind == WIRE_KIND_STACK)
        return record->n_bytes;
    return record->kind == WIRE_KIND_MODULE ? fixed_bytes + record->detail
                                            : fixed_bytes;
}

#define X(NAME, name)                                                      \
    static void on_##name(void *context, const struct wire_##name *record) \
    {                                                                      \
        struct heard *heard = context;                                     \
        const unsigned char *at = (const unsigned char *)record;           \
        fuzz_holds(record->record.kind == WIRE_KIND_##NAME);               \
        fuzz_holds(record->record.n_bytes >= sizeof(*record));             \
        heard->n++;                                                        \
        const size_t n = whole_bytes(&record->record, sizeof(*record));    \
        fuzz_holds(record->record.n_bytes >= n);                           \
        for (size_t i = 0; i < n; i++)                                     \
            heard->sum += at[i];                                           \
    }
WIRE_RECORDS(X)
#undef X

static void
on_events(void *context, const void *words, size_t n)
{
    struct heard *heard = context;
    for (size_t i = 0; i < n; i++) {
        uint64_t event;
        memcpy(&event, (const char *)words + i * sizeof(event), sizeof(event));
        heard->sum += event;
    }
    heard->n += n;
}

static void
decode_from(const char *batch, size_t used, size_t at)
{
    struct heard heard = {0};
    const struct decode_handler handler = {.context = &heard,
                                           .events = on_events,
#define X(NAME, name) .name = on_##name,
                                           WIRE_RECORDS(X)
#undef X
    };
    struct decode_counts counts = {0};
    bool is_sound;
    const size_t end = decode_batch(batch, at, &handler, &counts, &is_sound);
    fuzz_holds(heard.n + counts.holes <= counts.records);
    fuzz_holds(end >= at || at < sizeof(struct wire_batch));
    fuzz_holds(end <= used || end == at);
    fuzz_holds(is_sound == (end >= used));
    fuzz_holds(counts.records <= used / sizeof(struct wire_record));
}

/* One that is being filled: zero behind what is there. */
static void
decode_open(const struct wire_batch *header, const uint8_t *bytes,
            size_t n_bytes)
{
    struct wire_batch open = *header;
    open.used_bytes = 0;
    fuzz_holds(decode_is_batch(&open, BUFFERS));
    char *batch = xcalloc(WIRE_BATCH_BYTES, 1);
    memcpy(batch, bytes, n_bytes);
    memcpy(batch, &open, sizeof(open));
    struct heard heard = {0};
    const struct decode_handler handler = {.context = &heard,
                                           .events = on_events};
    struct decode_counts counts = {0};
    bool is_sound;
    const size_t end = decode_batch(batch, 0, &handler, &counts, &is_sound);
    fuzz_holds(end >= sizeof(open) && end <= WIRE_BATCH_BYTES);
    fuzz_holds(counts.holes == 0);
    free(batch);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct wire_batch header;
    if (n_bytes < sizeof(header) || n_bytes > WIRE_BATCH_BYTES)
        return 0;
    memcpy(&header, bytes, sizeof(header));
    decode_is_batch(&header, BUFFERS);
    header.magic = WIRE_MAGIC;
    header.version = WIRE_VERSION;
    n_bytes -= n_bytes % sizeof(uint64_t);
    header.used_bytes = (uint16_t)n_bytes;
    header.buffer %= BUFFERS;
    header.sequence &= WIRE_MAX_SEQUENCE;
    header.sequence += header.sequence == 0;
    fuzz_holds(decode_is_batch(&header, BUFFERS));

    char *batch = xcalloc(n_bytes, 1);
    memcpy(batch, bytes, n_bytes);
    memcpy(batch, &header, sizeof(header));
    decode_from(batch, n_bytes, 0);
    decode_from(batch, n_bytes, header.first_event % (n_bytes + 16));
    free(batch);
    decode_open(&header, bytes, n_bytes);
    return 0;
}
