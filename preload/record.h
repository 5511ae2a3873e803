/*
 * record.h - events in the words of the wire
 *
 * Each function writes one record into the batch of a thread that guard_enter
 * returned. Stamps are the caller's: taken before a death's real call, after a
 * birth's.
 */
#ifndef PRELOAD_RECORD_H
#define PRELOAD_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "include/wire.h"
#include "preload/thread.h"

struct record_mapping {
    uint64_t addr;
    uint64_t n_bytes;
    uint64_t caller;
    int protection;
    int flags;
    int fd;
};

void record_map(struct thread *thread, const struct record_mapping *mapping);
void record_unmap(struct thread *thread, uint64_t stamp, uint64_t addr,
                  uint64_t n_bytes);
void record_remap(struct thread *thread, uint64_t death_stamp,
                  const struct record_mapping *old,
                  const struct record_mapping *fresh);

struct record_block {
    uint64_t addr;
    uint64_t n_bytes;
    uint64_t asked_bytes;
    uintptr_t caller;
    uint32_t stack; /* its number; 0: none */
    bool is_sample; /* and not told for itself */
};

void record_birth(struct thread *thread, const struct record_block *block);
void record_death(struct thread *thread, uint64_t stamp,
                  const struct record_block *block);

/* The death told last of this block was none: it was not to be moved. */
void record_revival(struct thread *thread, uint64_t addr, uint64_t n_bytes,
                    uintptr_t caller);

void record_fork(struct thread *thread, uint64_t number);

/* A block's birth or death at level exact. */
void record_event(struct thread *thread, uint64_t event);

/* A birth, whose stack has a number. */
void record_event_of(struct thread *thread, uint64_t event, uint32_t stack);

/* Its frames are set. */
void record_frames(struct thread *thread, struct wire_stack *stack,
                   uint32_t number, size_t n_frames);

/* All is set but its length; behind the path there are zeroes. */
void record_module(struct thread *thread, struct wire_module *module,
                   size_t path_bytes);

/* What is told from here on comes after what any thread has told so far. */
void record_turn(struct thread *thread, uint64_t turn);

void record_thread(struct thread *thread, uint64_t control_block);
void record_stack(struct thread *thread, uint64_t start, uint64_t n_bytes);
void record_spawn(struct thread *thread, int pid, bool is_followed);

/* A finished struct; its header is filled in here. */
void record_gc(struct thread *thread, struct wire_gc *gc, uint32_t generation);
void record_python(struct thread *thread, struct wire_python *python,
                   uint32_t flags);

/* Sent at once: whoever waits for the end must be heard. */
void record_end(struct thread *thread, enum wire_end_reason reason,
                uint32_t ticket, int exit_status);

#endif
