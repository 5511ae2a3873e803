/*
 * Mappings. None of these calls is hot; every one that succeeds is an event.
 * The allocator's own mappings do not come by here: glibc calls itself.
 */
#include <errno.h>
#include <stdarg.h>
#include <sys/mman.h>

#include "preload/guard.h"
#include "preload/process.h"
#include "preload/python/gc.h"
#include "preload/real.h"
#include "preload/record.h"

#define CALLER ((uintptr_t)__builtin_return_address(0))

static void *
note_map(struct record_mapping *mapping)
{
    const int saved_errno = errno;
    struct thread *thread = guard_enter(1);
    if (thread != NULL) {
        record_map(thread, mapping);
        guard_leave(thread);
        python_gc_saw_mapping(mapping->caller);
    }
    errno = saved_errno;
    return (void *)(uintptr_t)mapping->addr;
}

EXPORT void *
mmap(void *addr, size_t n_bytes, int protection, int flags, int fd,
     off_t offset)
{
    void *start = real.mmap(addr, n_bytes, protection, flags, fd, offset);
    if (start == MAP_FAILED)
        return start;
    return note_map(&(struct record_mapping){(uintptr_t)start, n_bytes, CALLER,
                                             protection, flags, fd});
}

EXPORT void *
mmap64(void *addr, size_t n_bytes, int protection, int flags, int fd,
       off64_t offset)
{
    void *start = real.mmap64(addr, n_bytes, protection, flags, fd, offset);
    if (start == MAP_FAILED)
        return start;
    return note_map(&(struct record_mapping){(uintptr_t)start, n_bytes, CALLER,
                                             protection, flags, fd});
}

EXPORT int
munmap(void *addr, size_t n_bytes)
{
    const uint64_t stamp = process_next_stamp();
    const int result = real.munmap(addr, n_bytes);
    if (result != 0)
        return result;

    const int saved_errno = errno;
    struct thread *thread = guard_enter(1);
    if (thread != NULL) {
        record_unmap(thread, stamp, (uintptr_t)addr, n_bytes);
        guard_leave(thread);
    }
    errno = saved_errno;
    return result;
}

EXPORT void *
mremap(void *old, size_t old_bytes, size_t n_bytes, int flags, ...)
{
    /* The fifth argument counts only with MREMAP_FIXED; glibc reads it too. */
    va_list rest;
    va_start(rest, flags);
    void *wanted = flags & MREMAP_FIXED ? va_arg(rest, void *) : NULL;
    va_end(rest);

    real_resolve();
    const uint64_t stamp = process_next_stamp();
    void *start = real.mremap(old, old_bytes, n_bytes, flags, wanted);
    if (start == MAP_FAILED)
        return start;

    const int saved_errno = errno;
    struct thread *thread = guard_enter(1);
    if (thread != NULL) {
        const struct record_mapping was = {.addr = (uintptr_t)old,
                                           .n_bytes = old_bytes};
        const struct record_mapping is = {.addr = (uintptr_t)start,
                                          .n_bytes = n_bytes,
                                          .caller = CALLER,
                                          .flags = flags};
        record_remap(thread, stamp, &was, &is);
        guard_leave(thread);
    }
    errno = saved_errno;
    return start;
}
