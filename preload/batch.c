#include "preload/batch.h"

#include <stdbool.h>
#include <string.h>

#include "preload/process.h"
#include "preload/raw.h"
#include "preload/sink.h"

static struct wire_batch *
batch_at(struct wire_buffer_head *head, uint64_t sequence)
{
    const uint64_t place = 1 + (sequence - 1) % WIRE_BATCHES;
    return (struct wire_batch *)(void *)((char *)head +
                                         place * WIRE_BATCH_BYTES);
}

static struct wire_batch *
open_next(struct wire_buffer_head *head, uint32_t index)
{
    const uint64_t sequence = head->sequence + 1;
    struct wire_batch *batch = batch_at(head, sequence);
    batch->magic = WIRE_MAGIC;
    batch->version = WIRE_VERSION;
    batch->buffer = index;
    batch->tid = (uint32_t)raw_gettid();
    batch->sequence = sequence;
    batch->opened_ns = process_now_ns();
    batch->first_event = head->n_events;
    __atomic_store_n(&batch->used_bytes, sizeof(*batch), __ATOMIC_RELEASE);
    __atomic_store_n(&head->sequence, sequence, __ATOMIC_RELEASE);
    return batch;
}

void
batch_close(struct wire_buffer_head *head, uint32_t index)
{
    if (head->sequence == 0 || process_mode() != PROCESS_ON)
        return;
    const struct wire_batch *batch = batch_at(head, head->sequence);
    if (batch->used_bytes == sizeof(*batch))
        return;
    if (sink_write(batch, process_may_wait()) == SINK_GONE)
        process_fall_silent();
    open_next(head, index);
}

/* The batch with room for n_bytes, or NULL: there is none. */
static struct wire_batch *
batch_with_room(struct wire_buffer_head *head, uint32_t index, uint16_t n_bytes)
{
    if (head->sequence == 0)
        return open_next(head, index);
    struct wire_batch *batch = batch_at(head, head->sequence);
    if (batch->used_bytes + n_bytes <= WIRE_BATCH_BYTES)
        return batch;
    if (process_mode() == PROCESS_EARLY)
        return NULL; /* the static buffer holds one batch */
    batch_close(head, index);
    batch = batch_at(head, head->sequence);
    return batch->used_bytes + n_bytes <= WIRE_BATCH_BYTES ? batch : NULL;
}

void
batch_put(struct wire_buffer_head *head, uint32_t index,
          const struct wire_record *record)
{
    struct wire_batch *batch = batch_with_room(head, index, record->n_bytes);
    if (batch == NULL) {
        __atomic_fetch_add(&head->lost_events, 1, __ATOMIC_RELAXED);
        return;
    }
    memcpy((char *)batch + batch->used_bytes, record, record->n_bytes);
    head->n_events++;
    const uint16_t used = (uint16_t)(batch->used_bytes + record->n_bytes);
    __atomic_store_n(&batch->used_bytes, used, __ATOMIC_RELEASE);
}
