/*
 * The malloc family.
 *
 * The common case costs a call, a look at the chunk's size word and two
 * additions: blocks below WIRE_LARGE_BYTES are counted, not recorded. All else
 * (a thread's first event, a large or mmapped chunk, an allocator that is not
 * glibc's, memory from the bootstrap arena) goes through the slow paths, which
 * the size word or thread.h's `ready` select.
 *
 * glibc's chunk (malloc/malloc.c, struct malloc_chunk): the word before a block
 * holds the chunk's size and three flags; a block's usable size is that less 8.
 * Where IS_MMAPPED is set it is that less 16, but since 2.43: of those chunks
 * the allocator is asked.
 */
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "preload/bootstrap.h"
#include "preload/guard.h"
#include "preload/process.h"
#include "preload/python/gc.h"
#include "preload/real.h"
#include "preload/record.h"
#include "preload/sample.h"
#include "preload/stacks.h"

/* Where the caller of the hook that uses it goes on. */
#define CALLER ((uintptr_t)__builtin_return_address(0))

#define CHUNK_FLAGS ((uint64_t)7)
#define CHUNK_IS_MMAPPED ((uint64_t)2)

/* A size word with any of these bits set is not for the hot path. */
#define CHUNK_NOTABLE (~(uint64_t)(WIRE_LARGE_BYTES - 1) | CHUNK_IS_MMAPPED)
#define CHUNK_LONG (~(uint64_t)(WIRE_EVENT_LEAST_LONG - 1) | CHUNK_IS_MMAPPED)

static_assert((WIRE_LARGE_BYTES & (WIRE_LARGE_BYTES - 1)) == 0,
              "a mask tells large blocks");

/* Declared nowhere: newer than the oldest glibc, or older than the newest. */
void cfree(void *block);
void free_sized(void *block, size_t size);
void free_aligned_sized(void *block, size_t alignment, size_t size);

static ALWAYS_INLINE uint64_t
size_word(const void *block)
{
    return ((const uint64_t *)block)[-1];
}

/* ---- events ------------------------------------------------------------ */

/*
 * At level exact: a block's birth or death by the hot path, of which its chunk
 * says all. False: it is for a slow path. Of a death nothing was asked.
 */
static ALWAYS_INLINE bool
tell_until(uint64_t *const *end, const void *block, const size_t *asked,
           uintptr_t caller)
{
    uint64_t *place = thread_take_place(end);
    if (unlikely(place == NULL))
        return false;
    const uint64_t word = size_word(block);
    const uint64_t chunk_bytes = word & ~CHUNK_FLAGS;
    const uint64_t slack = asked == NULL ? 0 : chunk_bytes - 8 - *asked;
    if (unlikely((word & CHUNK_LONG) != 0 || slack > WIRE_EVENT_MOST_SLACK)) {
        thread_give_place_back((uintptr_t)place);
        return false;
    }
    *(volatile uint64_t *)place =
        thread_add_caller(wire_event_half((uintptr_t)block, chunk_bytes, slack,
                                          asked == NULL ? WIRE_EVENT_DEATH : 0),
                          caller);
    return true;
}

static ALWAYS_INLINE bool
tell(const void *block, const size_t *asked, uintptr_t caller)
{
    return tell_until(&self.places_end, block, asked, caller);
}

/* The same of several threads: this one had the last turn, and still has. */
static ALWAYS_INLINE bool
tell_in_turn(const void *block, const size_t *asked, uintptr_t caller)
{
    return self.turns_end != NULL && guard_has_turn(&self) &&
           tell_until(&self.turns_end, block, asked, caller);
}

/* ---- the slow paths ---------------------------------------------------- */

static uint64_t
usable_bytes(void *block)
{
    if (bootstrap_owns(block))
        return bootstrap_usable_size(block);
    if (real_is_glibc() && (size_word(block) & CHUNK_IS_MMAPPED) == 0)
        return (size_word(block) & ~CHUNK_FLAGS) - 8;
    return real.malloc_usable_size == NULL ? 0 : real.malloc_usable_size(block);
}

/*
 * Whether it is an event of its own: large, or a mapping of its own. At level
 * exact every block is, and before the level is known: it may be.
 */
static bool
is_told(const void *block, uint64_t n_bytes)
{
    if (bootstrap_owns(block))
        return false; /* our own memory */
    return process_is_exact() || process_mode() == PROCESS_EARLY ||
           n_bytes >= WIRE_LARGE_BYTES ||
           (real_is_glibc() && (size_word(block) & CHUNK_IS_MMAPPED) != 0);
}

/* At level exact, and before it is known, what fits is told in one word. */
static bool
is_word(uint64_t addr, uint64_t n_bytes, uint64_t asked)
{
    return (process_is_exact() || process_mode() == PROCESS_EARLY) &&
           wire_event_fits(addr, n_bytes, asked);
}

static void
tell_birth(struct thread *thread, const struct record_block *block)
{
    guard_take_turn(thread);
    if (!is_word(block->addr, block->n_bytes, block->asked_bytes)) {
        record_birth(thread, block);
        return;
    }
    const uint64_t event =
        wire_event(block->addr, block->n_bytes, block->asked_bytes,
                   thread_caller(block->caller));
    if (block->stack != 0)
        record_event_of(thread, event, block->stack);
    else
        record_event(thread, event);
}

static struct record_block
described(void *block, size_t asked, uintptr_t caller)
{
    return (struct record_block){
        .addr = (uintptr_t)block,
        .n_bytes = usable_bytes(block),
        .asked_bytes = asked,
        .caller = caller,
    };
}

/* Of the sample; false: there is no room, which is a loss. */
static bool
keep(const void *block)
{
    const bool is_kept = sample_keep((uintptr_t)block);
    if (!is_kept)
        guard_lose(1);
    return is_kept;
}

/* Returns the block, so that a hook ends with this call. */
static COLD void *
note_birth(void *block, size_t asked, uintptr_t caller)
{
    if (tell_in_turn(block, &asked, caller))
        return block;
    const int saved_errno = errno;
    struct record_block born = described(block, asked, caller);
    const bool is_large = is_told(block, born.n_bytes);
    born.is_sample = !is_large && sample_takes(born.n_bytes) && keep(block);
    const bool is_event = is_large || born.is_sample;

    /* Events of one word are counted where they arrive, all others here. */
    struct thread *thread = guard_enter(is_event);
    if (thread == NULL || !is_event || !is_word(born.addr, born.n_bytes, asked))
        guard_count_birth(caller, born.n_bytes);
    if (thread != NULL) {
        if (is_event && process_wants_stacks())
            born.stack = stacks_number(thread, caller);
        if (is_event)
            tell_birth(thread, &born);
        guard_leave(thread);
        python_gc_tick();
    }
    errno = saved_errno;
    return block;
}

/* It was counted, and a point fell into it; or the countdown is to begin. */
static COLD void *
note_sample(void *block, size_t asked, uintptr_t caller)
{
    struct record_block born = described(block, asked, caller);
    born.is_sample = true;
    if (!sample_is_due(born.n_bytes) || !keep(block))
        return block;
    const int saved_errno = errno;
    struct thread *thread = guard_enter(1);
    if (thread != NULL) {
        born.stack = stacks_number(thread, caller);
        record_birth(thread, &born);
        guard_leave(thread);
    }
    errno = saved_errno;
    return block;
}

static void
tell_death(struct thread *thread, uint64_t stamp,
           const struct record_block *block)
{
    guard_take_turn(thread);
    if (is_word(block->addr, block->n_bytes, block->n_bytes))
        record_event(thread,
                     WIRE_EVENT_DEATH |
                         wire_event(block->addr, block->n_bytes, block->n_bytes,
                                    thread_caller(block->caller)));
    else
        record_death(thread, stamp, block);
}

static ALWAYS_INLINE void *
born_exactly(void *block, size_t asked, uintptr_t caller)
{
    return tell(block, &asked, caller) ? block
                                       : note_birth(block, asked, caller);
}

/* A block that is an event has a stamp. */
static COLD void
note_death(const struct record_block *block, uint64_t stamp)
{
    const int saved_errno = errno;
    struct thread *thread = guard_enter(stamp != 0);
    if (thread == NULL || stamp == 0 ||
        !is_word(block->addr, block->n_bytes, block->n_bytes))
        guard_count_death(block->caller, block->n_bytes);
    if (thread != NULL) {
        if (stamp != 0)
            tell_death(thread, stamp, block);
        guard_leave(thread);
    }
    errno = saved_errno;
}

/*
 * Deaths are stamped before the real call; those that are not told are 0. A
 * block of the sample is none any more: who is given its address next may keep
 * it there, too.
 */
static uint64_t
stamp_death(const void *block, struct record_block *dying)
{
    if (is_told(block, dying->n_bytes))
        return process_next_stamp();
    dying->is_sample = sample_may_be(block) && sample_let_go(dying->addr);
    return dying->is_sample ? process_next_stamp() : 0;
}

/* It lives on: the allocator could not move it. */
static COLD void
take_back_death(void *block, uintptr_t caller)
{
    const int saved_errno = errno;
    const uint64_t n_bytes = usable_bytes(block);
    struct thread *thread = guard_enter(1);
    if (thread != NULL) {
        guard_take_turn(thread);
        record_revival(thread, (uintptr_t)block, n_bytes, caller);
        guard_leave(thread);
    }
    errno = saved_errno;
}

static COLD void
free_slowly(void *block, uintptr_t caller)
{
    if (bootstrap_owns(block))
        return;
    if (!tell_in_turn(block, NULL, caller)) {
        struct record_block dying = described(block, 0, caller);
        const uint64_t stamp = stamp_death(block, &dying);
        note_death(&dying, stamp);
    }
    real.free(block);
}

/* Memory from before the allocator was known moves to the allocator. */
static void *
move_out(void *old, size_t size, uintptr_t caller)
{
    void *fresh = real.malloc(size);
    if (fresh == NULL)
        return NULL;
    const size_t had = bootstrap_usable_size(old);
    memcpy(fresh, old, had < size ? had : size);
    note_birth(fresh, size, caller);
    return fresh;
}

/*
 * A reallocation is the death of the old block and the birth of a new one, even
 * when the address stays. The death comes before the real call, because from
 * inside it the old address may already belong to another thread. At level
 * exact it is told at once, and taken back if the call fails; else it has its
 * stamp from then, and is told once the call has succeeded.
 */
static COLD void *
reallocate_exactly(void *old, size_t size, uintptr_t caller)
{
    struct record_block dying = described(old, 0, caller);
    if (!tell(old, NULL, caller) && !tell_in_turn(old, NULL, caller))
        note_death(&dying, stamp_death(old, &dying));
    void *fresh = real.realloc(old, size);
    if (fresh != NULL)
        born_exactly(fresh, size, caller);
    else if (size != 0)
        take_back_death(old, caller);
    return fresh;
}

static COLD void *
reallocate_slowly(void *old, size_t size, uintptr_t caller)
{
    if (bootstrap_owns(old))
        return move_out(old, size, caller);
    if (process_is_exact())
        return reallocate_exactly(old, size, caller);
    struct record_block dying = described(old, 0, caller);
    const uint64_t stamp = stamp_death(old, &dying);

    void *fresh = real.realloc(old, size);
    if (fresh == NULL && size != 0) { /* the old block lives on */
        if (dying.is_sample)
            keep(old);
        return NULL;
    }
    note_death(&dying, stamp);
    if (fresh != NULL)
        note_birth(fresh, size, caller);
    return fresh;
}

/* ---- the hot paths ----------------------------------------------------- */

/*
 * Where the block is to be counted; NULL: on a slow path. They are asked for
 * once a call: a signal handler may fork, and its child may have none.
 */
static ALWAYS_INLINE struct wire_counters *
counters_for(const void *block)
{
    struct wire_counters *counters =
        __atomic_load_n(&self.ready, __ATOMIC_RELAXED);
    return likely(counters != NULL) &&
                   likely((size_word(block) & CHUNK_NOTABLE) == 0)
               ? counters
               : NULL;
}

/* Whether the sample's countdown came to its end with it. */
static ALWAYS_INLINE bool
count_birth(struct wire_counters *counters, const void *block, uintptr_t caller)
{
    const uint64_t n_bytes = (size_word(block) & ~CHUNK_FLAGS) - 8;
    counters += thread_caller(caller);
    thread_add(&counters->births, 1);
    thread_add(&counters->birth_bytes, n_bytes);
    return unlikely(sample_counts_down(n_bytes));
}

static ALWAYS_INLINE void
count_death(struct wire_counters *counters, uint64_t word, uintptr_t caller)
{
    counters += thread_caller(caller);
    thread_add(&counters->deaths, 1);
    thread_add(&counters->death_bytes, (word & ~CHUNK_FLAGS) - 8);
}

static ALWAYS_INLINE void *
born(void *block, size_t asked, uintptr_t caller)
{
    if (unlikely(block == NULL))
        return NULL;
    struct wire_counters *counters = counters_for(block);
    if (unlikely(counters == NULL))
        return born_exactly(block, asked, caller);
    return count_birth(counters, block, caller)
               ? note_sample(block, asked, caller)
               : block;
}

/* It looks like one of the sample. */
static COLD void
free_suspect(void *block, uintptr_t caller)
{
    struct wire_counters *counters = counters_for(block);
    if (counters == NULL || sample_has((uintptr_t)block)) {
        free_slowly(block, caller);
        return;
    }
    count_death(counters, size_word(block), caller);
    real.free(block);
}

static ALWAYS_INLINE void
release(void *block, uintptr_t caller)
{
    struct wire_counters *counters = counters_for(block);
    if (likely(counters != NULL)) {
        if (unlikely(sample_may_be(block))) {
            free_suspect(block, caller);
            return;
        }
        count_death(counters, size_word(block), caller);
    } else if (!tell(block, NULL, caller)) {
        free_slowly(block, caller);
        return;
    }
    real.free(block);
}

static ALWAYS_INLINE void *
reallocate(void *old, size_t size, uintptr_t caller)
{
    if (old == NULL)
        return born(real.malloc(size), size, caller);
    struct wire_counters *counters = counters_for(old);
    if (unlikely(counters == NULL) ||
        (unlikely(sample_may_be(old)) && sample_has((uintptr_t)old)))
        return reallocate_slowly(old, size, caller);

    const uint64_t was = size_word(old);
    void *fresh = real.realloc(old, size);
    if (fresh == NULL && size != 0)
        return NULL; /* out of memory: the old block lives on */
    count_death(counters, was, caller);
    return born(fresh, size, caller);
}

/* ---- hooks ------------------------------------------------------------- */

EXPORT void *
malloc(size_t size)
{
    void *block = real.malloc(size);
    return born(block, size, CALLER);
}

EXPORT void *
calloc(size_t n, size_t size)
{
    void *block = real.calloc(n, size);
    return born(block, n * size, CALLER);
}

EXPORT void
free(void *block)
{
    if (likely(block != NULL))
        release(block, CALLER);
}

EXPORT void *
realloc(void *old, size_t size)
{
    return reallocate(old, size, CALLER);
}

EXPORT void *
reallocarray(void *old, size_t n, size_t size)
{
    size_t n_bytes;
    if (__builtin_mul_overflow(n, size, &n_bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return reallocate(old, n_bytes, CALLER);
}

EXPORT int
posix_memalign(void **where, size_t alignment, size_t size)
{
    const int error = real.posix_memalign(where, alignment, size);
    if (error == 0)
        born(*where, size, CALLER);
    return error;
}

EXPORT void *
aligned_alloc(size_t alignment, size_t size)
{
    void *block = real.aligned_alloc(alignment, size);
    return born(block, size, CALLER);
}

EXPORT void *
memalign(size_t alignment, size_t size)
{
    void *block = real.memalign(alignment, size);
    return born(block, size, CALLER);
}

EXPORT void *
valloc(size_t size)
{
    void *block = real.valloc(size);
    return born(block, size, CALLER);
}

EXPORT void *
pvalloc(size_t size)
{
    void *block = real.pvalloc(size);
    return born(block, size, CALLER);
}

EXPORT size_t
malloc_usable_size(void *block)
{
    if (block != NULL && bootstrap_owns(block))
        return bootstrap_usable_size(block);
    return real.malloc_usable_size(block);
}

EXPORT void
cfree(void *block)
{
    if (block != NULL)
        release(block, CALLER);
}

EXPORT void
free_sized(void *block, size_t size)
{
    (void)size;
    if (block != NULL)
        release(block, CALLER);
}

EXPORT void
free_aligned_sized(void *block, size_t alignment, size_t size)
{
    (void)alignment;
    (void)size;
    if (block != NULL)
        release(block, CALLER);
}
