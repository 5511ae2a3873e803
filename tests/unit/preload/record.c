#include "preload/record.h"

#include <sys/mman.h>
#include <unistd.h>

#include "preload/shared.h"
#include "tests/unit/preload/fake_real.h"
#include "tests/unit/preload/process.h"

static struct thread writer;

static void
set_up(void)
{
    process_introduce();
    writer.buffer_index = shared_take((uint32_t)getpid());
    writer.buffer = shared_buffer(writer.buffer_index);
    thread_python_text = (struct wire_range){0x1000, 0x100};
}

TestSuite(record, .init = set_up);

/* The latest record of a batch of one. */
static const void *
first_record(void)
{
    check_eq(writer.buffer->sequence, 1);
    const char *batch = (const char *)writer.buffer + WIRE_BATCH_BYTES;
    const char *record = batch + sizeof(struct wire_batch);
    uint64_t word;
    memcpy(&word, record, sizeof(word));
    check_eq(writer.buffer->n_events, wire_is_event(word));
    return record;
}

#define CHECK_HEAD(what, KIND, said)                       \
    do {                                                   \
        check_eq((what)->record.kind, WIRE_KIND_##KIND);   \
        check_eq((what)->record.n_bytes, sizeof(*(what))); \
        check_eq((what)->record.detail, (said));           \
    } while (0)

Test(record, a_mapping)
{
    const struct record_mapping mapping = {
        .addr = 1,
        .n_bytes = 2,
        .caller = 3,
        .protection = PROT_READ,
        .flags = MAP_PRIVATE | MAP_ANONYMOUS,
        .fd = -1,
    };
    const uint64_t before = process_next_stamp();
    record_map(&writer, &mapping);
    const struct wire_map *map = first_record();
    CHECK_HEAD(map, MAP, MAP_PRIVATE | MAP_ANONYMOUS);
    check_eq(map->stamp, before + 1);
    check_eq(map->addr, 1);
    check_eq(map->n_bytes, 2);
    check_eq(map->caller, 3);
    check_eq(map->protection, PROT_READ);
    check_eq(map->fd, -1);
}

Test(record, an_unmapping_has_its_callers_stamp)
{
    record_unmap(&writer, 77, 1, 2);
    const struct wire_unmap *unmap = first_record();
    CHECK_HEAD(unmap, UNMAP, 0);
    check_eq(unmap->stamp, 77);
    check_eq(unmap->addr, 1);
    check_eq(unmap->n_bytes, 2);
}

Test(record, a_remapping_is_a_death_and_a_birth)
{
    const struct record_mapping was = {.addr = 1, .n_bytes = 2};
    const struct record_mapping is = {
        .addr = 3, .n_bytes = 4, .caller = 5, .flags = MREMAP_MAYMOVE};
    const uint64_t stamp = process_next_stamp();
    record_remap(&writer, stamp, &was, &is);
    const struct wire_remap *remap = first_record();
    CHECK_HEAD(remap, REMAP, MREMAP_MAYMOVE);
    check_eq(remap->death_stamp, stamp);
    check_eq(remap->stamp, stamp + 1);
    check_eq(remap->old_addr, 1);
    check_eq(remap->old_bytes, 2);
    check_eq(remap->addr, 3);
    check_eq(remap->n_bytes, 4);
    check_eq(remap->caller, 5);
}

Test(record, a_birth_says_who_asked)
{
    record_birth(&writer, &(struct record_block){1, 200000, 199999, 0x1010, 0});
    const struct wire_birth *birth = first_record();
    CHECK_HEAD(birth, BIRTH, WIRE_CALLER_PYTHON);
    check_eq(birth->addr, 1);
    check_eq(birth->n_bytes, 200000);
    check_eq(birth->asked_bytes, 199999);
    check_eq(birth->caller, 0x1010);
    check_ge(birth->stamp, 1);
}

Test(record, a_birth_of_another_caller_is_native)
{
    record_birth(&writer, &(struct record_block){1, 200000, 199999, 0x1100, 0});
    const struct wire_birth *birth = first_record();
    CHECK_HEAD(birth, BIRTH, WIRE_CALLER_NATIVE);
}

Test(record, a_death)
{
    record_death(&writer, 9, &(struct record_block){.addr = 1, .n_bytes = 2});
    const struct wire_death *death = first_record();
    CHECK_HEAD(death, DEATH, 0);
    check_eq(death->stamp, 9);
    check_eq(death->addr, 1);
    check_eq(death->n_bytes, 2);
}

Test(record, a_thread_by_its_control_block)
{
    record_thread(&writer, 0x7f00);
    const struct wire_thread *thread = first_record();
    CHECK_HEAD(thread, THREAD, 0);
    check_eq(thread->control_block, 0x7f00);
    check_eq(writer.buffer->n_events, 0);
}

Test(record, a_child_that_is_followed)
{
    record_spawn(&writer, 123, true);
    const struct wire_spawn *spawn = first_record();
    CHECK_HEAD(spawn, SPAWN, 1);
    check_eq(spawn->pid, 123);
}

Test(record, a_collection)
{
    struct wire_gc gc = {.started_ns = 1,
                         .pause_ns = 2,
                         .collected = 3,
                         .uncollectable = 4,
                         .start_stamp = 5,
                         .end_stamp = 6,
                         .rss_before = 7,
                         .rss_after = 8};
    record_gc(&writer, &gc, 2);
    const struct wire_gc *told = first_record();
    CHECK_HEAD(told, GC, 2);
    check_eq(told->started_ns, 1);
    check_eq(told->pause_ns, 2);
    check_eq(told->collected, 3);
    check_eq(told->uncollectable, 4);
    check_eq(told->start_stamp, 5);
    check_eq(told->end_stamp, 6);
    check_eq(told->rss_before, 7);
    check_eq(told->rss_after, 8);
}

Test(record, an_interpreter)
{
    struct wire_python python = {.since_ns = 1, .seed = {{2, 3, 4}}};
    record_python(&writer, &python, true);
    const struct wire_python *told = first_record();
    CHECK_HEAD(told, PYTHON, 1);
    check_eq(told->since_ns, 1);
    check_eq(told->seed[0].uncollectable, 4);
}

Test(record, an_end_is_sent_at_once)
{
    record_death(&writer, 1, &(struct record_block){.addr = 2, .n_bytes = 3});
    check_eq(memory_sink->n_batches, 0);
    record_end(&writer, WIRE_END_ATEXIT, 5, 42);
    check_eq(memory_sink->n_batches, 1);
    struct wire_end end;
    memcpy(&end,
           memory_sink->batches[0] + sizeof(struct wire_batch) +
               sizeof(struct wire_death),
           sizeof(end));
    CHECK_HEAD(&end, END, WIRE_END_ATEXIT);
    check_eq(end.ticket, 5);
    check_eq(end.exit_status, 42);
    check_ge(end.at_ns, 1);
}

Test(record, stamps_grow_by_one)
{
    const uint64_t first = process_next_stamp();
    for (uint64_t i = 1; i < 100; i++)
        check_eq(process_next_stamp(), first + i);
}
