/*
 * memory_sink.h - a sink that keeps what it is given
 *
 * Stands in for preload/sink.c. Children of a fork share it with the test.
 */
#ifndef TESTS_UNIT_PRELOAD_MEMORY_SINK_H
#define TESTS_UNIT_PRELOAD_MEMORY_SINK_H

#include <stdbool.h>
#include <stdint.h>

#include "include/wire.h"
#include "preload/sink.h"

enum { MEMORY_SINK_BATCHES = 512, MEMORY_SINK_HELLOS = 16 };

struct memory_sink {
    char batches[MEMORY_SINK_BATCHES][WIRE_BATCH_BYTES];
    unsigned n_batches; /* tried, also those that were refused */
    struct wire_hello hellos[MEMORY_SINK_HELLOS];
    unsigned n_hellos;
    unsigned n_closed;
    unsigned n_waits; /* for a ring */
    int wait_ms;      /* of the last hello */
};

/* In shared memory; there from memory_sink_start on. */
extern struct memory_sink *memory_sink;

/* What the next writes and hellos answer. */
extern enum sink_result memory_sink_result;
extern bool memory_sink_is_met;
extern struct sink_terms memory_sink_terms;

/* Called inside of each write, if set. */
extern void (*memory_sink_during_write)(void);

void memory_sink_start(void);

#endif
