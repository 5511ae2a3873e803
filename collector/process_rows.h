/*
 * process_rows.h - a process' rows in the recording
 */
#ifndef COLLECTOR_PROCESS_ROWS_H
#define COLLECTOR_PROCESS_ROWS_H

#include <stdbool.h>

#include "collector/process_state.h"

struct wire_counters process_add_counters(struct wire_counters a,
                                          const struct wire_counters *b);

/* What the process did over all its images, and what lives in this one. */
struct recording_moment process_moment(const struct process *process);

/*
 * What the sites of one of its images add up to, for the recording; what of
 * them is news is put at once. NULL: there are none. The caller frees them.
 */
struct recording_use *process_uses(const struct process *process,
                                   const struct image *image, size_t *n);

/* Those of its image, when all that was told is drained. */
void process_put_uses(const struct process *process);

/* If there is news of it. */
void process_put_row(struct process *process);
void process_put_gc(const struct process *process);

/* The tiers of ticks that are done. */
void process_put_ticks(const struct process *process,
                       const struct timeline_row *rows, const bool *is_done);

#endif
