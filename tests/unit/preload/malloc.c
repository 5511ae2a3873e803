/*
 * The hooks of the malloc family, under other names (meson.build): the test's
 * own allocations go by.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "preload/bootstrap.h"
#include "preload/guard.h"
#include "preload/sample.h"
#include "preload/shared.h"
#include "tests/unit/preload/fake_real.h"
#include "tests/unit/preload/process.h"

void *hooked_malloc(size_t size);
void *hooked_calloc(size_t n, size_t size);
void *hooked_realloc(void *old, size_t size);
void *hooked_reallocarray(void *old, size_t n, size_t size);
void hooked_free(void *block);
void hooked_cfree(void *block);
void hooked_free_sized(void *block, size_t size);
void hooked_free_aligned_sized(void *block, size_t alignment, size_t size);
int hooked_posix_memalign(void **where, size_t alignment, size_t size);
void *hooked_aligned_alloc(size_t alignment, size_t size);
void *hooked_memalign(size_t alignment, size_t size);
void *hooked_valloc(size_t size);
void *hooked_pvalloc(size_t size);
size_t hooked_malloc_usable_size(void *block);

enum { LARGE = 200000 };

static void
set_up(void)
{
    check_true(guard_init());
    process_introduce();
}

TestSuite(malloc, .init = set_up, .timeout = 20);

/* ---- what was told ----------------------------------------------------- */

static struct wire_counters
counters(void)
{
    struct wire_counters sum = {0};
    for (uint32_t i = 0; i < shared_header()->n_buffers; i++) {
        for (unsigned caller = 0; caller < WIRE_N_CALLERS; caller++) {
            const struct wire_counters *part =
                &shared_buffer(i)->counters[caller];
            sum.births += part->births;
            sum.birth_bytes += part->birth_bytes;
            sum.deaths += part->deaths;
            sum.death_bytes += part->death_bytes;
        }
    }
    return sum;
}

static void
check_counters(uint64_t births, uint64_t deaths)
{
    check_eq(counters().births, births);
    check_eq(counters().deaths, deaths);
}

/* A record of this thread's first batch, by its number; of that kind. */
static const void *
record(unsigned number, unsigned kind)
{
    cr_assert_not_null(self.buffer);
    const char *batch = (const char *)self.buffer + WIRE_BATCH_BYTES;
    size_t at = sizeof(struct wire_batch);
    struct wire_record head;
    for (;;) {
        memcpy(&head, batch + at, sizeof(head));
        if (number-- == 0)
            break;
        at += head.n_bytes;
    }
    check_eq(head.kind, kind);
    return batch + at;
}

static uint64_t
n_records(void)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < shared_header()->n_buffers; i++)
        n += shared_buffer(i)->n_events;
    return n;
}

/* ---- small blocks ------------------------------------------------------ */

Test(malloc, every_birth_and_death_is_counted_in_usable_bytes)
{
    void *blocks[100];
    uint64_t n_bytes = 0;
    for (size_t i = 0; i < 100; i++) {
        blocks[i] = hooked_malloc(i * 10);
        n_bytes += fake_real_usable(blocks[i]);
    }
    check_counters(100, 0);
    check_eq(counters().birth_bytes, n_bytes);
    for (size_t i = 0; i < 100; i++)
        hooked_free(blocks[i]);
    check_counters(100, 100);
    check_eq(counters().death_bytes, n_bytes);
    check_eq(n_records(), 0);
    check_eq(fake_real.n_mallocs, 100);
    check_eq(fake_real.n_frees, 100);
}

Test(malloc, every_function_of_the_family_is_counted)
{
    void *block;
    hooked_free(hooked_malloc(10));
    hooked_free(hooked_calloc(3, 10));
    hooked_cfree(hooked_memalign(64, 10));
    hooked_free_sized(hooked_aligned_alloc(64, 10), 10);
    hooked_free_aligned_sized(hooked_valloc(10), 64, 10);
    hooked_free(hooked_pvalloc(10));
    check_eq(hooked_posix_memalign(&block, 128, 10), 0);
    check_eq((uintptr_t)block % 128, 0);
    hooked_free(hooked_realloc(block, 20));
    hooked_free(hooked_reallocarray(NULL, 3, 20));
    check_counters(9, 9);
    check_eq(counters().birth_bytes, counters().death_bytes);
}

Test(malloc, nothing_may_be_freed)
{
    hooked_free(NULL);
    hooked_cfree(NULL);
    hooked_free_sized(NULL, 1);
    hooked_free_aligned_sized(NULL, 1, 1);
    check_counters(0, 0);
    check_eq(fake_real.n_frees, 0);
    check_eq(hooked_malloc_usable_size(NULL), 0);
}

Test(malloc, a_block_is_the_allocators_own)
{
    char *block = hooked_malloc(100);
    check_eq(hooked_malloc_usable_size(block), fake_real_usable(block));
    hooked_free(block);
    check_true(fake_real.last_freed == block);
}

/* ---- large blocks ------------------------------------------------------ */

Test(malloc, a_large_block_is_an_event_of_its_own)
{
    void *block = hooked_malloc(LARGE);
    const struct wire_birth *birth = record(0, WIRE_KIND_BIRTH);
    check_eq(birth->addr, (uintptr_t)block);
    check_eq(birth->n_bytes, fake_real_usable(block));
    check_eq(birth->asked_bytes, LARGE);
    check_true(birth->caller != 0);
    hooked_free(block);
    const struct wire_death *death = record(1, WIRE_KIND_DEATH);
    check_eq(death->addr, (uintptr_t)block);
    check_eq(death->n_bytes, birth->n_bytes);
    check_true(death->stamp > birth->stamp);
    check_counters(1, 1);
    check_eq(n_records(), 2);
}

Test(malloc, large_is_what_is_usable_and_not_what_was_asked)
{
    hooked_free(hooked_malloc(WIRE_LARGE_BYTES - 4096));
    check_eq(n_records(), 0);
    hooked_free(hooked_malloc(WIRE_LARGE_BYTES));
    check_eq(n_records(), 2);
}

Test(malloc, a_reallocation_is_a_death_and_a_birth)
{
    void *small = hooked_malloc(100);
    void *large = hooked_realloc(small, LARGE);
    const struct wire_birth *birth = record(0, WIRE_KIND_BIRTH);
    check_eq(birth->addr, (uintptr_t)large);
    check_counters(2, 1);

    void *larger = hooked_realloc(large, 2 * LARGE);
    const struct wire_death *death = record(1, WIRE_KIND_DEATH);
    birth = record(2, WIRE_KIND_BIRTH);
    check_eq(death->addr, (uintptr_t)large);
    check_eq(birth->addr, (uintptr_t)larger);
    check_true(death->stamp < birth->stamp);
    check_counters(3, 2);

    hooked_realloc(larger, 10);
    record(3, WIRE_KIND_DEATH);
    check_eq(n_records(), 4);
    check_counters(4, 3);
}

Test(malloc, nothing_reallocated_is_an_allocation)
{
    void *block = hooked_realloc(NULL, 50);
    check_counters(1, 0);
    hooked_free(block);
}

Test(malloc, a_reallocation_to_nothing_is_a_death)
{
    cr_assert_null(hooked_realloc(hooked_malloc(50), 0));
    check_counters(1, 1);
    cr_assert_null(hooked_realloc(hooked_malloc(LARGE), 0));
    check_counters(2, 2);
}

/* ---- when there is no memory ------------------------------------------- */

Test(malloc, what_fails_is_no_event)
{
    void *block = (void *)77;
    fake_real.is_out_of_memory = true;
    errno = 0;
    cr_assert_null(hooked_malloc(100));
    check_eq(errno, ENOMEM);
    cr_assert_null(hooked_calloc(1, LARGE));
    check_eq(hooked_posix_memalign(&block, 16, 100), ENOMEM);
    check_true(block == (void *)77);
    cr_assert_null(hooked_valloc(1));
    check_counters(0, 0);
    check_eq(n_records(), 0);
}

Test(malloc, a_reallocation_that_fails_leaves_the_old_block_alive)
{
    void *small = hooked_malloc(100);
    void *large = hooked_malloc(LARGE);
    fake_real.is_out_of_memory = true;
    errno = 0;
    cr_assert_null(hooked_realloc(small, 200));
    cr_assert_null(hooked_realloc(large, 2 * LARGE));
    check_eq(errno, ENOMEM);
    check_counters(2, 0);
    check_eq(n_records(), 1);
}

Test(malloc, a_product_that_is_too_great_is_refused)
{
    void *block = hooked_malloc(10);
    errno = 0;
    cr_assert_null(hooked_reallocarray(block, SIZE_MAX / 2, 3));
    check_eq(errno, ENOMEM);
    check_counters(1, 0);
    check_eq(fake_real.n_mallocs, 1);
}

/* ---- never show -------------------------------------------------------- */

Test(malloc, errno_is_the_allocators)
{
    errno = 12345;
    void *small = hooked_malloc(100);
    void *large = hooked_malloc(LARGE);
    check_eq(errno, 12345);
    hooked_free(small); /* the fake one spoils it, as some do */
    check_eq(errno, EBADF);
    errno = 12345;
    hooked_free(large);
    check_eq(errno, EBADF);
}

/* ---- other allocators -------------------------------------------------- */

Test(malloc, another_allocators_blocks_are_measured_by_itself)
{
    fake_real.is_glibc = false;
    char *block = hooked_malloc(100);
    const size_t usable = fake_real_usable(block);
    ((uint64_t *)(void *)block)[-1] = (usable + 8) | 1;
    hooked_free(block);
    check_counters(1, 1);
    check_eq(counters().birth_bytes, usable);
    check_eq(counters().death_bytes, usable);
    check_true(self.ready == NULL);
}

/* ---- memory from before the allocator was known ------------------------ */

Test(malloc, early_memory_is_never_freed)
{
    void *early = bootstrap_alloc(0, 100);
    hooked_free(early);
    check_eq(fake_real.n_frees, 0);
    check_counters(0, 0);
    check_ge(hooked_malloc_usable_size(early), 100);
    hooked_free(hooked_malloc(1)); /* also on the hot path */
    hooked_free(early);
    check_eq(fake_real.n_frees, 1);
}

Test(malloc, early_memory_moves_to_the_allocator)
{
    char *early = bootstrap_alloc(0, 100);
    memset(early, 0x5a, 100);
    hooked_free(hooked_malloc(1));
    char *moved = hooked_realloc(early, 500);
    cr_assert_not_null(moved);
    check_false(bootstrap_owns(moved));
    for (unsigned i = 0; i < 100; i++)
        check_eq(moved[i], 0x5a);
    check_counters(2, 1);

    char *shrunk = hooked_realloc(early, 10);
    for (unsigned i = 0; i < 10; i++)
        check_eq(shrunk[i], 0x5a);
    fake_real.is_out_of_memory = true;
    cr_assert_null(hooked_realloc(early, 500));
    check_eq(early[99], 0x5a);
}

/* ---- never nest: allocations inside our own calls ---------------------- */

static unsigned n_nested;

static void
allocate_inside(void)
{
    void (*const during)(void) = fake_real.during;
    fake_real.during = NULL;
    memory_sink_during_write = NULL;
    n_nested++;
    hooked_free(hooked_malloc(50));
    hooked_free(hooked_malloc(LARGE));
    fake_real.during = during;
    memory_sink_during_write = allocate_inside;
}

Test(malloc, an_allocator_that_allocates_is_followed)
{
    fake_real.during = allocate_inside;
    void *small = hooked_malloc(100);
    void *large = hooked_malloc(LARGE);
    hooked_free(small);
    hooked_free(large);
    fake_real.during = NULL;
    check_eq(n_nested, 4);
    check_counters(2 + 2 * n_nested, 2 + 2 * n_nested);
    check_eq(counters().birth_bytes, counters().death_bytes);
    check_eq(n_records(), 2 + 2 * n_nested);
}

/* What a signal handler does while we write: counted, its events lost. */
Test(malloc, what_is_allocated_while_we_write_is_counted_and_not_recorded)
{
    enum { BLOCKS = 100 }; /* two records each: more than a batch */
    memory_sink_during_write = allocate_inside;
    for (unsigned i = 0; i < BLOCKS; i++)
        hooked_free(hooked_malloc(LARGE));
    check_ge(n_nested, 1);
    check_counters(BLOCKS + 2 * n_nested, BLOCKS + 2 * n_nested);
    check_eq(n_records(), 2 * BLOCKS);
    uint64_t lost = 0;
    for (uint32_t i = 0; i < shared_header()->n_buffers; i++)
        lost += shared_buffer(i)->lost_events;
    check_eq(lost, 2 * n_nested);
}

/* ---- threads ----------------------------------------------------------- */

enum { THREADS = 6, BLOCKS = 2000 };

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

/* The fake allocator is for one thread; the hooks are not. */
static void *
allocate_and_free(void *context)
{
    (void)context;
    for (unsigned i = 0; i < BLOCKS; i++) {
        pthread_mutex_lock(&one_at_a_time);
        hooked_free(hooked_malloc(i % 500 == 0 ? LARGE : 100));
        pthread_mutex_unlock(&one_at_a_time);
    }
    return NULL;
}

Test(malloc, threads_are_counted_apart_and_add_up)
{
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, allocate_and_free, NULL);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    check_counters(THREADS * BLOCKS, THREADS * BLOCKS);
    check_eq(n_records(), THREADS * 2 * BLOCKS / 500);
}

/* ---- nobody listens ---------------------------------------------------- */

Test(silent_malloc, without_a_collector_nothing_but_the_allocator_is_left)
{
    memory_sink_start();
    process_stay_off();
    void *small = hooked_malloc(100);
    void *large = hooked_malloc(LARGE);
    check_eq(self.unheard[0].births, 2);
    hooked_free(small);
    hooked_free(hooked_realloc(large, 10));
    check_eq(fake_real.n_mallocs, 3);
    check_eq(fake_real.n_frees, 2);
    check_eq(memory_sink->n_batches, 0);
    check_eq(shared_buffer(0)->n_events, 0);
}

Test(early_malloc, what_comes_before_the_introduction_is_kept)
{
    memory_sink_start();
    void *early = hooked_malloc(100);
    void *large = hooked_malloc(LARGE);
    check_true(guard_init());
    process_introduce();
    guard_begin();
    hooked_free(early);
    hooked_free(large);
    check_counters(2, 2);
    check_eq(shared_buffer(0)->n_events, 2); /* the small one says nothing */
    check_eq(n_records(), 3);
}

/* ---- a sample ---------------------------------------------------------- */

/* The next block is one of the sample, and none after it for long. */
static void
sample_next(void)
{
    process_current_sample_bytes = 1ull << 40;
    self.random = 1;
    self.until_sample = 0;
}

static const struct wire_birth *
birth_of(const void *block, unsigned number)
{
    const struct wire_birth *birth = record(number, WIRE_KIND_BIRTH);
    check_eq(birth->addr, (uintptr_t)block);
    check_eq(birth->n_bytes, fake_real_usable(block));
    check_true((birth->record.detail & WIRE_IS_SAMPLE) != 0);
    check_true(birth->record.detail >> WIRE_STACK_SHIFT != 0);
    return birth;
}

static const struct wire_death *
death_of(uintptr_t addr, unsigned number)
{
    const struct wire_death *death = record(number, WIRE_KIND_DEATH);
    check_eq(death->addr, addr);
    check_true((death->record.detail & WIRE_IS_SAMPLE) != 0);
    return death;
}

/* A thread says who it is; then come an image or two, and a stack. */
static unsigned
first_birth(void)
{
    const char *batch = (const char *)self.buffer + WIRE_BATCH_BYTES;
    size_t at = sizeof(struct wire_batch);
    struct wire_record head;
    for (unsigned number = 0;; number++) {
        memcpy(&head, batch + at, sizeof(head));
        cr_assert(head.n_bytes != 0, "no birth was told");
        if (head.kind == WIRE_KIND_BIRTH)
            return number;
        at += head.n_bytes;
    }
}

Test(malloc, of_a_sample_birth_and_death_are_told_and_counted)
{
    hooked_free(hooked_malloc(10));
    sample_next();
    void *block = hooked_malloc(100);
    void *other = hooked_malloc(100);
    const uintptr_t addr = (uintptr_t)block;
    const unsigned number = first_birth();
    check_eq(birth_of(block, number)->asked_bytes, 100);
    check_eq(n_records(), 1);
    hooked_free(other);
    check_eq(n_records(), 1);
    hooked_free(block);
    check_eq(n_records(), 2);
    check_ge(
        death_of(addr, number + 1)->stamp,
        ((const struct wire_birth *)record(number, WIRE_KIND_BIRTH))->stamp +
            1);
    check_counters(3, 3);
    check_eq(counters().birth_bytes, counters().death_bytes);
}

Test(malloc, a_sampled_block_that_moves_dies_and_need_not_be_sampled_again)
{
    hooked_free(hooked_malloc(10));
    sample_next();
    void *block = hooked_malloc(100);
    const uintptr_t addr = (uintptr_t)block;
    const unsigned number = first_birth();
    void *moved = hooked_realloc(block, 5000);
    check_eq(n_records(), 2);
    death_of(addr, number + 1);
    hooked_free(moved);
    check_eq(n_records(), 2);
    check_counters(3, 3);
}

Test(malloc, a_sampled_block_that_cannot_move_is_one_still)
{
    hooked_free(hooked_malloc(10));
    sample_next();
    void *block = hooked_malloc(100);
    const uintptr_t addr = (uintptr_t)block;
    const unsigned number = first_birth();
    fake_real.is_out_of_memory = true;
    check_true(hooked_realloc(block, 5000) == NULL);
    fake_real.is_out_of_memory = false;
    check_eq(n_records(), 1);
    hooked_free(block);
    death_of(addr, number + 1);
    check_counters(2, 2);
}

Test(malloc, what_shares_a_place_with_a_sampled_block_is_only_counted)
{
    void *block = hooked_malloc(100);
    check_true(sample_keep((uintptr_t)block +
                           (uintptr_t)SAMPLE_FILTER_PLACES * SAMPLE_GRAIN));
    check_true(sample_may_be(block));
    block = hooked_realloc(block, 200);
    hooked_free(block);
    check_eq(n_records(), 0);
    check_counters(2, 2);
}

Test(malloc, another_allocators_blocks_are_sampled_too)
{
    fake_real.is_glibc = false;
    sample_next();
    void *block = hooked_malloc(100);
    const uintptr_t addr = (uintptr_t)block;
    const unsigned number = first_birth();
    birth_of(block, number);
    hooked_free(hooked_malloc(100));
    check_eq(n_records(), 1);
    hooked_free(block);
    death_of(addr, number + 1);
    check_counters(2, 2);
}

Test(malloc, a_sample_that_is_too_large_is_a_loss)
{
    const uintptr_t addr = (uintptr_t)hooked_malloc(100);
    while (sample_keep(addr))
        continue;
    fake_real_reset();
    sample_next();
    check_eq((uintptr_t)hooked_malloc(100), addr);
    check_eq(n_records(), 0);
    check_eq(self.buffer->lost_events, 1);
}

Test(early_malloc, what_came_before_may_be_of_the_sample)
{
    memory_sink_terms.sample_bytes = 1; /* all are */
    memory_sink_start();
    hooked_free(hooked_malloc(100));
    void *early = hooked_malloc(100);
    const uintptr_t addr = (uintptr_t)early;
    check_true(guard_init());
    process_introduce();
    guard_begin();
    check_eq(n_records(), 3 + shared_buffer(0)->n_events);
    const unsigned number = first_birth();
    record(number + 1, WIRE_KIND_DEATH);
    const struct wire_birth *birth = record(number + 2, WIRE_KIND_BIRTH);
    check_eq(birth->addr, addr);
    check_eq(birth->asked_bytes, 100);
    check_eq(birth->record.detail, WIRE_IS_SAMPLE); /* its stack is gone */
    hooked_free(early);
    death_of(addr, number + 3);
    check_counters(2, 2);
}

Test(malloc, where_a_sample_is_taken_large_blocks_have_stacks)
{
    process_current_sample_bytes = 1ull << 40;
    void *block = hooked_malloc(LARGE);
    const struct wire_birth *birth = record(first_birth(), WIRE_KIND_BIRTH);
    check_eq(birth->record.detail & WIRE_IS_SAMPLE, 0);
    check_true(birth->record.detail >> WIRE_STACK_SHIFT != 0);
    hooked_free(block);
}
