/*
 * detect.h - which interpreter this process carries, if any
 *
 * Asked once, by the constructor, when the program and its libraries are
 * mapped and nothing of theirs has run. An interpreter that is dlopen'ed later
 * is not found here.
 */
#ifndef PRELOAD_PYTHON_DETECT_H
#define PRELOAD_PYTHON_DETECT_H

#include <stdbool.h>

#include "preload/process.h"

/* False, and found is empty: this is no Python program. */
bool python_detect(struct process_python *found);

/* Major and minor as 0x030b, or 0 without an interpreter. */
unsigned python_version(void);

/* The third number of its version. */
unsigned python_patch(void);

/* Built without the interpreter's lock. */
bool python_is_free_threaded(void);

/* Copies a dynamic symbol's address into *where, or NULL. */
void python_symbol(const char *name, void *where);

/* The same, as the object that holds the address defines it. */
void python_symbol_beside(const void *addr, const char *name, void *where);

#endif
