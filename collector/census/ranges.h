/*
 * ranges.h - claims on whole ranges: what the kernel, the preload and threads
 * say of them
 *
 * Layers for claims_cover, in DESIGN 7's order: mappings as /proc/PID/maps
 * lists them, our own pages, stacks, and anonymous mappings whose creating call
 * we saw.
 */
#ifndef COLLECTOR_CENSUS_RANGES_H
#define COLLECTOR_CENSUS_RANGES_H

#include "collector/census/claims.h"
#include "collector/census/maps.h"
#include "collector/census/memory.h"
#include "collector/census/request.h"
#include "collector/census/result.h"

/* The lowest layer: each mapping's cause, unexplained for anonymous ones. */
struct claims ranges_maps(const struct maps *maps,
                          const struct census_request *request);

/* The preload's image and memory. */
struct claims ranges_own(const struct census_request *request);

/*
 * A thread's control block lies on the last page of its stack, whose mapping
 * begins above a guard, save where the program supplied a part of another. It
 * is proved by what it says of itself: its first and third word are its own
 * address (sysdeps/x86_64/nptl/tls.h, tcbhead_t).
 */
struct claims ranges_stacks(struct memory *memory, const struct maps *maps,
                            const struct memory_runs *runs,
                            const struct census_request *request);

/* Anonymous mappings that were seen made. */
struct claims ranges_mapped(const struct census_request *request);

/* What is dealt to those, by the modules that made them. */
void ranges_sum_modules(const struct census_request *request,
                        const struct maps *maps, const struct claims *claims,
                        const struct memory_runs *runs, struct census *census);

#endif
