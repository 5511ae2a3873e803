#include "collector/decode.h"

#include <string.h>

bool
decode_is_batch(const struct wire_batch *header, uint32_t n_buffers)
{
    return header->magic == WIRE_MAGIC && header->version == WIRE_VERSION &&
           (header->used_bytes == 0 || (header->used_bytes >= sizeof(*header) &&
                                        header->used_bytes % 8 == 0)) &&
           header->used_bytes <= WIRE_BATCH_BYTES &&
           header->buffer < n_buffers && header->sequence != 0 &&
           header->sequence <= WIRE_MAX_SEQUENCE;
}

/* A record with what follows it. */
union whole {
#define X(NAME, name) struct wire_##name name;
    WIRE_RECORDS(X)
#undef X
    char bytes[WIRE_BATCH_BYTES];
};

/* What is behind a record of these kinds is part of it. */
static bool
has_tail(enum wire_kind kind)
{
    return kind == WIRE_KIND_MODULE || kind == WIRE_KIND_STACK;
}

static size_t
least_bytes(const struct wire_record *head, size_t fixed_bytes)
{
    return head->kind == WIRE_KIND_MODULE ? fixed_bytes + head->detail
                                          : fixed_bytes;
}

/* A whole record; false: it is shorter than its kind, or than it says. */
static bool
hand_over(const struct wire_record *head, const void *body,
          const struct decode_handler *handler)
{
    union whole whole;
    switch (head->kind) {
#define X(NAME, name)                                              \
    case WIRE_KIND_##NAME:                                         \
        if (head->n_bytes < least_bytes(head, sizeof(whole.name))) \
            return false;                                          \
        memcpy(&whole, body,                                       \
               has_tail(WIRE_KIND_##NAME) ? head->n_bytes          \
                                          : sizeof(whole.name));   \
        if (handler->name != NULL)                                 \
            handler->name(handler->context, &whole.name);          \
        return true;
        WIRE_RECORDS(X)
#undef X
    default:
        return true; /* of a newer preload */
    }
}

/* The bytes of the record that begins with this word; 0: it is none. */
static size_t
take_record(const char *start, size_t n_left,
            const struct decode_handler *handler)
{
    struct wire_record head;
    memcpy(&head, start, sizeof(head));
    return head.n_bytes >= sizeof(head) && head.n_bytes % 8 == 0 &&
                   head.n_bytes <= n_left && hand_over(&head, start, handler)
               ? head.n_bytes
               : 0;
}

static uint64_t
word_at(const char *start)
{
    uint64_t word;
    memcpy(&word, start, sizeof(word));
    return word;
}

/* The bytes of the events that follow one another from here on. */
static size_t
take_events(const char *start, size_t n_left,
            const struct decode_handler *handler, struct decode_counts *counts)
{
    size_t n = 0;
    while ((n + 1) * sizeof(uint64_t) <= n_left &&
           (word_at(start + n * sizeof(uint64_t)) & WIRE_EVENT) != 0)
        n++;
    if (handler->events != NULL)
        handler->events(handler->context, start, n);
    counts->records += n;
    counts->events += n;
    return n * sizeof(uint64_t);
}

size_t
decode_batch(const void *batch, size_t at, const struct decode_handler *handler,
             struct decode_counts *counts, bool *is_sound)
{
    struct wire_batch header;
    memcpy(&header, batch, sizeof(header));
    const bool is_open = header.used_bytes == 0;
    const size_t end = is_open ? WIRE_BATCH_BYTES : header.used_bytes;
    if (at < sizeof(header))
        at = sizeof(header);
    *is_sound = true;
    while (at + sizeof(uint64_t) <= end) {
        const char *start = (const char *)batch + at;
        const uint64_t word = word_at(start);
        if ((word & WIRE_EVENT) != 0) {
            at += take_events(start, end - at, handler, counts);
            continue;
        }
        size_t n_bytes = sizeof(word);
        if (word != 0) {
            n_bytes = take_record(start, end - at, handler);
        } else if (is_open) {
            return at;
        } else {
            counts->holes++;
        }
        if (n_bytes == 0) {
            *is_sound = false;
            return at;
        }
        at += n_bytes;
        counts->records++;
        counts->events += wire_is_event(word);
    }
    *is_sound = at >= end;
    return at;
}
