#include "collector/decode.h"

#include <string.h>

#include "include/bytes.h"

bool
decode_is_batch(const struct wire_batch *header, uint32_t n_buffers)
{
    return header->magic == WIRE_MAGIC && header->version == WIRE_VERSION &&
           header->used_bytes >= sizeof(*header) &&
           header->used_bytes <= WIRE_BATCH_BYTES &&
           header->buffer < n_buffers && header->sequence != 0 &&
           header->sequence <= WIRE_MAX_SEQUENCE;
}

/* A whole record; false: it is shorter than its kind. */
static bool
hand_over(const struct wire_record *head, const void *body,
          const struct decode_handler *handler)
{
    switch (head->kind) {
#define X(NAME, name)                                 \
    case WIRE_KIND_##NAME: {                          \
        struct wire_##name record;                    \
        if (head->n_bytes < sizeof(record))           \
            return false;                             \
        memcpy(&record, body, sizeof(record));        \
        if (handler->name != NULL)                    \
            handler->name(handler->context, &record); \
        return true;                                  \
    }
        WIRE_RECORDS(X)
#undef X
    default:
        return true; /* of a newer preload */
    }
}

size_t
decode_batch(const void *batch, size_t at, const struct decode_handler *handler,
             uint64_t *n_records, bool *is_sound)
{
    struct wire_batch header;
    memcpy(&header, batch, sizeof(header));
    if (at < sizeof(header))
        at = sizeof(header);
    *is_sound = true;
    while (at < header.used_bytes) {
        struct bytes rest =
            bytes_over((const char *)batch + at, header.used_bytes - at);
        const unsigned char *start = rest.at;
        struct wire_record head;
        bytes_take(&rest, &head, sizeof(head));
        if (!bytes_ok(&rest) || head.n_bytes < sizeof(head) ||
            head.n_bytes % 8 != 0 || head.n_bytes > header.used_bytes - at ||
            !hand_over(&head, start, handler)) {
            *is_sound = false;
            return at;
        }
        at += head.n_bytes;
        (*n_records)++;
    }
    return at;
}
