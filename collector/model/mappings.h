/*
 * mappings.h - the private anonymous mappings of a process, and who made them
 *
 * Told of every mapping that a hook saw made or ended. Mappings may be cut and
 * covered in part; of two events for the same address the one with the greater
 * stamp is true, in whatever order they come. No clock, no I/O.
 */
#ifndef COLLECTOR_MODEL_MAPPINGS_H
#define COLLECTOR_MODEL_MAPPINGS_H

#include <stddef.h>
#include <stdint.h>

#include "collector/census/request.h"

struct mappings;

/* Never NULL. Destroying NULL is a no-op. */
struct mappings *mappings_create(void);
void mappings_destroy(struct mappings *mappings);

/* As they were when a child was forked: events up to that stamp. */
struct mappings *mappings_clone(const struct mappings *mappings,
                                uint64_t stamp);

/* What is told from here on is heard at now_us. */
void mappings_set_time(struct mappings *mappings, uint64_t now_us);

void mappings_map(struct mappings *mappings, uint64_t stamp, uint64_t start,
                  uint64_t n_bytes, uint64_t caller);

/* Unmapped, or covered by what is no private anonymous mapping. */
void mappings_unmap(struct mappings *mappings, uint64_t stamp, uint64_t start,
                    uint64_t n_bytes);

/*
 * For a census: the living, and where they leave room those that ended at
 * since_us or later. Ascending, disjoint; the caller frees them.
 */
struct census_mapping *mappings_list(const struct mappings *mappings,
                                     uint64_t since_us, size_t *n);

#endif
