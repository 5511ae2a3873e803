/*
 * The hooks of mappings, under other names (meson.build), on the kernel's own.
 */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "preload/guard.h"
#include "preload/shared.h"
#include "tests/unit/preload/fake_real.h"
#include "tests/unit/preload/process.h"

void *hooked_mmap(void *addr, size_t n_bytes, int protection, int flags, int fd,
                  off_t offset);
void *hooked_mmap64(void *addr, size_t n_bytes, int protection, int flags,
                    int fd, off64_t offset);
int hooked_munmap(void *addr, size_t n_bytes);
void *hooked_mremap(void *old, size_t old_bytes, size_t n_bytes, int flags,
                    ...);

enum { BYTES = 1024 * 1024 };

static void
set_up(void)
{
    check_true(guard_init());
    process_introduce();
}

TestSuite(map, .init = set_up);

static uint64_t
n_records(void)
{
    return self.buffer == NULL ? 0 : self.buffer->n_events;
}

/* The latest record of this thread; all so far are of one batch. */
static const void *
last_record(unsigned kind)
{
    const char *batch = (const char *)self.buffer + WIRE_BATCH_BYTES;
    struct wire_record head;
    size_t at = sizeof(struct wire_batch);
    memcpy(&head, batch + at, sizeof(head));
    while (at + head.n_bytes < self.buffer->open_bytes) {
        at += head.n_bytes;
        memcpy(&head, batch + at, sizeof(head));
    }
    check_eq(head.kind, kind);
    return batch + at;
}

static void *
map_some(void)
{
    return hooked_mmap(NULL, BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

Test(map, a_mapping_is_told_with_all_that_was_asked)
{
    errno = 77;
    char *start = map_some();
    check_eq(errno, 77);
    start[0] = 1;
    const struct wire_map *map = last_record(WIRE_KIND_MAP);
    check_eq(map->addr, (uintptr_t)start);
    check_eq(map->n_bytes, BYTES);
    check_eq(map->protection, PROT_READ | PROT_WRITE);
    check_eq(map->record.detail, MAP_PRIVATE | MAP_ANONYMOUS);
    check_eq(map->fd, -1);
    check_true(map->caller != 0);
    hooked_munmap(start, BYTES);
}

Test(map, both_names_of_mmap_are_one)
{
    void *start = hooked_mmap64(NULL, BYTES, PROT_READ,
                                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    const struct wire_map *map = last_record(WIRE_KIND_MAP);
    check_eq(map->addr, (uintptr_t)start);
    check_eq(map->protection, PROT_READ);
    hooked_munmap(start, BYTES);
}

Test(map, an_unmapping_is_stamped_before_it_happens)
{
    void *start = map_some();
    const uint64_t born =
        ((const struct wire_map *)last_record(WIRE_KIND_MAP))->stamp;
    errno = 77;
    check_eq(hooked_munmap(start, BYTES), 0);
    check_eq(errno, 77);
    const struct wire_unmap *unmap = last_record(WIRE_KIND_UNMAP);
    check_eq(unmap->addr, (uintptr_t)start);
    check_eq(unmap->n_bytes, BYTES);
    check_true(unmap->stamp > born);
    check_true(unmap->stamp < process_next_stamp());
}

Test(map, a_remapping_is_a_death_and_a_birth)
{
    void *old = map_some();
    void *fresh = hooked_mremap(old, BYTES, 2 * BYTES, MREMAP_MAYMOVE);
    const struct wire_remap *remap = last_record(WIRE_KIND_REMAP);
    check_eq(remap->old_addr, (uintptr_t)old);
    check_eq(remap->old_bytes, BYTES);
    check_eq(remap->addr, (uintptr_t)fresh);
    check_eq(remap->n_bytes, 2 * BYTES);
    check_true(remap->death_stamp < remap->stamp);
    hooked_munmap(fresh, 2 * BYTES);
}

Test(map, the_fifth_argument_is_passed_on)
{
    char *old = map_some();
    char *place = map_some();
    old[5] = 42;
    char *fresh =
        hooked_mremap(old, BYTES, BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, place);
    check_true(fresh == place);
    check_eq(fresh[5], 42);
    hooked_munmap(fresh, BYTES);
}

Test(map, what_fails_is_no_event_and_keeps_its_errno)
{
    map_some();
    const uint64_t before = n_records();
    errno = 0;
    check_true(hooked_mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                           0) == MAP_FAILED);
    check_eq(errno, EINVAL);
    errno = 0;
    check_eq(hooked_munmap((void *)1, BYTES), -1);
    check_eq(errno, EINVAL);
    errno = 0;
    check_true(hooked_mremap((void *)1, BYTES, BYTES, 0) == MAP_FAILED);
    check_eq(errno, EINVAL);
    check_eq(n_records(), before);
}

Test(map, inside_our_own_calls_nothing_is_recorded)
{
    struct thread *thread = guard_enter(1);
    void *start = map_some();
    hooked_munmap(start, BYTES);
    guard_leave(thread);
    check_eq(n_records(), 0);
    check_eq(thread->buffer->lost_events, 2);
}
