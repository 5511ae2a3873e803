/*
 * shared.h - the memory that we share with the collector: counters and batches
 *
 * A memfd of 64 KiB buffers (include/wire.h). A thread takes one and gives it
 * back; buffer 0 belongs to nobody and takes what a thread without a buffer
 * has to tell. Mappings grow in steps and are never let go.
 *
 * Before the memfd exists buffer 0 is static memory, so that the very first
 * events are kept; shared_create carries them over.
 */
#ifndef PRELOAD_SHARED_H
#define PRELOAD_SHARED_H

#include <stdbool.h>
#include <stdint.h>

#include "include/wire.h"

/*
 * A memfd for this process, with buffer 0 in it. Returns its descriptor, which
 * the caller closes, or -1: no memory is to be had, and nothing may be
 * recorded.
 */
int shared_create(void);

/*
 * In a forked child, once and at once, by a thread with that buffer: what it
 * was about to write there, to the header or to buffer 0 is written to nobody's
 * memory. A signal handler may have forked, and the child goes on with what
 * that interrupted, were it one instruction.
 */
void shared_cut_off(uint32_t index);

/* The header that both sides map, or NULL before it exists. */
struct wire_shared *shared_header(void);

/* Never NULL for an index below n_buffers. */
struct wire_buffer_head *shared_buffer(uint32_t index);

/* Once the level is known to be exact, before the descriptor is closed. */
void shared_map_rings(int fd);

/* The buffer's ring (struct wire_ring), to be written; NULL: it has none. */
char *shared_ring(uint32_t index);

/* The common buffer's counters; they are added to atomically. */
struct wire_counters *shared_common_counters(void);

/* Returns the buffer's index, or 0: none is free just now, ask again later. */
uint32_t shared_take(uint32_t tid);
void shared_give_back(uint32_t index);

/* Buffer 0 for the events of one moment; false: somebody else has it. */
bool shared_borrow(uint32_t tid);
void shared_return(void);

#endif
