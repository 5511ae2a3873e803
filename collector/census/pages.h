/*
 * pages.h - which pages of a target are resident, looked up by address
 */
#ifndef COLLECTOR_CENSUS_PAGES_H
#define COLLECTOR_CENSUS_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/census/memory.h"

/* Resident bytes of all runs. */
uint64_t pages_resident(const struct memory_runs *runs);

/* And of [from, to) alone. */
uint64_t pages_resident_within(const struct memory_runs *runs, uint64_t from,
                               uint64_t to);

/* The index of the first run that ends behind addr; n_runs: none does. */
size_t pages_first(const struct memory_runs *runs, uint64_t addr);

enum { PAGES_RESIDENT = 1, PAGES_SWAPPED = 2 };

/* One state a page of [start, start + n_pages pages); 0: neither. */
void pages_states(const struct memory_runs *runs, uint64_t start,
                  size_t n_pages, unsigned char *states);

/* Whether the page that holds addr is resident. */
bool pages_is_resident(const struct memory_runs *runs, uint64_t addr);

#endif
