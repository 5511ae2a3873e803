/*
 * unwind.h - the return addresses on the calling thread's stack
 *
 * By the images' call frame information, from rsp and rbp alone. Reads nothing
 * but those tables and the part of the stack that is in use, and stops where it
 * would have to guess. No allocation, no lock, no system call; safe in a signal
 * handler. What it has learnt of an address it keeps, for all threads.
 */
#ifndef PRELOAD_UNWIND_UNWIND_H
#define PRELOAD_UNWIND_UNWIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "include/attrs.h"

/* Constructor, once. */
void unwind_init(void);

/* A thread is about to start on a stack of so many bytes. */
void unwind_note_stack(size_t n_bytes);

/* An image may have gone: nothing that was learnt of its code is true. */
void unwind_forget(void);

/*
 * The innermost first, without those of our own image; at most `most`.
 * *is_whole says that the last of them is the outermost there is.
 */
NOINLINE size_t unwind_here(uint64_t *frames, size_t most, bool *is_whole);

#endif
