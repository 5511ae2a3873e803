/*
 * The buffers that have a ring: their batches are read where they lie.
 */
#include <pthread.h>

#include "tests/unit/collector/heard.h"

static _Atomic bool has_written;

TestSuite(source_rings, .init = set_up, .fini = clean_up, .timeout = 10);

/* All that was written, and nothing is lost. */
static void
check_all_heard(uint64_t n)
{
    check_heard(0, n);
    check_eq(n_heard, n);
    check_lost(0, 0);
}

enum { PER_BATCH = 120, OVERRUN = 5000 * 1000 };

static void *
overrun(void *context)
{
    (void)context;
    for (uint64_t stamp = 0; stamp < OVERRUN; stamp++) {
        stream_put(&stream, 1, stamp);
        if (stamp % PER_BATCH == PER_BATCH - 1)
            stream_close_batch(&stream, 1, false);
    }
    has_written = true;
    return NULL;
}

Test(source_rings, a_ring_that_is_overwritten_meanwhile_is_lost_by_batches)
{
    stream_give_ring(&stream);
    pthread_t writer;
    pthread_create(&writer, NULL, overrun, NULL);
    while (!has_written)
        drain();
    pthread_join(writer, NULL);
    drain();
    check_ge(n_heard, 10 * PER_BATCH);
    check_eq(n_torn, 0);
    check_eq(n_heard + source_totals(source).lost_events, OVERRUN);
}

Test(source_rings, a_ring_is_read_where_it_lies_and_its_owner_learns_how_far)
{
    enum { BATCHES = 1000 };
    stream_give_ring(&stream);
    const struct wire_ring *ring = &stream_header(&stream)->rings[0];
    for (uint64_t batch = 0; batch < BATCHES; batch++) {
        stream_put(&stream, 1, 2 * batch);
        if (batch % 97 == 96)
            drain(); /* half of this one, too */
        stream_put(&stream, 1, 2 * batch + 1);
        stream_close_batch(&stream, 1, ring->wake_at == batch + 1);
        if (batch % 97 != 96 && batch % 50 != 49)
            continue;
        drain();
        check_eq(ring->taken, batch + 1);
        check_ge(ring->wake_at, batch + 2);
        check_le(ring->wake_at, batch + 1 + WIRE_RING_BATCHES / 2);
    }
    drain();
    check_all_heard(2 * BATCHES);
}

Test(source_rings, what_a_ring_held_of_the_dead_is_read)
{
    stream_give_ring(&stream);
    for (uint64_t batch = 0; batch + 2 < WIRE_RING_BATCHES; batch++) {
        stream_put(&stream, 1, batch);
        stream_close_batch(&stream, 1, false);
    }
    stream_put(&stream, 1, WIRE_RING_BATCHES - 2);
    stream_hang_up(&stream);
    check_false(source_drain(source, &handler));
    check_all_heard(WIRE_RING_BATCHES - 1);
}

/* What goes is sent before it is overwritten, in its order. */
Test(source_rings, what_a_full_ring_lost_came_by_the_pipe)
{
    enum { BATCHES = WIRE_RING_BATCHES + 50 };
    stream_give_ring(&stream);
    for (uint64_t batch = 0; batch < BATCHES; batch++) {
        stream_put(&stream, 1, batch);
        char *next =
            stream.ring + (batch + 1) % WIRE_RING_BATCHES * WIRE_BATCH_BYTES;
        if (batch + 2 > WIRE_RING_BATCHES)
            stream_send(&stream, next, WIRE_BATCH_BYTES);
        stream_close_batch(&stream, 1, false);
    }
    drain();
    check_all_heard(BATCHES);
}

Test(source_rings, a_ring_that_is_not_there_is_lost)
{
    stream_head(&stream, 2)->ring = 1;
    stream_head(&stream, 2)->sequence = 5;
    drain();
    check_eq(n_heard, 0);
}
