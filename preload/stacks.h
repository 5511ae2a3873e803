/*
 * stacks.h - numbers for the stacks that blocks were born on
 *
 * The first time a stack is met it is told, with the images it passes through;
 * afterwards its number is enough. Numbers are the process' own, shared by all
 * threads without a lock, and a forked child goes on with its parent's.
 */
#ifndef PRELOAD_STACKS_H
#define PRELOAD_STACKS_H

#include <stdint.h>

#include "preload/thread.h"

/*
 * The number of the calling thread's stack, which is between guard_enter and
 * guard_leave in a hook that returns to `caller`; 0: all numbers are taken.
 */
uint32_t stacks_number(struct thread *thread, uintptr_t caller);

#endif
