/*
 * real.h - the next definition of every function we stand in for
 *
 * The table may be called at any time, also before any constructor ran: until
 * the names are resolved each entry is a stub that resolves them first. While
 * dlsym itself allocates, memory comes from the bootstrap arena.
 *
 * RTLD_NEXT and not __libc_malloc: a program linked with another allocator
 * keeps that allocator.
 */
#ifndef PRELOAD_REAL_H
#define PRELOAD_REAL_H

#include <pthread.h>
#include <spawn.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <threads.h>

#include "include/attrs.h"
#include "preload/hooked.h"

struct real_functions {
#define X(type, name, parameters, arguments) type(*name) parameters;
    HOOKED_REAL(X)
#undef X
#define X(name, parameters, arguments) void(*name) parameters;
    HOOKED_VOID(X)
#undef X
    void *(*mremap)(void *, size_t, size_t, int, void *);
    int (*prctl)(int, unsigned long, unsigned long, unsigned long,
                 unsigned long);
    int (*clone)(int (*)(void *), void *, int, void *, void *, void *, void *);
};

/* Written once, by whoever comes first; the same values whoever that is. */
extern HIDDEN struct real_functions real;

/* Resolves every name, once. Later calls do nothing. */
void real_resolve(void);

/* Whether the allocator behind us is glibc's, whose chunk headers we read. */
bool real_is_glibc(void);

#endif
