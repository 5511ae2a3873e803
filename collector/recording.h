/*
 * recording.h - the writer of the recording
 *
 * The loop says what happened; a thread of its own writes and commits it, so
 * that a slow disk never stops the loop. What is put first is committed first.
 * The only SQL of this folder is behind this header; the schema is in
 * include/recording.h.
 *
 * Texts are copied, censuses are taken over. t_us counts from recording_open.
 */
#ifndef COLLECTOR_RECORDING_H
#define COLLECTOR_RECORDING_H

#include <stdbool.h>
#include <stdint.h>

#include "collector/census/census.h"

struct recording;

/*
 * A new file at path, which must not exist. NULL: `why` (of n_bytes) says so.
 * label_socket is where this collector is asked for marks.
 */
struct recording *recording_open(const char *path, const char *socket,
                                 char *why, size_t n_bytes);

/*
 * Writes what is left, makes one self-contained file of it, and frees. False:
 * the file could not be sealed; what was committed is in it all the same.
 */
bool recording_seal(struct recording *recording);

/* Microseconds since the recording began, and of another moment. */
uint64_t recording_now_us(const struct recording *recording);
uint64_t recording_us(const struct recording *recording, uint64_t monotonic_ns);

void recording_put_meta(struct recording *recording, const char *key,
                        const char *text);
void recording_put_number(struct recording *recording, const char *key,
                          int64_t number);

enum { RECORDING_UNKNOWN = -1 }; /* in a number that may be null */

struct recording_process {
    int64_t id;
    int64_t pid;
    int64_t ns_pid;
    int64_t ppid;
    int64_t parent;
    const char *exe;     /* may be NULL, like the next three */
    const char *command; /* a JSON array */
    const char *python;
    const char *note;
    int64_t start_us;
    int64_t end_us;
    int64_t exit_status;
    int64_t vm_hwm_bytes;
    int64_t births;
    int64_t deaths;
    int64_t live_blocks;
    int64_t live_bytes;
    int64_t python_births;
    int64_t python_deaths;
    int64_t lost_events;
    int64_t lost_batches;
    int64_t census_cpu_us;
    int64_t census_read_bytes;
};

/* The whole row: it replaces what was known of this process. */
void recording_put_process(struct recording *recording,
                           const struct recording_process *process);

/* One row of a tier of ticks: 0, 1 or 2. */
struct recording_tick {
    unsigned tier;
    int64_t process;
    int64_t t_us;
    int64_t n;
    int64_t rss[3]; /* min, max, last */
    int64_t live[3];
    int64_t arenas[3];
};

void recording_put_tick(struct recording *recording,
                        const struct recording_tick *tick);

/* The counters beside a census. */
struct recording_moment {
    int64_t process;
    int64_t vm_hwm_bytes;
    int64_t births;
    int64_t deaths;
    int64_t live_blocks;
    int64_t live_bytes;
    const char *label; /* may be NULL */
};

/* The census is the recording's afterwards. */
void recording_put_census(struct recording *recording,
                          const struct recording_moment *moment,
                          struct census *census);

struct recording_gc {
    int64_t process;
    int64_t generation;
    int64_t collections;
    int64_t collected;
    int64_t uncollectable;
    int64_t pause_us_total;
    int64_t pause_us_max;
    int64_t pauses_since_us;
};

void recording_put_gc(struct recording *recording,
                      const struct recording_gc *gc);

struct recording_collection {
    int64_t t_us;
    int64_t process;
    int64_t generation;
    int64_t pause_us;
    int64_t collected;
    int64_t uncollectable;
};

void recording_put_collection(struct recording *recording,
                              const struct recording_collection *collection);

/* process RECORDING_UNKNOWN: of the recording itself. */
void recording_put_event(struct recording *recording, int64_t process,
                         const char *kind, const char *text);

/*
 * When all that was put so far is committed, token comes back by
 * recording_fetch and the descriptor becomes readable.
 */
void recording_put_sync(struct recording *recording, void *token);
int recording_fd(const struct recording *recording);
void *recording_fetch(struct recording *recording);

#endif
