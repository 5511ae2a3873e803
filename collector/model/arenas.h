/*
 * arenas.h - the mappings one interpreter made, and their history
 *
 * Told of every mapping that comes from the interpreter's own text; keeps those
 * that can be an arena or a chunk of a data stack. What a census sees of them
 * comes back, so that it is known which were full once and which have long
 * been low: the two halves of a pin (DESIGN 2).
 *
 * Events may come in any order: of two for the same address the one with the
 * greater stamp is true. No clock, no I/O.
 */
#ifndef COLLECTOR_MODEL_ARENAS_H
#define COLLECTOR_MODEL_ARENAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/census/census.h"

struct arenas;

/* Never NULL. Destroying NULL is a no-op. */
struct arenas *arenas_create(void);
void arenas_destroy(struct arenas *arenas);

/* As they were when a child was forked: events up to that stamp. */
struct arenas *arenas_clone(const struct arenas *arenas, uint64_t stamp);

void arenas_map(struct arenas *arenas, uint64_t stamp, uint64_t start,
                uint64_t n_bytes, uint64_t now_us);

/* Any range: every mapping it touches is gone. Whether an arena may be. */
bool arenas_unmap(struct arenas *arenas, uint64_t stamp, uint64_t start,
                  uint64_t n_bytes);

/* Whether a mapping of that size may be an arena. */
bool arenas_is_size(uint64_t n_bytes);

/* Who mapped what is there was not known: of none is it known to be full. */
void arenas_forget_order(struct arenas *arenas);

/* How many arenas are mapped, by their sizes. */
size_t arenas_count(const struct arenas *arenas);

/*
 * How many were mapped at a stamp, by all that was told so far. False: that is
 * too long ago to tell.
 */
bool arenas_count_at(const struct arenas *arenas, uint64_t stamp, size_t *n);

/* The candidates for a census, ascending; the caller frees them. */
struct census_candidate *arenas_candidates(const struct arenas *arenas,
                                           uint64_t now_us, size_t *n);

/* What a census saw at now_us. */
void arenas_learn(struct arenas *arenas, const struct census *census,
                  uint64_t now_us);

#endif
