/*
 * A table of hashes, by which a stack's number is its place, and when each was
 * told last (process_telling): who finds that it was not, or not since
 * something was lost, tells it as well, so that neither a fork in between nor a
 * full pipe leaves anybody without.
 */
#include "preload/stacks.h"

#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include "preload/process.h"
#include "preload/record.h"
#include "preload/unwind/images.h"
#include "preload/unwind/unwind.h"

enum {
    MOST_PROBES = 64,
    PATH_BYTES = 1024,
    SCRATCH_AT = 512, /* in the page of a buffer's head */
};

static _Atomic uint64_t table[WIRE_MOST_STACKS];
static _Atomic uint8_t told_at[WIRE_MOST_STACKS];

/* Records are put together where there is room: not on the target's stack. */
struct scratch {
    uint64_t stack[1 + WIRE_MOST_FRAMES + 1]; /* a struct wire_stack */
    uint64_t module[(sizeof(struct wire_module) + PATH_BYTES) / 8 + 1];
};

static_assert(sizeof(struct wire_buffer_head) <= SCRATCH_AT &&
                  SCRATCH_AT + sizeof(struct scratch) <= WIRE_BATCH_BYTES,
              "a buffer's first page holds its head and the scratch");

static struct scratch *
scratch_of(struct thread *thread)
{
    return (struct scratch *)(void *)((char *)thread->buffer + SCRATCH_AT);
}

static struct wire_stack *
stack_of(struct thread *thread)
{
    return (struct wire_stack *)(void *)scratch_of(thread)->stack;
}

/* What is told of it; at least one frame, and 0 where it is cut short. */
static size_t
take_frames(uint64_t *frames, uintptr_t caller)
{
    bool is_whole = false;
    size_t n = unwind_here(frames, WIRE_MOST_FRAMES, &is_whole);
    if (n == 0)
        frames[n++] = caller;
    if (!is_whole)
        frames[n++] = 0;
    return n;
}

/* Never 0. */
static uint64_t
hash_of(const uint64_t *frames, size_t n)
{
    const uint64_t factor = 0x9e3779b97f4a7c15;
    uint64_t hash = images_epoch();
    for (size_t i = 0; i < n; i++) {
        hash = (hash ^ frames[i]) * factor;
        hash ^= hash >> 32;
    }
    return hash == 0 ? 1 : hash;
}

/* The stack's place, which is the caller's from now on; 0: there is none. */
static uint32_t
place_of(uint64_t hash)
{
    for (uint32_t probe = 0; probe < MOST_PROBES; probe++) {
        const uint32_t at = (uint32_t)((hash >> 8) + probe) % WIRE_MOST_STACKS;
        uint64_t there = atomic_load_explicit(&table[at], memory_order_relaxed);
        if (at == 0)
            continue;
        if (there == 0)
            atomic_compare_exchange_strong(&table[at], &there, hash);
        if (there == 0 || there == hash)
            return at;
    }
    return 0;
}

static void
tell_image(struct thread *thread, const struct image *image)
{
    struct wire_module *module = (void *)scratch_of(thread)->module;
    size_t n = strlen(image->path);
    if (n > PATH_BYTES)
        n = 0;
    memset(module, 0, sizeof(scratch_of(thread)->module));
    module->start = image->tables.start;
    module->end = image->tables.end;
    module->bias = image->bias;
    module->build_id_bytes = image->build_id_bytes;
    memcpy(module->build_id, image->build_id, sizeof(module->build_id));
    memcpy(module->path, image->path, n);
    record_module(thread, module, n);
}

static void
tell(struct thread *thread, uint32_t number, size_t n_frames, uint8_t telling)
{
    struct wire_stack *stack = stack_of(thread);
    for (size_t i = 0; i < n_frames; i++) {
        struct image *image = images_find(stack->frames[i] - 1);
        if (image != NULL &&
            atomic_exchange(&image->told_at, telling) != telling)
            tell_image(thread, image);
    }
    record_frames(thread, stack, number, n_frames);
}

uint32_t
stacks_number(struct thread *thread, uintptr_t caller)
{
    uint64_t *frames = stack_of(thread)->frames;
    const size_t n = take_frames(frames, caller);
    const uint64_t hash = hash_of(frames, n);
    const uint32_t number = place_of(hash);
    const uint8_t telling = atomic_load(&process_telling);
    if (number == 0 || atomic_load(&told_at[number]) == telling)
        return number;
    tell(thread, number, n, telling);
    atomic_store(&told_at[number], telling);
    return number;
}
