/*
 * heard.h - a stream, the source that reads it, and which stamps it handed over
 *
 * For tests of one file each: all of it is that file's own.
 */
#ifndef TESTS_UNIT_COLLECTOR_HEARD_H
#define TESTS_UNIT_COLLECTOR_HEARD_H

#include <fcntl.h>

#include "collector/source.h"
#include "tests/unit/check.h"
#include "tests/unit/collector/stream.h"

enum { MOST_HEARD = 100000 };

static struct stream stream;
static struct source *source;

/* How often each stamp was handed over. */
static unsigned heard[MOST_HEARD];
static size_t n_heard;
static size_t n_torn; /* not as stream_put makes them */

static void
on_death(void *context, const struct wire_death *death)
{
    (void)context;
    heard[death->stamp % MOST_HEARD]++;
    n_heard++;
    n_torn += death->addr != death->stamp || death->n_bytes != death->stamp;
}

static const struct decode_handler handler = {.death = on_death};

static void
set_up(void)
{
    stream = stream_create(STREAM_BUFFERS, F_SEAL_SHRINK);
    source = source_create(stream.pipe_read, stream.shared);
    cr_assert_not_null(source);
}

static void
clean_up(void)
{
    source_destroy(source);
    stream_destroy(&stream);
}

static void
drain(void)
{
    check_true(source_drain(source, &handler));
    check_true(source_is_sound(source));
}

/* Every stamp in [from, to) came, and came once. */
static void
check_heard(uint64_t from, uint64_t to)
{
    for (uint64_t stamp = from; stamp < to; stamp++)
        cr_assert(heard[stamp] == 1, "event %lu came %u times", stamp,
                  heard[stamp]);
}

static void
check_lost(uint64_t events, uint64_t batches)
{
    source_drain(source, &handler);
    const struct source_totals totals = source_totals(source);
    check_eq(totals.lost_events, events);
    check_eq(totals.lost_batches, batches);
}

#endif
