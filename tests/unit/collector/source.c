#include "collector/source.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "include/attrs.h"
#include "tests/unit/collector/heard.h"

TestSuite(source, .init = set_up, .fini = clean_up, .timeout = 10);

/* ---- the two ways ------------------------------------------------------ */

Test(source, batches_come_by_the_pipe)
{
    for (uint64_t stamp = 0; stamp < 300; stamp++) {
        stream_put(&stream, 1, stamp);
        if (stamp % 100 == 99)
            stream_close_batch(&stream, 1, true);
    }
    drain();
    check_heard(0, 300);
    check_eq(n_heard, 300);
    check_lost(0, 0);
}

Test(source, a_tail_that_nobody_sent_is_in_the_memory)
{
    stream_put(&stream, 1, 0);
    drain();
    check_heard(0, 1);
    stream_put(&stream, 1, 1);
    stream_put(&stream, 1, 2);
    drain();
    drain();
    check_heard(0, 3);
    check_eq(n_heard, 3);
}

Test(source, what_came_both_ways_is_handed_over_once)
{
    stream_put(&stream, 1, 0);
    drain(); /* a part, from the memory */
    stream_put(&stream, 1, 1);
    stream_close_batch(&stream, 1, true);
    stream_put(&stream, 1, 2);
    drain(); /* the rest from the pipe, the next from the memory */
    stream_close_batch(&stream, 1, true);
    drain();
    check_heard(0, 3);
    check_eq(n_heard, 3);
    check_lost(0, 0);
}

/*
 * "What neither shows any more is counted as lost" (source.h). Fails while a
 * gap in the pipe counts as loss without a look into the memory, where the
 * batch that found the pipe full still lies.
 */
Test(source, a_batch_that_was_not_sent_is_read_from_the_memory)
{
    for (uint64_t stamp = 0; stamp < 10; stamp++) {
        stream_put(&stream, 1, stamp);
        stream_close_batch(&stream, 1, stamp % 2 == 0);
    }
    drain();
    check_heard(0, 10);
    check_lost(0, 0);
}

/* What one came to by the pipe late is old by then. */
Test(source, a_batch_that_comes_late_by_the_pipe_is_old)
{
    char late[WIRE_BATCH_BYTES];
    stream_put(&stream, 1, 0);
    memcpy(late, stream_batch(&stream, 1), sizeof(late));
    stream_close_batch(&stream, 1, false);
    stream_put(&stream, 1, 1);
    drain();
    stream_send(&stream, late, sizeof(late));
    stream_send(&stream, late, sizeof(late));
    drain();
    check_heard(0, 2);
    check_eq(n_heard, 2);
}

Test(source, buffers_do_not_disturb_one_another)
{
    for (uint64_t stamp = 0; stamp < 4000; stamp++) {
        const uint32_t buffer = (uint32_t)stamp % STREAM_BUFFERS;
        stream_put(&stream, buffer, stamp);
        if (stamp % 97 < STREAM_BUFFERS && stamp > 200)
            stream_close_batch(&stream, buffer, stamp % 3 != 0);
        if (stamp % 50 == 0)
            drain();
    }
    drain();
    check_heard(0, 4000);
    check_eq(n_heard, 4000);
    check_lost(0, 0);
}

/*
 * Any interleaving of writing, sending, not sending and reading. Fails as
 * a_batch_that_was_not_sent_is_read_from_the_memory does.
 */
Test(source, any_order_of_things_hands_every_event_over_once)
{
    uint64_t state = 9;
    uint64_t stamp = 0;
    unsigned unsent[STREAM_BUFFERS] = {0};
    for (unsigned step = 0; step < 30000; step++) {
        const uint32_t buffer = (uint32_t)check_random(&state) % 4;
        const struct wire_buffer_head *head = stream_head(&stream, buffer);
        const unsigned what = (unsigned)check_random(&state) % 100;
        const bool is_full =
            head->sequence != 0 &&
            stream_batch(&stream, buffer)->used_bytes > WIRE_BATCH_BYTES - 40;
        /* The reader keeps up: no ring is overrun. */
        if (what == 0 || unsent[buffer] + 1 == WIRE_BATCHES) {
            drain();
            memset(unsent, 0, sizeof(unsent));
        } else if (head->sequence != 0 && (is_full || what < 5)) {
            const bool is_sent = what % 2 == 0 && step % 3 != 0;
            stream_close_batch(&stream, buffer, is_sent);
            unsent[buffer]++;
        } else if (stamp < MOST_HEARD) {
            stream_put(&stream, buffer, stamp++);
        }
    }
    drain();
    check_heard(0, stamp);
    check_eq(n_heard, stamp);
    check_lost(0, 0);
}

static _Atomic bool has_written;

static void *
write_fast(void *context)
{
    (void)context;
    for (uint64_t stamp = 0; stamp < MOST_HEARD; stamp++) {
        stream_put(&stream, 1, stamp);
        stream_close_batch(&stream, 1, true);
    }
    has_written = true;
    return NULL;
}

/* Between two looks, at the pipe and at the memory, it is a ring ahead. */
Test(source, a_writer_that_is_faster_loses_nothing)
{
    pthread_t writer;
    check_eq(fcntl(stream.pipe_write, F_SETFL, 0), 0); /* it waits for room */
    pthread_create(&writer, NULL, write_fast, NULL);
    while (!has_written)
        drain();
    pthread_join(writer, NULL);
    for (unsigned i = 0; i < 100; i++) /* what a pipe holds, and more */
        drain();
    check_heard(0, MOST_HEARD);
    check_lost(0, 0);
}

/* ---- loss -------------------------------------------------------------- */

static bool is_enough;

/* More than one drain takes: the pipe is never found empty. */
static void *
write_without_end(void *context)
{
    struct stream *writing = context;
    for (unsigned i = 0; !__atomic_load_n(&is_enough, __ATOMIC_RELAXED); i++) {
        stream_put(writing, 1, i % 1000);
        stream_close_batch(writing, 1, true);
    }
    return NULL;
}

Test(source, a_pipe_that_is_never_empty_keeps_no_pass_from_its_end)
{
    pthread_t writer;
    unsigned n_passes = 0;
    fcntl(stream.pipe_write, F_SETFL, 0); /* it waits for room */
    stream_put(&stream, 2, MOST_HEARD - 1);
    pthread_create(&writer, NULL, write_without_end, &stream);
    for (unsigned i = 0; i < 200 && n_passes < 3; i++) {
        drain();
        n_passes += source_is_passed(source);
    }
    __atomic_store_n(&is_enough, true, __ATOMIC_RELAXED);
    while (pthread_tryjoin_np(writer, NULL) != 0)
        drain();
    check_eq(n_passes, 3);
    check_eq(heard[MOST_HEARD - 1], 1); /* of who writes no more */
}

Test(source, a_gap_is_counted_to_the_event)
{
    /* 40 batches of 3 events, none sent: the ring keeps the last 14 whole
     * ones and the one that is being filled. */
    for (uint64_t batch = 0; batch < 40; batch++) {
        for (uint64_t i = 0; i < 3; i++)
            stream_put(&stream, 1, 3 * batch + i);
        stream_close_batch(&stream, 1, false);
    }
    stream_put(&stream, 1, 120);
    drain();
    const uint64_t n_batches_kept = WIRE_BATCHES - 1;
    check_eq(n_heard, 3 * n_batches_kept + 1);
    check_heard(120 - 3 * n_batches_kept, 121);
    check_lost(120 - 3 * n_batches_kept, 40 - n_batches_kept);
    drain();
    check_lost(120 - 3 * n_batches_kept, 40 - n_batches_kept);
}

Test(source, a_batch_read_in_part_and_then_lost_loses_only_the_rest)
{
    stream_put(&stream, 1, 0);
    stream_put(&stream, 1, 1);
    drain();
    stream_put(&stream, 1, 2);
    stream_put(&stream, 1, 3);
    stream_put(&stream, 1, 4);
    for (unsigned i = 0; i < WIRE_BATCHES + 5; i++)
        stream_close_batch(&stream, 1, false);
    stream_put(&stream, 1, 5);
    drain();
    check_eq(n_heard, 3);
    check_heard(5, 6);
    check_eq(source_totals(source).lost_events, 3);
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

/* Nothing comes but by the memory, which is read as it is written over. */
Test(source, a_batch_that_is_overwritten_meanwhile_is_lost_whole)
{
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

Test(source, a_gap_in_the_pipe_is_counted)
{
    stream_put(&stream, 1, 0);
    stream_close_batch(&stream, 1, true);
    for (unsigned i = 0; i < 100; i++)
        stream_close_batch(&stream, 1, false);
    stream_head(&stream, 1)->n_events += 1000; /* as if they held so many */
    stream_close_batch(&stream, 1, false);
    stream_put(&stream, 1, 1);
    stream_close_batch(&stream, 1, true);
    for (unsigned i = 0; i < WIRE_BATCHES; i++)
        stream_close_batch(&stream, 1, true);
    drain();
    check_heard(0, 2);
    check_eq(n_heard, 2);
    check_lost(1000, 101);
}

Test(source, what_the_writer_lost_is_lost_too)
{
    stream_head(&stream, 0)->lost_events = 3;
    stream_head(&stream, 2)->lost_events = 4;
    check_lost(7, 0);
}

/* ---- counters ---------------------------------------------------------- */

Test(source, counters_of_all_buffers_add_up)
{
    for (uint32_t i = 0; i < STREAM_BUFFERS; i++) {
        for (unsigned caller = 0; caller < WIRE_N_CALLERS; caller++)
            stream_head(&stream, i)->counters[caller] = (struct wire_counters){
                .births = 10 + caller,
                .birth_bytes = 1000 + caller,
                .deaths = 5 + caller,
                .death_bytes = 500 + caller,
            };
    }
    source_drain(source, &handler);
    const struct source_totals totals = source_totals(source);
    for (unsigned caller = 0; caller < WIRE_N_CALLERS; caller++) {
        check_eq(totals.counters[caller].births, 4 * (10 + caller));
        check_eq(totals.counters[caller].birth_bytes, 4 * (1000 + caller));
        check_eq(totals.counters[caller].deaths, 4 * (5 + caller));
        check_eq(totals.counters[caller].death_bytes, 4 * (500 + caller));
    }
}

/* ---- the end of it ----------------------------------------------------- */

Test(source, a_stream_is_open_while_somebody_writes)
{
    stream_put(&stream, 1, 0);
    check_true(source_drain(source, &handler));
    stream_put(&stream, 1, 1);
    stream_close_batch(&stream, 1, true);
    stream_put(&stream, 1, 2);
    stream_hang_up(&stream);
    check_false(source_drain(source, &handler));
    check_true(source_is_sound(source));
    check_heard(0, 3);
}

Test(source, the_memory_outlives_its_writer)
{
    stream_put(&stream, 1, 0);
    stream_hang_up(&stream);
    check_false(source_drain(source, &handler));
    check_heard(0, 1);
    stream_put(&stream, 1, 1); /* another thread of it still runs */
    check_false(source_drain(source, &handler));
    check_heard(0, 2);
}

/* ---- strangers --------------------------------------------------------- */

/* A source of these two; both are closed if there is none. */
static struct source *
made_of(int pipe, int shared)
{
    struct source *made = source_create(pipe, shared);
    if (made == NULL) {
        check_eq(fcntl(pipe, F_GETFD), -1);
        check_eq(fcntl(shared, F_GETFD), -1);
    }
    return made;
}

Test(source, memory_that_may_shrink_is_refused)
{
    struct stream unsealed = stream_create(1, 0);
    cr_assert_null(made_of(unsealed.pipe_read, unsealed.shared));
    stream_destroy(&unsealed);
    struct stream grown = stream_create(1, F_SEAL_GROW | F_SEAL_SEAL);
    cr_assert_null(made_of(grown.pipe_read, grown.shared));
    stream_destroy(&grown);
}

Test(source, what_is_no_memfd_is_refused)
{
    struct stream other = stream_create(1, F_SEAL_SHRINK);
    cr_assert_null(made_of(other.pipe_read, open("/dev/null", O_RDWR)));
    struct stream third = stream_create(1, F_SEAL_SHRINK);
    char path[] = "/tmp/residue-unit-XXXXXX";
    const int file = mkstemp(path);
    unlink(path);
    check_eq(ftruncate(file, 2 * WIRE_BUFFER_BYTES), 0);
    cr_assert_null(made_of(third.pipe_read, file));
    close(other.shared);
    close(third.shared);
    stream_destroy(&other);
    stream_destroy(&third);
}

Test(source, a_memfd_without_a_header_is_refused)
{
    struct stream other = stream_create(1, F_SEAL_SHRINK);
    const int small = memfd_create("residue", MFD_ALLOW_SEALING);
    check_eq(ftruncate(small, WIRE_BUFFER_BYTES - 1), 0);
    check_eq(fcntl(small, F_ADD_SEALS, F_SEAL_SHRINK), 0);
    cr_assert_null(made_of(other.pipe_read, small));
    close(other.shared);
    stream_destroy(&other);
}

Test(source, what_is_no_pipe_is_refused)
{
    struct stream other = stream_create(1, F_SEAL_SHRINK);
    close(other.pipe_read);
    cr_assert_null(made_of(open("/dev/zero", O_RDONLY), other.shared));
    stream_destroy(&other);
}

Test(source, a_pipes_write_end_gives_nothing)
{
    struct stream other = stream_create(1, F_SEAL_SHRINK);
    struct source *made = source_create(dup(other.pipe_write), other.shared);
    cr_assert_not_null(made);
    check_false(source_drain(made, &handler));
    source_destroy(made);
    close(other.pipe_read);
    stream_destroy(&other);
}

Test(source, destroying_nothing_does_nothing)
{
    source_destroy(NULL);
}

/* ---- hostile content --------------------------------------------------- */

/* One thing in a batch of the pipe is changed; the stream is no stream then. */
#define CHECK_MALFORMED(change)                                             \
    do {                                                                    \
        struct stream other = stream_create(2, F_SEAL_SHRINK);              \
        struct source *made = source_create(other.pipe_read, other.shared); \
        stream_put(&other, 1, 0);                                           \
        struct wire_batch *batch = stream_batch(&other, 1);                 \
        batch->change;                                                      \
        stream_send(&other, batch, WIRE_BATCH_BYTES);                       \
        check_false(source_drain(made, &handler));                          \
        check_false(source_is_sound(made));                                 \
        check_false(source_drain(made, &handler));                          \
        source_totals(made);                                                \
        source_destroy(made);                                               \
        stream_destroy(&other);                                             \
    } while (0)

Test(source, a_malformed_header_ends_the_stream)
{
    CHECK_MALFORMED(magic = 0);
    CHECK_MALFORMED(version++);
    CHECK_MALFORMED(used_bytes = 39);
    CHECK_MALFORMED(used_bytes = WIRE_BATCH_BYTES + 1);
    CHECK_MALFORMED(used_bytes = UINT16_MAX);
    CHECK_MALFORMED(buffer = 2);
    CHECK_MALFORMED(buffer = UINT32_MAX);
    CHECK_MALFORMED(sequence = 0);
    CHECK_MALFORMED(used_bytes = 44);
}

Test(source, a_write_that_is_no_batch_ends_the_stream)
{
    stream_put(&stream, 1, 0);
    stream_send(&stream, stream_batch(&stream, 1), 100);
    check_false(source_drain(source, &handler));
    check_false(source_is_sound(source));
    check_eq(n_heard, 0);
}

Test(source, a_tail_that_is_no_batch_ends_the_stream)
{
    stream_put(&stream, 1, 0);
    stream_batch(&stream, 1)->used_bytes = 20;
    check_false(source_drain(source, &handler));
    check_false(source_is_sound(source));
}

Test(source, a_tail_of_another_buffer_or_sequence_is_not_there)
{
    stream_put(&stream, 1, 0);
    stream_batch(&stream, 1)->buffer = 2;
    drain();
    check_eq(n_heard, 0);
    stream_batch(&stream, 1)->buffer = 1;
    stream_batch(&stream, 1)->sequence = 77;
    drain();
    check_eq(n_heard, 0);
}

Test(source, a_tail_that_shrinks_is_not_read_again)
{
    for (uint64_t stamp = 0; stamp < 10; stamp++)
        stream_put(&stream, 1, stamp);
    drain();
    stream_batch(&stream, 1)->used_bytes = sizeof(struct wire_batch);
    drain();
    check_eq(n_heard, 10);
}

Test(source, sequences_that_jump_do_no_harm)
{
    stream_put(&stream, 1, 0);
    struct wire_batch *batch = stream_batch(&stream, 1);
    batch->sequence = UINT64_MAX / 2;
    batch->first_event = UINT64_MAX / 2;
    stream_send(&stream, batch, WIRE_BATCH_BYTES);
    source_drain(source, &handler);
    batch->sequence = 3; /* back again: old */
    stream_send(&stream, batch, WIRE_BATCH_BYTES);
    source_drain(source, &handler);
    source_totals(source);
    check_eq(n_heard, 1);
}

/*
 * Fails while the loop over a buffer's batches has no end where the last of
 * them has the last of all numbers: the collector hangs.
 */
Test(source, the_last_of_all_sequences_comes_to_an_end, .timeout = 3)
{
    stream_put(&stream, 1, 0);
    stream_head(&stream, 1)->sequence = UINT64_MAX;
    source_drain(source, &handler);
}

Test(source, the_last_sequence_in_the_pipe_comes_to_an_end, .timeout = 3)
{
    stream_put(&stream, 1, 0);
    struct wire_batch *batch = stream_batch(&stream, 1);
    batch->sequence = UINT64_MAX;
    stream_send(&stream, batch, WIRE_BATCH_BYTES);
    source_drain(source, &handler);
    source_drain(source, &handler);
}

Test(source, more_buffers_than_there_is_memory_for_do_no_harm)
{
    stream_put(&stream, 1, 0);
    stream_header(&stream)->n_buffers = UINT32_MAX;
    drain();
    check_heard(0, 1);
    check_lost(0, 0);
    stream_header(&stream)->n_buffers = 0;
    drain();
    check_lost(0, 0);
}

Test(source, a_buffer_is_read_when_the_memory_has_grown_by_it)
{
    const uint32_t fresh = STREAM_BUFFERS + 1;
    char buffer[WIRE_BUFFER_BYTES];
    stream_header(&stream)->n_buffers = fresh + 1; /* before it is there */
    drain();
    stream_put(&stream, 1, 0);
    stream_batch(&stream, 1)->buffer = fresh;
    memcpy(buffer, stream_head(&stream, 1), sizeof(buffer));
    stream_head(&stream, 1)->sequence = 0;
    check_eq(ftruncate(stream.shared, (fresh + 2) * WIRE_BUFFER_BYTES), 0);
    check_eq(pwrite(stream.shared, buffer, sizeof(buffer),
                    (fresh + 1) * WIRE_BUFFER_BYTES),
             sizeof(buffer));
    drain();
    check_heard(0, 1);
    check_lost(0, 0);
}

Test(source, any_bytes_do_no_harm)
{
    uint64_t state = 21;
    for (unsigned round = 0; round < 300; round++) {
        struct stream other = stream_create(4, F_SEAL_SHRINK);
        struct source *made = source_create(other.pipe_read, other.shared);
        for (unsigned i = 0; i < 20; i++)
            stream_put(&other, 1, i);
        stream_close_batch(&other, 1, true);
        for (unsigned i = 0; i < 20; i++)
            stream_put(&other, 1, 20 + i);
        char *memory = other.memory + 2 * WIRE_BUFFER_BYTES;
        for (unsigned i = 0; i < 10; i++)
            memory[check_random(&state) % 16384] ^=
                (char)(1 << check_random(&state) % 8);
        /* The one number that never comes to an end, above, is left out. */
        stream_head(&other, 1)->sequence &= UINT64_MAX >> 1;
        source_drain(made, &handler);
        source_drain(made, &handler);
        source_totals(made);
        source_destroy(made);
        stream_destroy(&other);
    }
}

/* ---- the moment called end --------------------------------------------- */

Test(source, a_ticket_is_awaited_until_its_target_leaves)
{
    check_true(source_end_is_awaited(source, 1));
    stream_header(&stream)->end_left = 1;
    check_false(source_end_is_awaited(source, 1));
    check_true(source_end_is_awaited(source, 2));
}

static void *
wait_for_end(void *context)
{
    struct wire_shared *header = context;
    const struct timespec most = {.tv_sec = 5};
    while (__atomic_load_n(&header->end_done, __ATOMIC_ACQUIRE) != 7) {
        if (syscall(SYS_futex, &header->end_done, FUTEX_WAIT, 0, &most, NULL,
                    0) != 0 &&
            errno == ETIMEDOUT)
            return NULL;
    }
    return context;
}

Test(source, who_waits_for_the_end_is_woken)
{
    pthread_t waiting;
    void *result = NULL;
    pthread_create(&waiting, NULL, wait_for_end, stream_header(&stream));
    usleep(20000);
    source_end_is_done(source, 7);
    pthread_join(waiting, &result);
    cr_assert_not_null(result);
}
