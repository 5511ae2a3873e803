/*
 * chunked.h - chunks, laid out as glibc's malloc lays them out
 *
 * One behind the other, as a heap's walk finds them: a free one's size stands
 * a second time behind it.
 */
#ifndef TESTS_UNIT_COLLECTOR_CHUNKED_H
#define TESTS_UNIT_COLLECTOR_CHUNKED_H

#include <stdbool.h>
#include <stdint.h>

struct chunked {
    char *here;    /* of the next chunk's header */
    uint64_t bits; /* besides PREV_INUSE, in every size word */
    uint64_t free_before;
};

struct chunked chunked_begin(char *here, uint64_t bits);

/* One of at least 16 bytes. Nothing but its header is written. */
void chunked_put(struct chunked *chunked, uint64_t n_bytes, bool is_used);

/* The 32 bytes that end a thread's heap that is full. */
void chunked_end_full(struct chunked *chunked);

#endif
