/*
 * gc.h - the interpreter's collections, and the moment before it is taken apart
 *
 * On 3.x a C function joins gc.callbacks. That needs the interpreter's lock and
 * a running interpreter, so that it is asked for with Py_AddPendingCall once
 * Py_IsInitialized says so; until then every malloc of the process looks, which
 * is why they take the slow path so long (guard_slow_down).
 *
 * 2.7 has no callbacks; here it is only watched for being initialised.
 */
#ifndef PRELOAD_PYTHON_GC_H
#define PRELOAD_PYTHON_GC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "include/attrs.h"

enum python_gc_state {
    PYTHON_GC_ABSENT,  /* no interpreter here */
    PYTHON_GC_WAITING, /* for Py_IsInitialized */
    PYTHON_GC_DORMANT, /* long without one: look again when an arena is mapped
                        */
    PYTHON_GC_ASKED,   /* our pending call is queued */
    PYTHON_GC_SETTLED, /* installed, or there is nothing to install */
};

extern HIDDEN _Atomic int python_gc_current_state;

/* Constructor, once, if python_detect found an interpreter. */
void python_gc_init(void);

void python_gc_look(void);

/* Called by hooks outside of the guard, when no lock of ours is held. */
static inline void
python_gc_tick(void)
{
    if (atomic_load_explicit(&python_gc_current_state, memory_order_relaxed) ==
        PYTHON_GC_WAITING)
        python_gc_look();
}

/* The interpreter's text mapped memory: it may be waking up. */
void python_gc_saw_mapping(uint64_t caller);

/*
 * Whether the heap is as the program made it: there is no interpreter, or it
 * has not begun to finalize.
 */
bool python_heap_is_whole(void);

/* It was taken apart. It may begin again, with callbacks of its own. */
void python_gc_finalized(void);

/*
 * Whether finalization will run a collection that calls us: then that is the
 * moment called end, and not an earlier one. Needs the interpreter's lock.
 */
bool python_gc_will_tell_end(void);

#endif
