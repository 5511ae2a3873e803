#include "preload/batch.h"

#include <unistd.h>

#include "include/attrs.h"
#include "preload/shared.h"
#include "tests/unit/preload/process.h"

static struct wire_buffer_head *head;
static uint32_t buffer_index;

static void
set_up(void)
{
    process_introduce();
    buffer_index = shared_take((uint32_t)getpid());
    head = shared_buffer(buffer_index);
}

TestSuite(batch, .init = set_up, .timeout = 20);

static void
put(uint64_t stamp)
{
    const struct wire_death death = {
        .record = {.kind = WIRE_KIND_DEATH, .n_bytes = sizeof(death)},
        .stamp = stamp,
    };
    batch_put(head, buffer_index, &death.record);
}

/* Batch `sequence` of the buffer, in place. */
static const struct wire_batch *
batch_in_place(uint64_t sequence)
{
    const uint64_t place = 1 + (sequence - 1) % WIRE_BATCHES;
    return (const struct wire_batch *)(void *)((char *)head +
                                               place * WIRE_BATCH_BYTES);
}

/* The deaths of a batch have these stamps, one after another. */
static void
check_deaths(const void *batch, uint64_t from, unsigned n)
{
    struct wire_batch header;
    memcpy(&header, batch, sizeof(header));
    const size_t end = sizeof(header) + n * sizeof(struct wire_death);
    uint64_t behind = 0;
    if (header.used_bytes != 0)
        check_eq(header.used_bytes, end);
    if (end < WIRE_BATCH_BYTES)
        memcpy(&behind, (const char *)batch + end, sizeof(behind));
    check_eq(behind, 0);
    for (unsigned i = 0; i < n; i++) {
        struct wire_death death;
        memcpy(&death, (const char *)batch + sizeof(header) + i * sizeof(death),
               sizeof(death));
        check_eq(death.record.kind, WIRE_KIND_DEATH);
        check_eq(death.stamp, from + i);
    }
}

enum {
    PER_BATCH = (WIRE_BATCH_BYTES - sizeof(struct wire_batch)) /
                sizeof(struct wire_death),
};

/* ---- records ----------------------------------------------------------- */

Test(batch, the_first_record_opens_the_first_batch)
{
    check_eq(head->sequence, 0);
    put(5);
    check_eq(head->sequence, 1);
    check_eq(head->n_events, 1);
    const struct wire_batch *batch = batch_in_place(1);
    check_eq(batch->magic, WIRE_MAGIC);
    check_eq(batch->version, WIRE_VERSION);
    check_eq(batch->buffer, buffer_index);
    check_eq(batch->tid, gettid());
    check_eq(batch->sequence, 1);
    check_eq(batch->first_event, 0);
    check_deaths(batch, 5, 1);
    check_eq(memory_sink->n_batches, 0);
}

Test(batch, a_full_batch_is_sent_and_the_next_one_opened)
{
    for (uint64_t stamp = 0; stamp < PER_BATCH; stamp++)
        put(stamp);
    check_eq(memory_sink->n_batches, 0);
    put(PER_BATCH);
    check_eq(memory_sink->n_batches, 1);
    check_deaths(memory_sink->batches[0], 0, PER_BATCH);
    check_eq(head->sequence, 2);
    check_eq(batch_in_place(2)->first_event, PER_BATCH);
    check_deaths(batch_in_place(2), PER_BATCH, 1);
}

Test(batch, no_record_is_torn_in_two)
{
    static const uint16_t sizes[] = {8, 16, 24, 32, 40, 48, 64, 88, 1000, 4056};
    uint64_t state = 6;
    uint64_t n_records = 0;
    for (unsigned i = 0; i < 5000; i++) {
        union {
            struct wire_record record;
            char bytes[WIRE_BATCH_BYTES];
        } any = {.bytes = {0}};
        any.record.kind = WIRE_N_KINDS;
        any.record.n_bytes = sizes[check_random(&state) % countof(sizes)];
        batch_put(head, buffer_index, &any.record);
        n_records++;
    }
    batch_close(head, buffer_index);
    check_eq(head->n_events, n_records);
    check_eq(head->lost_events, 0);
    uint64_t sequence = memory_sink->n_batches;
    check_eq(head->sequence, sequence + 1);
    if (sequence > MEMORY_SINK_BATCHES)
        sequence = MEMORY_SINK_BATCHES;
    for (unsigned i = 0; i < sequence; i++) {
        struct wire_batch header;
        memcpy(&header, memory_sink->batches[i], sizeof(header));
        size_t at = sizeof(header);
        while (at < header.used_bytes) {
            struct wire_record record;
            memcpy(&record, memory_sink->batches[i] + at, sizeof(record));
            check_eq(record.kind, WIRE_N_KINDS);
            check_true(record.n_bytes % 8 == 0 && record.n_bytes != 0);
            at += record.n_bytes;
        }
        check_eq(at, header.used_bytes);
    }
}

Test(batch, batches_lie_in_a_ring)
{
    enum { BATCHES = 40 };
    for (uint64_t stamp = 0; stamp < BATCHES * PER_BATCH; stamp++)
        put(stamp);
    check_eq(head->sequence, BATCHES);
    check_eq(memory_sink->n_batches, BATCHES - 1);
    for (uint64_t sequence = BATCHES - WIRE_BATCHES + 1; sequence <= BATCHES;
         sequence++) {
        const struct wire_batch *batch = batch_in_place(sequence);
        check_eq(batch->sequence, sequence);
        check_eq(batch->first_event, (sequence - 1) * PER_BATCH);
        check_deaths(batch, (sequence - 1) * PER_BATCH, PER_BATCH);
    }
    for (unsigned i = 0; i + 1 < BATCHES; i++)
        check_deaths(memory_sink->batches[i], (uint64_t)i * PER_BATCH,
                     PER_BATCH);
}

Test(batch, a_record_too_large_for_any_batch_is_counted)
{
    union {
        struct wire_record record;
        char bytes[WIRE_BATCH_BYTES];
    } large = {.bytes = {0}};
    large.record.n_bytes = WIRE_BATCH_BYTES;
    put(0);
    batch_put(head, buffer_index, &large.record);
    check_eq(head->lost_events, 1);
    put(1);
    check_eq(head->n_events, 2);
    check_deaths(batch_in_place(head->sequence), 1, 1);
}

/* ---- closing ----------------------------------------------------------- */

Test(batch, closing_sends_what_is_there)
{
    put(1);
    put(2);
    batch_close(head, buffer_index);
    check_eq(memory_sink->n_batches, 1);
    check_deaths(memory_sink->batches[0], 1, 2);
    check_eq(head->sequence, 2);
}

Test(batch, closing_nothing_sends_nothing)
{
    batch_close(head, buffer_index);
    check_eq(head->sequence, 0);
    put(1);
    batch_close(head, buffer_index);
    batch_close(head, buffer_index);
    batch_close(head, buffer_index);
    check_eq(memory_sink->n_batches, 1);
    check_eq(head->sequence, 2);
}

/* ---- a sink that does not take them ------------------------------------ */

Test(batch, a_batch_that_a_full_pipe_refused_stays_in_the_ring)
{
    memory_sink_result = SINK_FULL;
    put(1);
    batch_close(head, buffer_index);
    put(2);
    check_eq(process_mode(), PROCESS_ON);
    check_eq(head->lost_events, 0);
    check_deaths(batch_in_place(1), 1, 1);
    check_deaths(batch_in_place(2), 2, 1);
}

Test(batch, when_nobody_reads_the_process_falls_silent)
{
    put(1);
    memory_sink_result = SINK_GONE;
    batch_close(head, buffer_index);
    check_eq(process_mode(), PROCESS_OFF);
    check_eq(memory_sink->n_closed, 1);
    put(2);
    batch_close(head, buffer_index);
    check_eq(memory_sink->n_batches, 1);
}

Test(batch, without_a_reader_what_finds_no_room_is_counted)
{
    process_stay_off();
    for (uint64_t stamp = 0; stamp < PER_BATCH + 5; stamp++)
        put(stamp);
    check_eq(memory_sink->n_batches, 0);
    check_eq(head->n_events, PER_BATCH);
    check_eq(head->lost_events, 5);
}

/* ---- rings ------------------------------------------------------------- */

static void
set_up_ring(void)
{
    memory_sink_terms.level = WIRE_LEVEL_EXACT;
    set_up();
}

TestSuite(ring, .init = set_up_ring, .timeout = 20);

static struct wire_ring *
ring(void)
{
    return &shared_header()->rings[buffer_index - 1];
}

static void
fill(uint64_t first, uint64_t n_batches)
{
    for (uint64_t i = 0; i < n_batches * PER_BATCH; i++)
        put(first * PER_BATCH + i);
}

static const void *
batch_in_ring(uint64_t sequence)
{
    return (const char *)(uintptr_t)head->ring +
           (sequence - 1) % WIRE_RING_BATCHES * WIRE_BATCH_BYTES;
}

Test(ring, its_batches_lie_there_and_one_is_sent_when_it_is_awaited)
{
    ring()->wake_at = 7;
    fill(0, 20);
    check_eq(head->sequence, 20);
    for (uint64_t i = 0; i < 20; i++)
        check_deaths(batch_in_ring(i + 1), i * PER_BATCH, PER_BATCH);
    check_eq(memory_sink->n_batches, 1);
    check_deaths(memory_sink->batches[0], 0, PER_BATCH); /* the oldest */
    ring()->taken = 19;
    ring()->wake_at = 24;
    fill(20, 3);
    check_eq(memory_sink->n_batches, 1);
    fill(23, 2);
    check_eq(memory_sink->n_batches, 2);
    check_deaths(memory_sink->batches[1], 19 * PER_BATCH, PER_BATCH);
}

Test(ring, nothing_is_overwritten_that_was_not_taken_without_a_wait)
{
    ring()->wake_at = UINT32_MAX;
    fill(0, WIRE_RING_BATCHES - 1);
    check_eq(memory_sink->n_waits, 0);
    fill(WIRE_RING_BATCHES - 1, 1);
    check_eq(memory_sink->n_waits, 1);
    ring()->taken = 100;
    fill(WIRE_RING_BATCHES, 99);
    check_eq(memory_sink->n_waits, 1);
    check_eq(memory_sink->n_batches, 0);
    check_eq(head->lost_events, 0);
}

Test(ring, what_goes_because_nobody_took_it_goes_by_the_pipe)
{
    ring()->wake_at = UINT32_MAX;
    memory_sink_result = SINK_FULL;
    fill(0, WIRE_RING_BATCHES + 30);
    check_eq(memory_sink->n_batches, 30);
    for (uint64_t i = 0; i < 30; i++)
        check_deaths(memory_sink->batches[i], i * PER_BATCH, PER_BATCH);
    check_eq(head->n_events, (WIRE_RING_BATCHES + 30) * PER_BATCH);
}

Test(ring, where_nobody_reads_it_falls_silent)
{
    ring()->wake_at = UINT32_MAX;
    memory_sink_result = SINK_GONE;
    fill(0, WIRE_RING_BATCHES + 1);
    check_eq(process_mode(), PROCESS_OFF);
    check_eq(memory_sink->n_batches, 0);
}

/* ---- before there is a collector --------------------------------------- */

Test(early_batch, the_static_buffer_keeps_its_batches_and_counts_the_rest)
{
    enum { KEPT = PER_BATCH * WIRE_BATCHES };
    check_eq(process_mode(), PROCESS_EARLY);
    memory_sink_start();
    head = shared_buffer(0);
    for (uint64_t stamp = 0; stamp < KEPT + 7; stamp++)
        put(stamp);
    check_eq(head->n_events, KEPT);
    check_eq(head->lost_events, 7);

    process_introduce();
    head = shared_buffer(0);
    check_eq(head->n_events, KEPT);
    check_eq(head->lost_events, 7);
    for (uint64_t i = 0; i < WIRE_BATCHES; i++)
        check_deaths(batch_in_place(1 + i), i * PER_BATCH, PER_BATCH);
    put(1000);
    check_eq(memory_sink->n_batches, 1);
    check_deaths(memory_sink->batches[0], KEPT - PER_BATCH, PER_BATCH);
    check_deaths(batch_in_place(WIRE_BATCHES + 1), 1000, 1);
    check_eq(batch_in_place(WIRE_BATCHES + 1)->first_event, KEPT);
}

static unsigned n_noted;

static void
note_event(uint64_t event)
{
    n_noted += (event & WIRE_EVENT) != 0;
}

Test(early_batch, events_of_one_word_may_become_counts)
{
    struct wire_counters counters[WIRE_N_CALLERS] = {{0}};
    memory_sink_start();
    head = shared_buffer(0);
    for (uint64_t i = 0; i < 2000; i++) {
        if (i % 10 == 0)
            put(i);
        batch_put_event(head, 0,
                        wire_event(16 * i, 24, 24, WIRE_CALLER_PYTHON) |
                            (i % 4 == 3 ? WIRE_EVENT_DEATH : 0));
    }
    batch_count_events(head, counters, note_event);
    batch_count_events(head, counters, note_event); /* once is enough */
    check_eq(n_noted, 2000);
    check_eq(counters[WIRE_CALLER_PYTHON].births, 1500);
    check_eq(counters[WIRE_CALLER_PYTHON].birth_bytes, 1500 * 24);
    check_eq(counters[WIRE_CALLER_PYTHON].deaths, 500);
    check_eq(counters[WIRE_CALLER_PYTHON].death_bytes, 500 * 24);
    check_eq(counters[WIRE_CALLER_NATIVE].births, 0);
    check_eq(head->n_events, 2200);
}
