/*
 * threads.h - the stacks of threads in a target that told nobody of them
 *
 * The control block of a thread says where it is, whose it is and which stack
 * goes with it. It lies at the stack's end: above the thread's stack pointer,
 * where the kernel tells it, or else at the end of a mapping. The main thread's
 * stack is the kernel's [stack] and not of interest.
 */
#ifndef COLLECTOR_CENSUS_THREADS_H
#define COLLECTOR_CENSUS_THREADS_H

#include "collector/census/maps.h"
#include "collector/census/memory.h"
#include "collector/census/request.h"

/*
 * Adds the control blocks and stacks of the request's threads to `found`, whose
 * owner frees them. One that cannot be proven is left out.
 */
void threads_find(struct memory *memory, const struct maps *maps,
                  const struct memory_runs *runs,
                  const struct census_request *request,
                  struct census_request *found);

#endif
