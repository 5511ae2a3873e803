/*
 * batch.h - records into the batch that a buffer is filling
 *
 * The caller owns the buffer (guard.h). A record is whole before a reader can
 * see it; a full batch goes to the sink and the next one is opened.
 */
#ifndef PRELOAD_BATCH_H
#define PRELOAD_BATCH_H

#include <stdint.h>

#include "include/wire.h"

/* Appends a record, record->n_bytes long. What finds no room is counted. */
void batch_put(struct wire_buffer_head *head, uint32_t index,
               const struct wire_record *record);

/* The same of a block's birth or death in one word (wire_event). */
void batch_put_event(struct wire_buffer_head *head, uint32_t index,
                     uint64_t event);

/* Sends what is there, so that the collector wakes; opens the next batch. */
void batch_close(struct wire_buffer_head *head, uint32_t index);

/* Turns all events of one word into counts, and says so of each. */
void batch_count_events(struct wire_buffer_head *head,
                        struct wire_counters counters[WIRE_N_CALLERS],
                        void (*counted)(uint64_t event));

/*
 * Where the owner may write events by itself, word by word up to the end of the
 * batch, until it says how far it came.
 */
uint64_t *batch_open_end(struct wire_buffer_head *head);
uint64_t *batch_end(uint64_t *place);
void batch_came_to(struct wire_buffer_head *head, const uint64_t *end);

#endif
