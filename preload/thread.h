/*
 * thread.h - what each thread of the target carries for us
 *
 * One small block of initial-exec TLS: no allocation, no lock, no call into the
 * dynamic linker. The hot paths of the hooks read is_ready and add to
 * *counters; everything else is guard.c's.
 */
#ifndef PRELOAD_THREAD_H
#define PRELOAD_THREAD_H

#include <stdbool.h>
#include <stdint.h>

#include "include/attrs.h"
#include "include/wire.h"

struct thread {
    /*
     * The hot path may count by itself: the thread has its counters, the
     * allocator is glibc's, nothing waits for the interpreter. False at the
     * start and around a fork.
     */
    bool is_ready;
    bool is_busy;      /* between guard_enter and guard_leave */
    bool is_leaving;   /* its destructor ran: what comes now comes last */
    bool is_borrowing; /* the common buffer, for this one event */
    uint32_t buffer_index;
    struct wire_counters *counters;  /* by wire_caller; NULL: none yet */
    struct wire_buffer_head *buffer; /* NULL: none */
    struct wire_counters unheard[WIRE_N_CALLERS]; /* when nobody listens */
};

extern HIDDEN __thread struct thread self
    __attribute__((tls_model("initial-exec")));

/* The interpreter's text; empty without one. Set by the constructor. */
extern HIDDEN struct wire_range thread_python_text;

static ALWAYS_INLINE enum wire_caller
thread_caller(uintptr_t caller)
{
    return (enum wire_caller)(caller - thread_python_text.start <
                              thread_python_text.n_bytes);
}

/*
 * One instruction, so that a signal handler that allocates in between loses
 * nothing; only the owning thread writes, so that no lock prefix is needed.
 */
static ALWAYS_INLINE void
thread_add(uint64_t *counter, uint64_t n)
{
    __asm__("addq %1, %0" : "+m"(*counter) : "er"(n) : "cc");
}

#endif
