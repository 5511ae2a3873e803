/*
 * next.h - the allocator behind an oracle, by the dynamic linker's word
 *
 * For a library that is preloaded and has the malloc family's names itself: one
 * file includes it.
 */
#ifndef TESTS_TARGETS_NEXT_H
#define TESTS_TARGETS_NEXT_H

#include <dlfcn.h>
#include <stddef.h>

static struct {
    void *(*malloc)(size_t);
    void *(*calloc)(size_t, size_t);
    void *(*realloc)(void *, size_t);
    void (*free)(void *);
    int (*posix_memalign)(void **, size_t, size_t);
    void *(*aligned_alloc)(size_t, size_t);
    void *(*memalign)(size_t, size_t);
    void *(*reallocarray)(void *, size_t, size_t);
    void *(*valloc)(size_t);
    void *(*pvalloc)(size_t);
    size_t (*malloc_usable_size)(void *);
} next;

/* All at once, for residue's own search for names calls free. */
static void
resolve(void)
{
    if (next.malloc != NULL)
        return;
    next.free = (void (*)(void *))dlsym(RTLD_NEXT, "free");
    next.calloc = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "calloc");
    next.realloc = (void *(*)(void *, size_t))dlsym(RTLD_NEXT, "realloc");
    next.posix_memalign =
        (int (*)(void **, size_t, size_t))dlsym(RTLD_NEXT, "posix_memalign");
    next.aligned_alloc =
        (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "aligned_alloc");
    next.memalign = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "memalign");
    next.reallocarray =
        (void *(*)(void *, size_t, size_t))dlsym(RTLD_NEXT, "reallocarray");
    next.valloc = (void *(*)(size_t))dlsym(RTLD_NEXT, "valloc");
    next.pvalloc = (void *(*)(size_t))dlsym(RTLD_NEXT, "pvalloc");
    next.malloc_usable_size =
        (size_t(*)(void *))dlsym(RTLD_NEXT, "malloc_usable_size");
    next.malloc = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
}

#endif
