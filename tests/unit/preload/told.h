/*
 * told.h - what a buffer's batches hold, record by record
 */
#ifndef TESTS_UNIT_PRELOAD_TOLD_H
#define TESTS_UNIT_PRELOAD_TOLD_H

#include <stddef.h>
#include <stdint.h>

#include "include/wire.h"

enum { TOLD_MOST = 8000 };

/* The first words of all records of a buffer that it still holds. */
struct told {
    uint64_t words[TOLD_MOST];
    const void *records[TOLD_MOST];
    size_t n;
};

/* Valid until the next call. */
const struct told *told_in(const struct wire_buffer_head *head);

/* A record's kind; of an event in one word NONE. */
unsigned told_kind(uint64_t word);

#endif
