#include "preload/python/objects.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "include/cpython.h"
#include "preload/guard.h"
#include "preload/process.h"
#include "preload/python/detect.h"
#include "preload/record.h"

enum {
    FIRST_VERSION = 0x0306,
    DOMAIN_MEM = 1, /* enum PyMemAllocatorDomain, Include/cpython/pymem.h */
    DOMAIN_OBJ = 2,
    N_DOMAINS,
};

/* PyMemAllocatorEx: the same since 3.5. */
struct allocator {
    void *context;
    void *(*malloc)(void *context, size_t size);
    void *(*calloc)(void *context, size_t n, size_t size);
    void *(*realloc)(void *context, void *block, size_t size);
    void (*free)(void *context, void *block);
};

bool python_objects_are_wanted;

static struct {
    void (*get)(int domain, struct allocator *allocator);
    void (*set)(int domain, struct allocator *allocator);
    void *(*allocate)(size_t size);
    void (*release)(void *block);
    struct allocator real[N_DOMAINS]; /* what the wrappers call */
    uint32_t alignment;
    void *(*probed)(void *context, size_t size);
    bool is_reached;
} objects;

/* ---- telling ----------------------------------------------------------- */

static COLD void
tell_slowly(uint64_t word)
{
    const int saved_errno = errno;
    struct thread *thread = guard_enter(1);
    if (thread != NULL) {
        guard_take_turn(thread);
        record_event(thread, word);
        guard_leave(thread);
    }
    errno = saved_errno;
}

static ALWAYS_INLINE bool
tell_until(uint64_t *const *end, uint64_t word)
{
    uint64_t *place = thread_take_place(end);
    if (unlikely(place == NULL))
        return false;
    *(volatile uint64_t *)place = word;
    return true;
}

static ALWAYS_INLINE void
tell(uint64_t word)
{
    if (likely(tell_until(&self.places_end, word)))
        return;
    if (process_mode() != PROCESS_ON || !process_is_exact())
        return;
    if (self.turns_end == NULL || !guard_has_turn(&self) ||
        !tell_until(&self.turns_end, word))
        tell_slowly(word);
}

/*
 * obmalloc's size class: nothing else, and what is larger, is malloc's
 * (Objects/obmalloc.c, pymalloc_alloc).
 */
static ALWAYS_INLINE void
tell_birth(const void *block, size_t asked)
{
    if (block == NULL || asked - 1 >= CPYTHON_LARGEST_BLOCK)
        return;
    const uint64_t n_bytes =
        (asked + objects.alignment - 1) & ~(uint64_t)(objects.alignment - 1);
    tell(wire_object((uintptr_t)block, n_bytes, asked));
}

static ALWAYS_INLINE void
tell_death(const void *block, uint64_t has_moved)
{
    tell(wire_object((uintptr_t)block, 0, 0) | WIRE_EVENT_DEATH | has_moved);
}

/* ---- the wrappers ------------------------------------------------------ */

static void *
wrapped_malloc(void *context, size_t size)
{
    const struct allocator *real = context;
    void *block = real->malloc(real->context, size);
    tell_birth(block, size);
    return block;
}

static void *
wrapped_calloc(void *context, size_t n, size_t size)
{
    const struct allocator *real = context;
    void *block = real->calloc(real->context, n, size);
    tell_birth(block, n * size);
    return block;
}

/* A block that stays keeps its size class. */
static void *
wrapped_realloc(void *context, void *old, size_t size)
{
    const struct allocator *real = context;
    void *block = real->realloc(real->context, old, size);
    if (block == NULL || block == old)
        return block;
    if (old != NULL)
        tell_death(old, WIRE_EVENT_OBJECT_MOVED);
    tell_birth(block, size);
    return block;
}

static void
wrapped_free(void *context, void *block)
{
    const struct allocator *real = context;
    if (block != NULL)
        tell_death(block, 0);
    real->free(real->context, block);
}

/* ---- putting them in --------------------------------------------------- */

static void
wrap(int domain)
{
    struct allocator now;
    objects.get(domain, &now);
    if (now.malloc == wrapped_malloc)
        return;
    /* Others have put theirs around ours: the interpreter's tracemalloc. */
    const struct allocator *real = &objects.real[domain];
    if (real->malloc != NULL && now.malloc != real->malloc)
        return;
    /* pymalloc has none; the interpreter's debug hooks, and others, have. */
    if (now.context != NULL) {
        python_objects_are_wanted = false;
        return;
    }
    objects.real[domain] = now;
    objects.set(domain, &(struct allocator){
                            .context = &objects.real[domain],
                            .malloc = wrapped_malloc,
                            .calloc = wrapped_calloc,
                            .realloc = wrapped_realloc,
                            .free = wrapped_free,
                        });
}

void
python_objects_install(void)
{
    wrap(DOMAIN_MEM);
    wrap(DOMAIN_OBJ);
}

/* Blocks lie at multiples of 16 since 3.6.9 and 3.7.4 (bpo-27987). */
static uint32_t
alignment(void)
{
    const unsigned version = python_version();
    const bool is_old = (version == 0x0306 && python_patch() < 9) ||
                        (version == 0x0307 && python_patch() < 4);
    return is_old ? CPYTHON_OLD_ALIGNMENT : CPYTHON_ALIGNMENT;
}

void
python_objects_init(void)
{
    /* Statistics of pymalloc's are printed only where nothing is around it. */
    if (!process_is_exact() || python_version() < FIRST_VERSION ||
        python_is_free_threaded() || getenv("PYTHONMALLOCSTATS") != NULL)
        return;
    python_symbol("PyMem_GetAllocator", &objects.get);
    python_symbol("PyMem_SetAllocator", &objects.set);
    python_symbol("PyObject_Malloc", &objects.allocate);
    python_symbol("PyObject_Free", &objects.release);
    if (objects.get == NULL || objects.set == NULL ||
        objects.allocate == NULL || objects.release == NULL)
        return;
    objects.alignment = alignment();
    python_objects_are_wanted = true;
    python_objects_install();
}

/* ---- whether they are told --------------------------------------------- */

static void *
probing_malloc(void *context, size_t size)
{
    objects.is_reached = true;
    return objects.probed(context, size);
}

/*
 * Somebody may have put others around ours, or in their place: PYTHONMALLOC and
 * -X dev do. One block, given back at once, tells which. Interpreters with
 * locks of their own may call either function meanwhile.
 */
bool
python_objects_are_told(void)
{
    if (!python_objects_are_wanted)
        return false;
    struct allocator *real = &objects.real[DOMAIN_OBJ];
    objects.probed = real->malloc;
    objects.is_reached = false;
    __atomic_store_n(&real->malloc, probing_malloc, __ATOMIC_SEQ_CST);
    void *block = objects.allocate(1);
    __atomic_store_n(&real->malloc, objects.probed, __ATOMIC_SEQ_CST);
    objects.release(block);
    return objects.is_reached;
}
