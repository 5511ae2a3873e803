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

/* Sends what is there, so that the collector wakes; opens the next batch. */
void batch_close(struct wire_buffer_head *head, uint32_t index);

#endif
