/*
 * Resolution runs in whichever thread allocates first, often before any
 * constructor. Threads that meet a resolution under way are served from the
 * bootstrap arena; none ever waits.
 */
#include "preload/real.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "include/attrs.h"
#include "preload/bootstrap.h"
#include "preload/raw.h"

enum resolution { RESOLUTION_NONE, RESOLUTION_UNDER_WAY, RESOLUTION_DONE };

static struct {
    _Atomic int resolution;
    bool is_glibc;
} state;

static bool
is_resolved(void)
{
    real_resolve();
    return atomic_load(&state.resolution) == RESOLUTION_DONE;
}

/* ---- what the table holds until the names are known -------------------- */

static void *
first_malloc(size_t size)
{
    return is_resolved() ? real.malloc(size) : bootstrap_alloc(0, size);
}

static void *
first_calloc(size_t n, size_t size)
{
    if (is_resolved())
        return real.calloc(n, size);
    size_t n_bytes;
    if (__builtin_mul_overflow(n, size, &n_bytes))
        return NULL;
    return bootstrap_alloc(0, n_bytes);
}

static void *
first_realloc(void *old, size_t size)
{
    if (is_resolved())
        return real.realloc(old, size);
    /* The hook moves bootstrap blocks out; nothing else can exist yet. */
    return old == NULL ? bootstrap_alloc(0, size) : NULL;
}

static void
first_free(void *block)
{
    if (is_resolved())
        real.free(block);
}

static int
first_posix_memalign(void **where, size_t alignment, size_t size)
{
    if (is_resolved())
        return real.posix_memalign(where, alignment, size);
    void *block = bootstrap_alloc(alignment, size);
    if (block == NULL)
        return ENOMEM;
    *where = block;
    return 0;
}

static void *
first_memalign(size_t alignment, size_t size)
{
    return is_resolved() ? real.memalign(alignment, size)
                         : bootstrap_alloc(alignment, size);
}

static void *
first_valloc(size_t size)
{
    return is_resolved() ? real.valloc(size) : bootstrap_alloc(4096, size);
}

static void *
first_pvalloc(size_t size)
{
    return is_resolved() ? real.pvalloc(size) : bootstrap_alloc(4096, size);
}

static size_t
first_malloc_usable_size(void *block)
{
    return is_resolved() ? real.malloc_usable_size(block) : 0;
}

static void *
first_mmap(void *addr, size_t n_bytes, int protection, int flags, int fd,
           off_t offset)
{
    if (is_resolved())
        return real.mmap(addr, n_bytes, protection, flags, fd, offset);
    const long start = raw_call6(SYS_mmap, (long)(uintptr_t)addr, (long)n_bytes,
                                 protection, flags, fd, offset);
    if (start < 0 && start >= -4095) {
        errno = (int)-start;
        return MAP_FAILED;
    }
    return (void *)(uintptr_t)start;
}

static int
first_munmap(void *addr, size_t n_bytes)
{
    if (is_resolved())
        return real.munmap(addr, n_bytes);
    raw_unmap(addr, n_bytes);
    return 0;
}

struct real_functions real = {
    .malloc = first_malloc,
    .calloc = first_calloc,
    .realloc = first_realloc,
    .free = first_free,
    .posix_memalign = first_posix_memalign,
    .aligned_alloc = first_memalign,
    .memalign = first_memalign,
    .valloc = first_valloc,
    .pvalloc = first_pvalloc,
    .malloc_usable_size = first_malloc_usable_size,
    .mmap = first_mmap,
    .mmap64 = first_mmap,
    .munmap = first_munmap,
};

/* ---- resolution -------------------------------------------------------- */

/*
 * POSIX makes dlsym return functions as data pointers; ISO C has no cast for
 * that, so the bits are copied.
 */
#define RESOLVE(table, name)                                \
    do {                                                    \
        void *symbol = dlsym(RTLD_NEXT, #name);             \
        if (symbol != NULL)                                 \
            memcpy(&(table).name, &symbol, sizeof(symbol)); \
    } while (0)

static bool
is_of_libc(const void *symbol)
{
    Dl_info its;
    Dl_info libc;
    return dladdr(symbol, &its) != 0 &&
           dladdr(dlsym(RTLD_NEXT, "gnu_get_libc_version"), &libc) != 0 &&
           its.dli_fbase == libc.dli_fbase;
}

/*
 * The next definition that the program itself would be bound to. dlsym passes
 * by libc_malloc_debug.so, whose versions are not default ones, so that
 * MALLOC_CHECK_ would check nothing; dlvsym, by allocators that have none. So
 * what dlsym finds counts, unless it is libc's, before which the other may be.
 */
static void *
next_of_malloc(const char *name)
{
    static const char *const versions[] = {"GLIBC_2.2.5", "GLIBC_2.16"};
    void *next = dlsym(RTLD_NEXT, name);
    if (next == NULL || !is_of_libc(next))
        return next;
    for (size_t i = 0; i < countof(versions); i++) {
        void *symbol = dlvsym(RTLD_NEXT, name, versions[i]);
        if (symbol != NULL)
            return symbol;
    }
    return next;
}

#define RESOLVE_MALLOC(table, name)                         \
    do {                                                    \
        void *symbol = next_of_malloc(#name);               \
        if (symbol != NULL)                                 \
            memcpy(&(table).name, &symbol, sizeof(symbol)); \
    } while (0)

/* glibc's own names, for the case that dlsym finds no next definition. */
extern void *__libc_malloc(size_t) __attribute__((weak));
extern void *__libc_calloc(size_t, size_t) __attribute__((weak));
extern void *__libc_realloc(void *, size_t) __attribute__((weak));
extern void __libc_free(void *) __attribute__((weak));
extern void *__libc_memalign(size_t, size_t) __attribute__((weak));

static void
fall_back(struct real_functions *table)
{
    table->malloc = __libc_malloc;
    table->calloc = __libc_calloc;
    table->realloc = __libc_realloc;
    table->free = __libc_free;
    table->memalign = __libc_memalign;
    table->aligned_alloc = __libc_memalign;
}

static bool
is_from_libc(const void *symbol)
{
    void *libc_symbol = dlsym(RTLD_NEXT, "gnu_get_libc_version");
    Dl_info ours;
    Dl_info libc;
    return libc_symbol != NULL && dladdr(symbol, &ours) != 0 &&
           dladdr(libc_symbol, &libc) != 0 && ours.dli_fbase == libc.dli_fbase;
}

COLD void
real_resolve(void)
{
    int none = RESOLUTION_NONE;
    if (!atomic_compare_exchange_strong(&state.resolution, &none,
                                        RESOLUTION_UNDER_WAY))
        return;

    static struct real_functions found; /* too large for a hook's frame */
#define X(type, name, parameters, arguments) RESOLVE_MALLOC(found, name);
    HOOKED_MALLOC(X)
#undef X
#define X(type, name, parameters, arguments) RESOLVE(found, name);
    HOOKED_MAP(X)
    HOOKED_PROCESS(X)
    HOOKED_THREAD(X)
    HOOKED_LOADER(X)
#undef X
#define X(name, parameters, arguments) RESOLVE(found, name);
    HOOKED_VOID(X)
#undef X
    RESOLVE_MALLOC(found, free);
    RESOLVE(found, mremap);
    RESOLVE(found, clone);
    RESOLVE(found, prctl);
    if (found.malloc == NULL || found.free == NULL)
        fall_back(&found);
    if (found.malloc == NULL)
        __builtin_trap(); /* no allocator exists: the program cannot run */

    void *next_malloc;
    memcpy(&next_malloc, &found.malloc, sizeof(next_malloc));
    state.is_glibc = is_from_libc(next_malloc);
    real = found;
    atomic_store(&state.resolution, RESOLUTION_DONE);
}

bool
real_is_glibc(void)
{
    return state.is_glibc;
}
