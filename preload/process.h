/*
 * process.h - who this process is to the collector, and whether anybody listens
 *
 * A process is EARLY until the constructor ran, ON while a collector takes its
 * events, and OFF when there is none or it went away: then the preload is a
 * null interposer. A forked child finds itself wiped (a page with
 * MADV_WIPEONFORK reads zero) and introduces itself anew at its first event;
 * while one thread does so, the others have neither memory nor pipe to use.
 */
#ifndef PRELOAD_PROCESS_H
#define PRELOAD_PROCESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "include/attrs.h"
#include "include/wire.h"

enum process_mode { PROCESS_EARLY, PROCESS_ON, PROCESS_OFF };

extern HIDDEN _Atomic int process_current_mode;

static inline enum process_mode
process_mode(void)
{
    return (enum process_mode)atomic_load_explicit(&process_current_mode,
                                                   memory_order_relaxed);
}

/* What the collector wants to be told; watch until it has said so. */
extern HIDDEN _Atomic int process_current_level;

static inline bool
process_is_exact(void)
{
    return atomic_load_explicit(&process_current_level, memory_order_relaxed) >=
           WIRE_LEVEL_EXACT;
}

/* At level watch: the mean distance of samples; 0: there are none. */
extern HIDDEN _Atomic uint64_t process_current_sample_bytes;

static inline uint64_t
process_sample_bytes(void)
{
    return atomic_load_explicit(&process_current_sample_bytes,
                                memory_order_relaxed);
}

static inline bool
process_is_sampling(void)
{
    return process_sample_bytes() != 0 && !process_is_exact();
}

/* Of each block that is told, or of some. */
static inline bool
process_wants_stacks(void)
{
    return process_is_sampling() ||
           atomic_load_explicit(&process_current_level, memory_order_relaxed) ==
               WIRE_LEVEL_STACKS;
}

/* What the preload found out about the interpreter, for the introduction. */
struct process_python {
    struct wire_range text;
    uint64_t runtime;
    char version[24];
};

/*
 * Introduces this image to the collector at the socket's path. Returns false,
 * and the process is OFF, when nobody answers. Constructor only; python and
 * the facts behind it stay with us.
 */
bool process_start(const char *socket_path, uint32_t flags,
                   const struct process_python *python);

/* For a process that is not to be traced. */
void process_stay_off(void);

/* Nobody listens any more. Safe from any thread at any time. */
void process_fall_silent(void);

/*
 * In a forked child, by a thread with that buffer: its parent's stream is none
 * of its own. See shared_cut_off.
 */
void process_leave_stream(uint32_t buffer_index);

enum process_birth {
    PROCESS_UNKNOWN, /* a forked child that has not introduced itself */
    PROCESS_INTRODUCING,
    PROCESS_KNOWN,
};

enum process_birth process_birth(void);

/* True for one thread of an unknown child: it calls process_start_child. */
bool process_claim_introduction(void);

/* The child's introduction; afterwards the process is ON or OFF, and known. */
void process_start_child(void);

/*
 * Remembers what is alive now, for a child that may be born next; returns the
 * fork's number.
 */
uint32_t process_note_fork(void);

/* False in a vfork child, which runs on its parent's memory. */
bool process_is_ours(void);

/*
 * A thread asks for this scheduling policy: once it is a real-time one, no
 * thread of this process is ever made to wait.
 */
void process_note_policy(int policy);
bool process_may_wait(void);

/*
 * What was told once may be lost: whoever tells things once compares this with
 * what it was when he did. Never 0; another one at most once a second.
 */
extern HIDDEN _Atomic uint8_t process_telling;
void process_tell_again(void);

/* The next order token. */
uint64_t process_next_stamp(void);

/*
 * Whether there is, or was, more than one thread. The first one is told of
 * before it starts, by the only thread there is.
 */
bool process_is_threaded(void);
void process_note_thread(void);

uint64_t process_now_ns(void);

/* When this image, or this forked child, introduced itself. */
uint64_t process_started_ns(void);

#endif
