/*
 * peek.h - many small reads of a target, page by page
 *
 * Whoever follows pointers reads the same pages again and again: they are kept
 * until they are forgotten. What is not resident is not read. What is in swap
 * is not known; what was never touched is zeroes, if the caller says that it
 * lies in memory which began so.
 */
#ifndef COLLECTOR_CENSUS_PEEK_H
#define COLLECTOR_CENSUS_PEEK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/census/memory.h"

struct peek;

/* Memory and runs must outlive it. Never returns NULL. */
struct peek *peek_create(struct memory *memory, const struct memory_runs *runs);
void peek_destroy(struct peek *peek);

/* The target has moved on: what was read is old. */
void peek_forget(struct peek *peek);

/* All n_bytes of resident pages, or false. */
bool peek_read(struct peek *peek, uint64_t addr, void *where, size_t n_bytes);

/* The same, where a page that was never touched is zeroes. */
bool peek_read_zeroed(struct peek *peek, uint64_t addr, void *where,
                      size_t n_bytes);

/* A word of a resident page, or false. */
bool peek_word(struct peek *peek, uint64_t addr, uint64_t *word);

#endif
