/*
 * thread.h - what each thread of the target carries for us
 *
 * One small block of initial-exec TLS: no allocation, no lock, no call into the
 * dynamic linker. The hot paths of the hooks add to *ready, if there is
 * one; everything else is guard.c's.
 */
#ifndef PRELOAD_THREAD_H
#define PRELOAD_THREAD_H

#include <stdbool.h>
#include <stdint.h>

#include "include/attrs.h"
#include "include/wire.h"

struct thread {
    /*
     * Where the hot path may count by itself: the thread has its counters, the
     * allocator is glibc's, nothing waits for the interpreter. NULL at the
     * start and around a fork.
     */
    struct wire_counters *ready;
    bool is_busy;      /* between guard_enter and guard_leave */
    bool is_leaving;   /* its destructor ran: what comes now comes last */
    bool is_borrowing; /* a buffer, for this one event */
    bool is_adrift;    /* forked within a call: its buffer is nobody's */
    uint32_t buffer_index;
    struct wire_counters *counters;  /* by wire_caller; NULL: none yet */
    struct wire_buffer_head *buffer; /* NULL: none */
    /*
     * At level exact the hot path writes events itself, while there is one
     * thread only; and a warm one, while it is this thread's turn: the next
     * place, and where places end for each. NULL: it may not, and the place is
     * THREAD_NOWHERE.
     */
    uint64_t *place;
    uint64_t *places_end;
    uint64_t *turns_end;
    uint64_t turn; /* its last one in its buffer; 0: none */
    /* sample.h: bytes that a birth exceeds to be told, and whence the next. */
    uint64_t until_sample;
    uint64_t random; /* 0: the countdown has not begun */
    struct wire_counters unheard[WIRE_N_CALLERS]; /* when nobody listens */
};

/* Beyond all ends. */
#define THREAD_NOWHERE ((uint64_t *)((uintptr_t)1 << 62))

extern HIDDEN __thread struct thread self
    __attribute__((tls_model("initial-exec")));

/* The interpreter's text; empty without one. Set by the constructor. */
extern HIDDEN struct wire_range thread_python_text;

static ALWAYS_INLINE bool
thread_is_python(uintptr_t caller)
{
    return caller - thread_python_text.start < thread_python_text.n_bytes;
}

/* Twice the half, and one if the caller is the interpreter. */
static ALWAYS_INLINE uint64_t
thread_add_caller(uint64_t half, uintptr_t caller)
{
    const uint64_t offset = caller - thread_python_text.start;
    __asm__("cmpq %1, %2\n\tadcq %0, %0"
            : "+r"(half)
            : "m"(thread_python_text.n_bytes), "r"(offset)
            : "cc");
    return half;
}

static ALWAYS_INLINE enum wire_caller
thread_caller(uintptr_t caller)
{
    return thread_is_python(caller) ? WIRE_CALLER_PYTHON : WIRE_CALLER_NATIVE;
}

/*
 * The place was not used. A signal handler may have taken others since, or have
 * told something at length: then it stays, and says nothing. Where a batch ends
 * there was none.
 */
static ALWAYS_INLINE void
thread_give_place_back(uint64_t at)
{
    const struct wire_record nothing = {.n_bytes = sizeof(nothing)};
    uint64_t next = at + sizeof(uint64_t);
    bool is_back;
    __asm__ volatile("cmpxchgq %3, %2"
                     : "=@ccz"(is_back), "+a"(next), "+m"(self.place)
                     : "r"(at)
                     : "memory");
    if (unlikely(!is_back) && at % WIRE_BATCH_BYTES != 0 &&
        at < (uintptr_t)THREAD_NOWHERE)
        *(volatile struct wire_record *)at = nothing;
}

/*
 * Where a path may write an event, whose places end there; NULL: it may not.
 * The place is taken by one instruction, so that what a signal handler
 * allocates in between gets another. One that is not used is given back. Where
 * places end is asked before: afterwards they may be another batch's.
 */
static ALWAYS_INLINE uint64_t *
thread_take_place(uint64_t *const *ends)
{
    const uintptr_t end = (uintptr_t) * (uint64_t *const volatile *)ends;
    uint64_t at = sizeof(uint64_t);
    __asm__ volatile("xaddq %0, %1" : "+r"(at), "+m"(self.place) : : "cc");
    if (unlikely(at >= end)) {
        thread_give_place_back(at);
        return NULL;
    }
    if (at == 0)
        __builtin_unreachable(); /* places end above 0, or there are none */
    return (uint64_t *)at;
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
