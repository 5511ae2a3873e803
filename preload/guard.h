/*
 * guard.h - the right to write events, one event at a time
 *
 * guard_enter gives the calling thread a buffer to write to, introduces a
 * forked child, and refuses a thread that is inside already: what a signal
 * handler or our own calls allocate meanwhile is counted, not recorded.
 */
#ifndef PRELOAD_GUARD_H
#define PRELOAD_GUARD_H

#include <stdbool.h>
#include <stdint.h>

#include "preload/thread.h"

/* Constructor, once. False: thread ends could not be noticed. */
bool guard_init(void);

/*
 * Constructor, once the collector has said what it wants: what came before is
 * told as that level tells it.
 */
void guard_begin(void);

/*
 * Returns the calling thread, or NULL: nobody listens, it is inside already,
 * or there is no buffer. The latter two count `n_events` as lost.
 */
struct thread *guard_enter(unsigned n_events);
void guard_leave(struct thread *thread);

/* What cannot be told: it is counted, and said. */
void guard_lose(unsigned n_events);

/* At level exact: the events that it tells next are in their order. */
void guard_take_turn(struct thread *thread);

/* Where the threads take turns; the greatest that was taken. */
extern HIDDEN const uint64_t *guard_turn;

/* Whether they are so already. */
static ALWAYS_INLINE bool
guard_has_turn(const struct thread *thread)
{
    return __atomic_load_n(guard_turn, __ATOMIC_ACQUIRE) == thread->turn;
}

/* The only thread makes another: from now on events need an order. */
void guard_before_thread(void);

/* Adds one birth or death, whatever state the thread is in. */
void guard_count_birth(uintptr_t caller, uint64_t n_bytes);
void guard_count_death(uintptr_t caller, uint64_t n_bytes);

/* Every event of every thread takes the slow path from its next one on. */
void guard_slow_down(bool is_slow);

/* Around a fork in the forking thread, and in its child. */
void guard_before_fork(void);
void guard_in_child(void);

#endif
