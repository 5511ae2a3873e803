#include "preload/end.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "preload/guard.h"
#include "preload/shared.h"
#include "tests/unit/preload/fake_real.h"
#include "tests/unit/preload/process.h"

static void
set_up(void)
{
    check_true(guard_init());
    process_introduce();
}

TestSuite(end, .init = set_up, .timeout = 20);

/* The END record that was sent last. */
static struct wire_end
last_end(void)
{
    struct wire_end end;
    check_ge(memory_sink->n_batches, 1);
    memcpy(&end,
           memory_sink->batches[memory_sink->n_batches - 1] +
               sizeof(struct wire_batch),
           sizeof(end));
    check_eq(end.record.kind, WIRE_KIND_END);
    return end;
}

static uint64_t
elapsed_ms(uint64_t since_ns)
{
    return (process_now_ns() - since_ns) / 1000000;
}

static void *
answer(void *context)
{
    struct wire_shared *header = shared_header();
    const uint64_t after_us = (uint64_t)(uintptr_t)context;
    while (__atomic_load_n(&header->end_asked, __ATOMIC_ACQUIRE) == 0)
        sched_yield();
    usleep((useconds_t)after_us);
    __atomic_store_n(&header->end_done, 1, __ATOMIC_RELEASE);
    syscall(SYS_futex, &header->end_done, FUTEX_WAKE, 1, NULL, NULL, 0);
    return NULL;
}

Test(end, it_waits_until_the_census_is_taken)
{
    pthread_t collector;
    pthread_create(&collector, NULL, answer, (void *)(uintptr_t)10000);
    end_with_census(WIRE_END_ATEXIT, 3);
    pthread_join(collector, NULL);
    check_eq(shared_header()->end_left, 0);
    const struct wire_end end = last_end();
    check_eq(end.ticket, 1);
    check_eq(end.record.detail, WIRE_END_ATEXIT);
    check_eq(end.exit_status, 3);
}

Test(end, a_young_process_waits_thirty_milliseconds_and_says_it_left)
{
    const uint64_t before_ns = process_now_ns();
    end_with_census(WIRE_END_EXEC, -1);
    check_ge(elapsed_ms(before_ns), 30);
    check_le(elapsed_ms(before_ns), 150);
    check_eq(shared_header()->end_left, 1);
    end_with_census(WIRE_END_EXEC, -1);
    check_eq(shared_header()->end_asked, 2);
    check_eq(shared_header()->end_left, 2);
}

Test(end, an_answer_to_an_earlier_ticket_is_none)
{
    shared_header()->end_asked = 4;
    shared_header()->end_done = 4;
    end_with_census(WIRE_END_ATEXIT, 0);
    check_eq(last_end().ticket, 5);
    check_eq(shared_header()->end_left, 5);
}

Test(end, without_a_census_nobody_waits)
{
    const uint64_t before_ns = process_now_ns();
    end_without_census(WIRE_END_EXIT_NOW, 7);
    check_le(elapsed_ms(before_ns), 20);
    check_eq(last_end().ticket, 0);
    check_eq(last_end().exit_status, 7);
    check_eq(shared_header()->end_asked, 0);
}

Test(end, where_nobody_listens_nobody_waits)
{
    process_fall_silent();
    const uint64_t before_ns = process_now_ns();
    end_with_census(WIRE_END_ATEXIT, 0);
    end_without_census(WIRE_END_ATEXIT, 0);
    check_le(elapsed_ms(before_ns), 20);
    check_eq(memory_sink->n_batches, 0);
}

Test(end, a_reader_that_is_gone_ends_the_waiting)
{
    memory_sink_result = SINK_GONE;
    const uint64_t before_ns = process_now_ns();
    end_with_census(WIRE_END_ATEXIT, 0);
    check_le(elapsed_ms(before_ns), 20);
    check_eq(process_mode(), PROCESS_OFF);
}

Test(end, a_real_time_process_is_never_held)
{
    process_note_policy(SCHED_OTHER);
    check_true(process_may_wait());
    process_note_policy(SCHED_RR | SCHED_RESET_ON_FORK);
    const uint64_t before_ns = process_now_ns();
    end_with_census(WIRE_END_ATEXIT, 0);
    check_le(elapsed_ms(before_ns), 20);
    check_eq(last_end().ticket, 0);
}
