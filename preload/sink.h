/*
 * sink.h - the way out: one pipe, and how the collector was found
 *
 * The only descriptor we keep in the target is the pipe's write end, high up
 * and close-on-exec. Before each write it is checked to be our pipe still: a
 * target that closed it or put something else in its place never receives our
 * bytes. A pipe without a reader makes no signal: SIGPIPE is held back and
 * eaten, by the thread it was raised in.
 */
#ifndef PRELOAD_SINK_H
#define PRELOAD_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "include/wire.h"

enum sink_result {
    SINK_SENT,
    SINK_FULL, /* the pipe stayed full: some were not written */
    SINK_GONE, /* nobody reads any more, or the descriptor is not ours */
};

/* The texts behind a hello. */
struct sink_texts {
    const char *exe;
    size_t exe_bytes;
    const char *command;
    size_t command_bytes;
};

/* What the collector wants to be told. */
struct sink_terms {
    enum wire_level level;
    uint64_t sample_bytes;
};

/* The address of the collector's socket; false: the path is too long. */
bool sink_address(const char *path);

/*
 * Connects, hands over the pipe, shared_fd and the five /proc/self files, and
 * waits wait_ms for the welcome, which says the terms (0: takes those given for
 * granted). False: nobody took us, and nothing is left open. At most one sink
 * is open in a process.
 */
bool sink_open(const struct wire_hello *hello, const struct sink_texts *texts,
               int shared_fd, int wait_ms, struct sink_terms *terms);

/*
 * Batches of WIRE_BATCH_BYTES, one behind another. Where the thread may wait, a
 * full pipe is waited for, in all as long as the collector allowed, which may
 * be not at all; and then not again until it has taken something. A wait ends
 * at once when nobody reads any more.
 */
enum sink_result sink_write(const void *batches, size_t n, bool may_wait);

/*
 * The same wait for the collector to have taken batch `wanted`.
 */
enum sink_result sink_wait(const uint64_t *taken, uint64_t wanted,
                           bool may_wait);

/* A forked child: lets go of its parent's pipe. */
void sink_close(void);

#endif
