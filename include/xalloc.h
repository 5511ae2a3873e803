/*
 * xalloc.h - allocate or die, for the two ordinary programs
 *
 * A collector or a reporter without memory has nothing useful left to say.
 * The preload lives in somebody else's process, may neither allocate nor die,
 * and therefore may not include this.
 */
#ifndef INCLUDE_XALLOC_H
#define INCLUDE_XALLOC_H

#ifdef RESIDUE_PRELOAD
#error "the preload never allocates: STYLE 6"
#endif

#include <err.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "include/attrs.h"

static inline void *
xcalloc(size_t n, size_t bytes)
{
    void *block = calloc(n == 0 ? 1 : n, bytes == 0 ? 1 : bytes);
    if (block == NULL)
        errx(125, "out of memory: %zu bytes were refused", n * bytes);
    return block;
}

/* Room for n elements of bytes each; the old content is kept. */
static inline void *
xrealloc(void *old, size_t n, size_t bytes)
{
    void *block = reallocarray(old, n == 0 ? 1 : n, bytes == 0 ? 1 : bytes);
    if (block == NULL)
        errx(125, "out of memory: %zu bytes were refused", n * bytes);
    return block;
}

static inline char *
xstrndup(const char *text, size_t bytes)
{
    char *copy = strndup(text, bytes);
    if (copy == NULL)
        errx(125, "out of memory: %zu bytes were refused", bytes);
    return copy;
}

static inline char *
xstrdup(const char *text)
{
    return xstrndup(text, strlen(text));
}

/* The caller frees what it gets. */
PRINTF_LIKE(1, 2)
static inline char *
xasprintf(const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    const int bytes = vasprintf(&text, format, args);
    va_end(args);
    if (bytes < 0)
        errx(125, "out of memory while formatting a text");
    return text;
}

/* How many elements to hold so that index n is valid. */
static inline size_t
xgrown(size_t capacity, size_t n)
{
    const size_t doubled = capacity == 0 ? 16 : capacity * 2;
    return doubled > n ? doubled : n + 1;
}

/* Makes items[n] valid; new elements are not initialised. */
#define XGROW(items, capacity, n)                                      \
    do {                                                               \
        if ((n) >= (capacity)) {                                       \
            (capacity) = xgrown((capacity), (n));                      \
            (items) = xrealloc((items), (capacity), sizeof(*(items))); \
        }                                                              \
    } while (0)

#endif
