/*
 * end.h - the moment called end (DESIGN 5)
 *
 * What pins a Python program's arenas is gone before any exit hook runs, so the
 * collector is asked for a census while the heap is whole, and the process
 * waits for it: at most 30 ms or 1 % of its life up to 200 ms, whichever is
 * more; never under a real-time policy.
 */
#ifndef PRELOAD_END_H
#define PRELOAD_END_H

#include "include/wire.h"

/* Asks for the census and waits. exit_status -1: not known here. */
void end_with_census(enum wire_end_reason reason, int exit_status);

/* The program has been taken apart already: only the status is told. */
void end_without_census(enum wire_end_reason reason, int exit_status);

#endif
