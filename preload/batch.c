#include "preload/batch.h"

#include <stdbool.h>
#include <string.h>

#include "preload/process.h"
#include "preload/shared.h"
#include "preload/sink.h"

/* A divisor of WIRE_BATCHES: the ring never ends within a write. */
enum { BATCHES_A_WRITE = 5 };

static_assert(WIRE_BATCHES % BATCHES_A_WRITE == 0, "a write is one piece");

static struct wire_batch *
batch_at(struct wire_buffer_head *head, uint64_t sequence)
{
    if (head->ring != 0)
        return (struct wire_batch *)(uintptr_t)(head->ring +
                                                (sequence - 1) %
                                                    WIRE_RING_BATCHES *
                                                    WIRE_BATCH_BYTES);
    const uint64_t place = 1 + (sequence - 1) % WIRE_BATCHES;
    return (struct wire_batch *)(void *)((char *)head +
                                         place * WIRE_BATCH_BYTES);
}

/* By words: the hot path's instructions are counted, and these are too. */
static void
clear(struct wire_batch *batch)
{
    void *at = batch;
    uint64_t n_words = WIRE_BATCH_BYTES / sizeof(uint64_t);
    __asm__ volatile("rep stosq"
                     : "+D"(at), "+c"(n_words)
                     : "a"((uint64_t)0)
                     : "memory");
}

static void
send_by_pipe(const struct wire_batch *first, uint64_t n, bool may_wait)
{
    const enum sink_result result = sink_write(first, n, may_wait);
    if (result == SINK_GONE)
        process_fall_silent();
    else if (result == SINK_FULL) /* it may be overwritten before it is read */
        process_tell_again();
}

/* ---- rings ------------------------------------------------------------- */

static const struct wire_ring *
ring_of(uint32_t index)
{
    return &shared_header()->rings[index - 1];
}

static uint64_t
taken_of(uint32_t index)
{
    return __atomic_load_n(&ring_of(index)->taken, __ATOMIC_ACQUIRE);
}

/*
 * Before the next batch is opened: what it takes the place of was taken, or is
 * waited for, or goes by the pipe as long as that has room. One place stays
 * free, so that a reader knows that what it copies stays.
 */
static void
make_room(struct wire_buffer_head *head, uint32_t index)
{
    const uint64_t taken = taken_of(index);
    if (head->sequence + 2 <= taken + WIRE_RING_BATCHES)
        return;
    const enum sink_result result =
        sink_wait(&ring_of(index)->taken,
                  head->sequence + 2 - WIRE_RING_BATCHES, process_may_wait());
    if (result == SINK_SENT)
        return;
    if (result == SINK_GONE)
        process_fall_silent();
    else if (head->sequence + 1 > taken + WIRE_RING_BATCHES)
        send_by_pipe(batch_at(head, head->sequence + 1), 1, false);
}

/* The collector sleeps until so many batches are there. */
static bool
is_awaited(struct wire_buffer_head *head, uint32_t index)
{
    const uint64_t wake_at =
        __atomic_load_n(&ring_of(index)->wake_at, __ATOMIC_RELAXED);
    if (head->sequence < wake_at || head->answered == wake_at + 1)
        return false;
    head->answered = wake_at + 1; /* 0: none yet */
    return true;
}

static struct wire_batch *
open_next(struct wire_buffer_head *head, uint32_t index)
{
    if (head->sequence == 0 && process_is_exact())
        head->ring = (uintptr_t)shared_ring(index);
    if (head->ring != 0)
        make_room(head, index);
    const uint64_t sequence = head->sequence + 1;
    struct wire_batch *batch = batch_at(head, sequence);
    /* First of all: who is copying what was here learns that it goes. */
    __atomic_store_n(&batch->sequence, 0, __ATOMIC_RELEASE);
    clear(batch);
    batch->magic = WIRE_MAGIC;
    batch->version = WIRE_VERSION;
    batch->buffer = index;
    batch->tid = __atomic_load_n(&head->owner_tid, __ATOMIC_RELAXED);
    batch->sequence = sequence;
    batch->first_event = head->n_events;
    head->open_bytes = sizeof(*batch);
    __atomic_store_n(&head->sequence, sequence, __ATOMIC_RELEASE);
    return batch;
}

static void
close_open(struct wire_buffer_head *head)
{
    struct wire_batch *batch = batch_at(head, head->sequence);
    __atomic_store_n(&batch->used_bytes, (uint16_t)head->open_bytes,
                     __ATOMIC_RELEASE);
}

/*
 * All that are closed. They lie one behind another: see BATCHES_A_WRITE. Of a
 * ring only the oldest that is not taken, so that the collector wakes: what
 * comes by the pipe is in order, too.
 */
static void
send_closed(struct wire_buffer_head *head, uint32_t index)
{
    const uint64_t first = 1 + (head->ring == 0 ? head->sent : taken_of(index));
    const uint64_t n = head->ring == 0 ? head->sequence - head->sent : 1;
    head->sent = head->sequence;
    send_by_pipe(batch_at(head, first), n, process_may_wait());
}

void
batch_close(struct wire_buffer_head *head, uint32_t index)
{
    if (head->sequence == 0 || process_mode() != PROCESS_ON ||
        head->open_bytes == sizeof(struct wire_batch))
        return;
    close_open(head);
    send_closed(head, index);
    open_next(head, index);
}

/* At level exact there are many: a write takes several. */
static void
turn_over(struct wire_buffer_head *head, uint32_t index)
{
    const bool is_due = head->ring == 0 ? head->sequence % BATCHES_A_WRITE == 0
                                        : is_awaited(head, index);
    if (!process_is_exact() || process_mode() != PROCESS_ON || is_due) {
        batch_close(head, index);
        return;
    }
    close_open(head);
    open_next(head, index);
}

/* Nothing is sent yet: what there is stays, as long as there is room. */
static struct wire_batch *
next_early(struct wire_buffer_head *head, uint32_t index)
{
    if (head->sequence == WIRE_BATCHES)
        return NULL;
    close_open(head);
    head->sent = head->sequence; /* the collector finds it in the memory */
    return open_next(head, index);
}

/* The batch with room for n_bytes, or NULL: there is none. */
static struct wire_batch *
batch_with_room(struct wire_buffer_head *head, uint32_t index, size_t n_bytes)
{
    if (head->sequence == 0)
        return open_next(head, index);
    if (head->open_bytes + n_bytes > WIRE_BATCH_BYTES) {
        if (process_mode() == PROCESS_EARLY)
            return next_early(head, index);
        turn_over(head, index);
    }
    return head->open_bytes + n_bytes <= WIRE_BATCH_BYTES
               ? batch_at(head, head->sequence)
               : NULL;
}

/* A record is seen once its first word is there. */
static void
put(struct wire_buffer_head *head, uint32_t index, const void *record,
    size_t n_bytes)
{
    uint64_t first;
    memcpy(&first, record, sizeof(first));
    const uint64_t n_events = wire_is_event(first) ? 1 : 0;
    struct wire_batch *batch = batch_with_room(head, index, n_bytes);
    if (batch == NULL) {
        __atomic_fetch_add(&head->lost_events, n_events, __ATOMIC_RELAXED);
        return;
    }
    char *place = (char *)batch + head->open_bytes;
    memcpy(place + sizeof(first), (const char *)record + sizeof(first),
           n_bytes - sizeof(first));
    __atomic_store_n((uint64_t *)(void *)place, first, __ATOMIC_RELEASE);
    head->open_bytes += (uint32_t)n_bytes;
    head->n_events += n_events;
}

void
batch_put(struct wire_buffer_head *head, uint32_t index,
          const struct wire_record *record)
{
    put(head, index, record, record->n_bytes);
}

void
batch_put_event(struct wire_buffer_head *head, uint32_t index, uint64_t event)
{
    put(head, index, &event, sizeof(event));
}

/* ---- events that nobody wants ------------------------------------------ */

static void
count(struct wire_counters *counters, uint64_t event)
{
    const uint64_t n_bytes = wire_event_bytes(event);
    const bool is_death = (event & WIRE_EVENT_DEATH) != 0;
    struct wire_counters *its = &counters[wire_event_caller(event)];
    __atomic_fetch_add(is_death ? &its->deaths : &its->births, 1,
                       __ATOMIC_RELAXED);
    __atomic_fetch_add(is_death ? &its->death_bytes : &its->birth_bytes,
                       n_bytes, __ATOMIC_RELAXED);
}

void
batch_count_events(struct wire_buffer_head *head,
                   struct wire_counters counters[WIRE_N_CALLERS],
                   void (*counted)(uint64_t event))
{
    const struct wire_record nothing = {.n_bytes = sizeof(nothing)};
    for (uint64_t sequence = 1; sequence <= head->sequence; sequence++) {
        char *batch = (char *)batch_at(head, sequence);
        size_t at = sizeof(struct wire_batch);
        while (at < WIRE_BATCH_BYTES) {
            uint64_t *word = (uint64_t *)(void *)(batch + at);
            if (*word == 0)
                break;
            if ((*word & WIRE_EVENT) != 0) {
                count(counters, *word);
                counted(*word);
                memcpy(word, &nothing, sizeof(nothing));
            }
            at += ((const struct wire_record *)(const void *)word)->n_bytes;
        }
    }
}

/* ---- what the hot path writes ------------------------------------------ */

uint64_t *
batch_open_end(struct wire_buffer_head *head)
{
    if (head->sequence == 0)
        return NULL;
    char *batch = (char *)batch_at(head, head->sequence);
    return (uint64_t *)(void *)(batch + head->open_bytes);
}

/* Batches lie at multiples of their size. */
uint64_t *
batch_end(uint64_t *place)
{
    if (place == NULL)
        return NULL;
    const uintptr_t start = ((uintptr_t)place - 1) / WIRE_BATCH_BYTES;
    return (uint64_t *)((start + 1) * WIRE_BATCH_BYTES);
}

void
batch_came_to(struct wire_buffer_head *head, const uint64_t *end)
{
    const char *batch = (const char *)batch_at(head, head->sequence);
    size_t n_bytes = (size_t)((const char *)end - batch);
    if (n_bytes > WIRE_BATCH_BYTES) /* no place, and not given back yet */
        n_bytes = WIRE_BATCH_BYTES;
    head->n_events += (n_bytes - head->open_bytes) / sizeof(*end);
    head->open_bytes = (uint32_t)n_bytes;
}
