/*
 * The null interposer: stands in for the malloc family and does nothing.
 *
 * It is the floor that the preload is measured against (DESIGN 9): what any
 * interposer costs, one call through a pointer. The list of functions is the
 * preload's own; what the preload builds from others (HOOKED_OWN) no workload
 * calls.
 */
#include <dlfcn.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "include/attrs.h"
#include "preload/hooked.h"

/* glibc's own names, for what dlsym allocates while it looks for the others. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void __libc_free(void *block);

static void resolve(void);

#define X(type, name, parameters, arguments) \
    static type first_##name parameters;
HOOKED_MALLOC(X)
#undef X
static void first_free(void *block);

/* The next definitions; each begins as one that finds them all. */
static struct {
#define X(type, name, parameters, arguments) type(*name) parameters;
    HOOKED_MALLOC(X)
#undef X
    void (*free)(void *block);
} next = {
#define X(type, name, parameters, arguments) .name = first_##name,
    HOOKED_MALLOC(X)
#undef X
        .free = first_free,
};

#define X(type, name, parameters, arguments) \
    static type first_##name parameters      \
    {                                        \
        resolve();                           \
        return next.name arguments;          \
    }
HOOKED_MALLOC(X)
#undef X

static void
first_free(void *block)
{
    resolve();
    next.free(block);
}

/* ISO C has no cast from an object's address to a function's. */
static void
find(const char *name, void *where)
{
    void *const symbol = dlsym(RTLD_NEXT, name);
    memcpy(where, &symbol, sizeof(symbol));
}

__attribute__((constructor)) static void
resolve(void)
{
    next.malloc = __libc_malloc;
    next.calloc = __libc_calloc;
    next.realloc = __libc_realloc;
    next.free = __libc_free;
#define X(type, name, parameters, arguments) find(#name, &next.name);
    HOOKED_MALLOC(X)
#undef X
    find("free", &next.free);
}

#define X(type, name, parameters, arguments) \
    EXPORT type name parameters              \
    {                                        \
        return next.name arguments;          \
    }
HOOKED_MALLOC(X)
#undef X

EXPORT void
free(void *block)
{
    next.free(block);
}
