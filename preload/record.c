#include "preload/record.h"

#include "preload/batch.h"
#include "preload/process.h"

static void
put(struct thread *thread, struct wire_record *record, enum wire_kind kind,
    size_t n_bytes, uint32_t detail)
{
    record->kind = (uint8_t)kind;
    record->n_bytes = (uint16_t)n_bytes;
    record->detail = detail;
    batch_put(thread->buffer, thread->buffer_index, record);
}

#define PUT(thread, what, KIND, detail) \
    put((thread), &(what)->record, WIRE_KIND_##KIND, sizeof(*(what)), (detail))

void
record_map(struct thread *thread, const struct record_mapping *mapping)
{
    struct wire_map map = {
        .stamp = process_next_stamp(),
        .addr = mapping->addr,
        .n_bytes = mapping->n_bytes,
        .caller = mapping->caller,
        .protection = (uint32_t)mapping->protection,
        .fd = mapping->fd,
    };
    PUT(thread, &map, MAP, (uint32_t)mapping->flags);
}

void
record_unmap(struct thread *thread, uint64_t stamp, uint64_t addr,
             uint64_t n_bytes)
{
    struct wire_unmap unmap = {
        .stamp = stamp, .addr = addr, .n_bytes = n_bytes};
    PUT(thread, &unmap, UNMAP, 0);
}

void
record_remap(struct thread *thread, uint64_t death_stamp,
             const struct record_mapping *old,
             const struct record_mapping *fresh)
{
    struct wire_remap remap = {
        .death_stamp = death_stamp,
        .stamp = process_next_stamp(),
        .old_addr = old->addr,
        .old_bytes = old->n_bytes,
        .addr = fresh->addr,
        .n_bytes = fresh->n_bytes,
        .caller = fresh->caller,
    };
    PUT(thread, &remap, REMAP, (uint32_t)fresh->flags);
}

static uint32_t
sample_bit(const struct record_block *block)
{
    return block->is_sample ? (uint32_t)WIRE_IS_SAMPLE : 0;
}

void
record_birth(struct thread *thread, const struct record_block *block)
{
    struct wire_birth birth = {
        .stamp = process_next_stamp(),
        .addr = block->addr,
        .n_bytes = block->n_bytes,
        .asked_bytes = block->asked_bytes,
        .caller = block->caller,
    };
    PUT(thread, &birth, BIRTH,
        thread_caller(block->caller) | block->stack << WIRE_STACK_SHIFT |
            sample_bit(block));
}

void
record_death(struct thread *thread, uint64_t stamp,
             const struct record_block *block)
{
    struct wire_death death = {
        .stamp = stamp,
        .addr = block->addr,
        .n_bytes = block->n_bytes,
    };
    PUT(thread, &death, DEATH, sample_bit(block));
}

void
record_revival(struct thread *thread, uint64_t addr, uint64_t n_bytes,
               uintptr_t caller)
{
    struct wire_revival revival = {
        .stamp = process_next_stamp(),
        .addr = addr,
        .n_bytes = n_bytes,
    };
    PUT(thread, &revival, REVIVAL, thread_caller(caller));
}

void
record_fork(struct thread *thread, uint64_t number)
{
    struct wire_fork fork = {.number = number};
    PUT(thread, &fork, FORK, 0);
}

void
record_event(struct thread *thread, uint64_t event)
{
    batch_put_event(thread->buffer, thread->buffer_index, event);
}

void
record_event_of(struct thread *thread, uint64_t event, uint32_t stack)
{
    struct wire_block block = {.event = event};
    PUT(thread, &block, BLOCK, stack);
}

void
record_frames(struct thread *thread, struct wire_stack *stack, uint32_t number,
              size_t n_frames)
{
    put(thread, &stack->record, WIRE_KIND_STACK,
        sizeof(*stack) + n_frames * sizeof(stack->frames[0]), number);
}

void
record_module(struct thread *thread, struct wire_module *module,
              size_t path_bytes)
{
    put(thread, &module->record, WIRE_KIND_MODULE,
        (sizeof(*module) + path_bytes + 7) & ~(size_t)7, (uint32_t)path_bytes);
}

void
record_turn(struct thread *thread, uint64_t turn)
{
    struct wire_turn one = {.turn = turn};
    PUT(thread, &one, TURN, 0);
}

void
record_thread(struct thread *thread, uint64_t control_block)
{
    struct wire_thread one = {.control_block = control_block};
    PUT(thread, &one, THREAD, 0);
}

void
record_stack(struct thread *thread, uint64_t start, uint64_t n_bytes)
{
    struct wire_thread one = {.stack_start = start, .stack_bytes = n_bytes};
    PUT(thread, &one, THREAD, 0);
}

void
record_spawn(struct thread *thread, int pid, bool is_followed)
{
    struct wire_spawn spawn = {.pid = pid};
    PUT(thread, &spawn, SPAWN, is_followed);
}

void
record_gc(struct thread *thread, struct wire_gc *gc, uint32_t generation)
{
    PUT(thread, gc, GC, generation);
}

void
record_python(struct thread *thread, struct wire_python *python, uint32_t flags)
{
    PUT(thread, python, PYTHON, flags);
}

void
record_end(struct thread *thread, enum wire_end_reason reason, uint32_t ticket,
           int exit_status)
{
    struct wire_end end = {
        .at_ns = process_now_ns(),
        .ticket = ticket,
        .exit_status = exit_status,
    };
    PUT(thread, &end, END, reason);
    batch_close(thread->buffer, thread->buffer_index);
}
