/*
 * source.h - the stream of one image of a traced process
 *
 * Reads whole batches from the pipe, and from the shared memory what a thread
 * has written but not sent. Both show the same batches; each record is handed
 * over once. What neither shows any more is counted as lost.
 */
#ifndef COLLECTOR_SOURCE_H
#define COLLECTOR_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "collector/decode.h"
#include "include/wire.h"

struct source;

struct source_totals {
    struct wire_counters counters[WIRE_N_CALLERS];
    uint64_t lost_events;
    uint64_t lost_batches;
};

/*
 * Takes both descriptors. NULL, and they are closed: they are not a pipe and a
 * sealed memfd of the expected form.
 */
struct source *source_create(int pipe, int shared);
void source_destroy(struct source *source);

/* For the loop: readable, or at its end. */
int source_pipe(const struct source *source);

/* The memfd's inode, by which the target's mappings of it are known. */
uint64_t source_shared_inode(const struct source *source);

/*
 * Hands over everything there is. False: no process holds the pipe's other end
 * any more, or what came was malformed (source_is_sound tells).
 */
bool source_drain(struct source *source, const struct decode_handler *handler);

/* While it hands over: the buffer that the record is from. */
uint32_t source_buffer(const struct source *source);

/*
 * Whether with the last drain a pass came to its end: all that had been written
 * to any buffer when it began is read. The next one has begun.
 */
bool source_is_passed(const struct source *source);
bool source_is_sound(const struct source *source);

/* As the last drain saw them. */
struct source_totals source_totals(const struct source *source);
void source_add_counters(struct wire_counters *sum,
                         const struct wire_counters *part);

/* ---- the moment called end; from any thread -------------------------- */

/* Whether the target still waits for this ticket. */
bool source_end_is_awaited(const struct source *source, uint32_t ticket);
void source_end_is_done(struct source *source, uint32_t ticket);

#endif
