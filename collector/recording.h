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

#include "collector/census/result.h"
#include "collector/rows.h"
#include "collector/site_news.h"

struct recording;

/*
 * A new file at path, which must not exist. NULL: `why` (of n_bytes) says so.
 * socket is where this collector is asked for marks.
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

/* The whole row: it replaces what was known of this process. */
void recording_put_process(struct recording *recording,
                           const struct recording_process *process);

void recording_put_tick(struct recording *recording,
                        const struct recording_tick *tick);

/* Of the catalogue of sites. The news are the recording's afterwards. */
void recording_put_sites(struct recording *recording, struct site_news *news);

/*
 * What the process' sites came to when all was drained, in place of what was
 * put before.
 */
void recording_put_uses(struct recording *recording, int64_t process,
                        const struct recording_use *uses, size_t n);

/* The census is the recording's afterwards; uses are copied. */
void recording_put_census(struct recording *recording,
                          const struct recording_moment *moment,
                          struct census *census);

void recording_put_gc(struct recording *recording,
                      const struct recording_gc *gc);

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
