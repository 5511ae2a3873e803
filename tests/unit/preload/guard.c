#include "preload/guard.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "include/attrs.h"
#include "preload/record.h"
#include "preload/shared.h"
#include "tests/unit/preload/fake_real.h"
#include "tests/unit/preload/process.h"

static void
set_up(void)
{
    check_true(guard_init());
    process_introduce();
}

TestSuite(guard, .init = set_up, .timeout = 20);

static struct thread *
enter(unsigned n_events)
{
    struct thread *thread = guard_enter(n_events);
    cr_assert_not_null(thread);
    check_true(thread->is_busy);
    return thread;
}

/* Over all buffers, as the collector adds them up. */
static uint64_t
lost_events(void)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < shared_header()->n_buffers; i++)
        sum += shared_buffer(i)->lost_events;
    return sum;
}

static struct wire_counters
counters_of(enum wire_caller caller)
{
    struct wire_counters sum = {0};
    for (uint32_t i = 0; i < shared_header()->n_buffers; i++) {
        const struct wire_counters *part = &shared_buffer(i)->counters[caller];
        sum.births += part->births;
        sum.birth_bytes += part->birth_bytes;
        sum.deaths += part->deaths;
        sum.death_bytes += part->death_bytes;
    }
    return sum;
}

/* ---- one thread -------------------------------------------------------- */

Test(guard, entering_gives_a_buffer_of_ones_own)
{
    struct thread *thread = enter(1);
    check_true(thread == &self);
    check_true(thread->buffer_index != 0);
    check_true(thread->buffer == shared_buffer(thread->buffer_index));
    check_eq(thread->buffer->owner_tid, gettid());
    check_true(thread->counters == thread->buffer->counters);
    guard_leave(thread);
    check_false(thread->is_busy);
    const uint32_t index = thread->buffer_index;
    guard_leave(enter(1)); /* and it is kept */
    check_eq(self.buffer_index, index);
    check_eq(shared_header()->n_buffers, 2);
}

Test(guard, who_is_inside_is_refused_and_counted)
{
    struct thread *thread = enter(1);
    cr_assert_null(guard_enter(3));
    cr_assert_null(guard_enter(0));
    check_true(thread->is_busy);
    check_eq(lost_events(), 3);
    guard_leave(thread);
    guard_leave(enter(1));
    check_eq(lost_events(), 3);
}

Test(guard, the_hot_path_is_ready_after_the_first_event)
{
    check_true(self.ready == NULL);
    guard_leave(enter(1));
    check_true(self.ready != NULL);
}

Test(guard, another_allocators_chunks_are_never_for_the_hot_path)
{
    fake_real.is_glibc = false;
    guard_leave(enter(1));
    check_true(self.ready == NULL);
}

Test(guard, slowed_down_every_event_takes_the_slow_path)
{
    guard_leave(enter(1));
    guard_slow_down(true);
    check_true(self.ready == NULL);
    guard_leave(enter(1));
    check_true(self.ready == NULL);
    guard_slow_down(false);
    guard_leave(enter(1));
    check_true(self.ready != NULL);
}

/* ---- counting ---------------------------------------------------------- */

Test(guard, counts_go_to_the_callers_column)
{
    thread_python_text = (struct wire_range){0x1000, 0x100};
    guard_leave(enter(0));
    guard_count_birth(0x1000, 10);
    guard_count_birth(0x10ff, 20);
    guard_count_birth(0x1100, 30);
    guard_count_death(0xfff, 5);
    const struct wire_counters python = counters_of(WIRE_CALLER_PYTHON);
    const struct wire_counters native = counters_of(WIRE_CALLER_NATIVE);
    check_eq(python.births, 2);
    check_eq(python.birth_bytes, 30);
    check_eq(native.births, 1);
    check_eq(native.birth_bytes, 30);
    check_eq(native.deaths, 1);
    check_eq(native.death_bytes, 5);
    check_eq(shared_common_counters()->births, 0);
}

Test(guard, counting_needs_no_entering)
{
    guard_count_birth(0, 10); /* no buffer of its own yet */
    check_eq(shared_common_counters()->births, 1);
    struct thread *thread = enter(1);
    guard_count_birth(0, 10); /* inside */
    cr_assert_null(guard_enter(1));
    guard_count_death(0, 10); /* refused, and counted all the same */
    guard_leave(thread);
    check_eq(counters_of(WIRE_CALLER_NATIVE).births, 2);
    check_eq(counters_of(WIRE_CALLER_NATIVE).deaths, 1);
}

/* ---- early, and when nobody listens ------------------------------------ */

Test(early_guard, before_the_introduction_the_common_buffer_is_borrowed)
{
    memory_sink_start();
    check_eq(process_mode(), PROCESS_EARLY);
    struct thread *thread = enter(1);
    check_eq(thread->buffer_index, 0);
    check_true(thread->is_borrowing);
    record_death(thread, 1, &(struct record_block){.addr = 2, .n_bytes = 3});
    guard_leave(thread);
    check_true(self.ready == NULL);
    check_eq(shared_buffer(0)->owner_tid, 0);
    check_eq(shared_buffer(0)->n_events, 1);
    cr_assert_null(self.buffer);

    process_introduce();
    check_eq(shared_buffer(0)->n_events, 1);
    thread = enter(1);
    check_true(thread->buffer_index != 0);
    guard_leave(thread);
}

Test(early_guard, what_finds_the_common_buffer_taken_is_lost)
{
    memory_sink_start();
    check_true(shared_borrow(12345));
    cr_assert_null(guard_enter(2));
    check_false(self.is_busy);
    check_eq(shared_buffer(0)->lost_events, 2);
    shared_return();
    guard_leave(enter(1));
}

Test(early_guard, where_nobody_listens_the_hot_path_counts_for_itself)
{
    memory_sink_start();
    process_stay_off();
    cr_assert_null(guard_enter(1));
    check_true(self.ready != NULL);
    check_true(self.counters == self.unheard);
    guard_count_birth(0, 10);
    check_eq(self.unheard[0].births, 1);
    check_eq(shared_buffer(0)->lost_events, 0);
    check_eq(memory_sink->n_hellos, 0);
}

Test(guard, a_process_that_fell_silent_writes_nothing_more)
{
    guard_leave(enter(1));
    process_fall_silent();
    cr_assert_null(guard_enter(1));
    check_eq(memory_sink->n_batches, 0);
    check_eq(memory_sink->n_closed, 1);
}

/* ---- threads ----------------------------------------------------------- */

static void *
tell_one(void *context)
{
    struct thread *thread = guard_enter(1);
    if (thread == NULL)
        return NULL;
    record_death(thread, 1, &(struct record_block){.addr = 2, .n_bytes = 3});
    guard_leave(thread);
    *(uint32_t *)context = thread->buffer_index;
    return context;
}

Test(guard, a_thread_that_ends_gives_its_buffer_back)
{
    uint32_t indices[5];
    for (unsigned i = 0; i < countof(indices); i++) {
        pthread_t thread;
        void *result;
        pthread_create(&thread, NULL, tell_one, &indices[i]);
        pthread_join(thread, &result);
        cr_assert_not_null(result);
        check_eq(indices[i], indices[0]);
        check_eq(shared_buffer(indices[i])->owner_tid, 0);
        check_eq(memory_sink->n_batches, i + 1); /* its tail was sent */
    }
    /* Each told who it is, which is none, and its one event. */
    check_eq(shared_buffer(indices[0])->n_events, countof(indices));
}

static pthread_key_t late_key;

/* Runs after ours in the next round of destructors. */
static void
tell_late(void *value)
{
    if (value == (void *)1) {
        pthread_setspecific(late_key, (void *)2);
        return;
    }
    struct thread *thread = guard_enter(1);
    guard_count_death(0, 10);
    if (thread != NULL) {
        record_death(thread, 1,
                     &(struct record_block){.addr = 2, .n_bytes = 3});
        guard_leave(thread);
    }
}

static void *
end_late(void *context)
{
    pthread_setspecific(late_key, (void *)1);
    return tell_one(context);
}

Test(guard, what_a_thread_tells_after_its_end_goes_to_any_free_buffer)
{
    uint32_t index;
    pthread_t thread;
    pthread_key_create(&late_key, tell_late);
    pthread_create(&thread, NULL, end_late, &index);
    pthread_join(thread, NULL);
    check_eq(shared_buffer(index)->owner_tid, 0);
    check_eq(shared_buffer(index)->n_events, 2); /* and who it is */
    check_eq(shared_buffer(0)->n_events, 0);
    check_eq(lost_events(), 0);
    check_eq(counters_of(WIRE_CALLER_NATIVE).deaths, 1);
}

enum { THREADS = 8, EVENTS = 3000 };

static void *
tell_many(void *context)
{
    (void)context;
    for (uint64_t i = 0; i < EVENTS; i++) {
        struct thread *thread = guard_enter(1);
        guard_count_birth(0, 10);
        if (thread != NULL) {
            record_death(thread, i,
                         &(struct record_block){.addr = 2, .n_bytes = 3});
            guard_leave(thread);
        }
    }
    return NULL;
}

Test(guard, every_event_of_every_thread_is_written_or_counted_as_lost)
{
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, tell_many, NULL);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    uint64_t n_written = 0;
    for (uint32_t i = 0; i < shared_header()->n_buffers; i++)
        n_written += shared_buffer(i)->n_events;
    check_eq(n_written + lost_events(), THREADS * EVENTS);
    check_eq(counters_of(WIRE_CALLER_NATIVE).births, THREADS * EVENTS);
    check_eq(counters_of(WIRE_CALLER_NATIVE).birth_bytes,
             THREADS * EVENTS * 10);
}

/* ---- forks ------------------------------------------------------------- */

/* Runs in a child; its exit status is the number of what was not so. */
static int
in_child(int (*run)(void))
{
    guard_before_fork();
    const pid_t pid = fork();
    if (pid == 0) {
        guard_in_child();
        _exit(run());
    }
    int status = -1;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000;
}

static int
first_event_of_child(void)
{
    if (process_birth() == PROCESS_KNOWN || process_is_ours() ||
        memory_sink->n_hellos != 1)
        return 1;
    struct thread *thread = guard_enter(1);
    if (thread == NULL || process_birth() == PROCESS_UNKNOWN ||
        !process_is_ours())
        return 2;
    record_death(thread, 1, &(struct record_block){.addr = 2, .n_bytes = 3});
    guard_leave(thread);
    if (memory_sink->n_hellos != 2 || memory_sink->wait_ms != 0 ||
        memory_sink->n_closed == 0)
        return 3;
    if (thread->buffer_index != 1 || shared_header()->n_buffers != 2 ||
        thread->buffer->n_events != 1)
        return 4;
    return thread->buffer->counters[0].births == 0 ? 0 : 5;
}

/* While another thread introduces the child. */
static int
events_during_the_introduction(void)
{
    if (!process_claim_introduction() || process_claim_introduction())
        return 1;
    if (guard_enter(2) != NULL)
        return 2;
    guard_count_birth(0, 100);
    guard_count_birth(0, 100);
    guard_count_death(0, 100);
    process_start_child();
    struct thread *thread = guard_enter(1);
    if (thread == NULL)
        return 3;
    guard_leave(thread);
    const struct wire_counters all = counters_of(WIRE_CALLER_NATIVE);
    if (all.births != 2 || all.birth_bytes != 200 || all.deaths != 1)
        return 4;
    return lost_events() == 2 ? 0 : 5;
}

Test(guard, what_comes_during_an_introduction_is_counted)
{
    check_eq(in_child(events_during_the_introduction), 0);
}

Test(guard, a_child_introduces_itself_at_its_first_event)
{
    guard_leave(enter(1));
    guard_count_birth(0, 100);
    guard_count_birth(0, 50);
    guard_count_death(0, 20);
    const uint64_t stamp = process_next_stamp();
    check_eq(in_child(first_event_of_child), 0);

    const struct wire_hello *hello = &memory_sink->hellos[1];
    check_eq(hello->reason, WIRE_REASON_FORK);
    check_eq(hello->parent_pid, getpid());
    check_true(hello->pid != getpid());
    check_eq(hello->fork_stamp, stamp);
    check_eq(hello->inherited[0].births, 2);
    check_eq(hello->inherited[0].birth_bytes, 150);
    check_eq(hello->inherited[0].deaths, 1);
    check_eq(hello->inherited[0].death_bytes, 20);
    /* The parent goes on as if nothing had been. */
    check_eq(self.buffer->n_events, 0);
    check_eq(counters_of(WIRE_CALLER_NATIVE).births, 2);
    guard_leave(enter(1));
    check_true(self.ready != NULL);
}

static int
silent_child(void)
{
    guard_count_birth(0, 10);
    return memory_sink->n_hellos == 1 && process_birth() == PROCESS_UNKNOWN ? 0
                                                                            : 1;
}

Test(guard, a_child_that_does_nothing_stays_unknown)
{
    guard_leave(enter(1));
    check_eq(in_child(silent_child), 0);
    check_eq(memory_sink->n_hellos, 1);
    check_eq(counters_of(WIRE_CALLER_NATIVE).births, 0);
}

static int
child_of_child(void)
{
    return memory_sink->hellos[2].parent_pid == 0 && guard_enter(1) != NULL ? 0
                                                                            : 1;
}

static int
child_with_child(void)
{
    struct thread *thread = guard_enter(1);
    if (thread == NULL)
        return 1;
    guard_count_birth(0, 7);
    guard_leave(thread);
    const int result = in_child(child_of_child);
    const struct wire_hello *hello = &memory_sink->hellos[2];
    return result != 0 || hello->parent_pid != getpid() ||
                   hello->inherited[0].births != 3 ||
                   hello->inherited[0].birth_bytes != 27
               ? 2
               : 0;
}

Test(guard, a_grandchild_inherits_from_both)
{
    guard_leave(enter(1));
    guard_count_birth(0, 10);
    guard_count_birth(0, 10);
    check_eq(in_child(child_with_child), 0);
}

/* The forking thread is inside, as in a hook that an allocator forks from. */
static int
child_of_busy(void)
{
    struct thread *thread = guard_enter(1);
    return thread != NULL && memory_sink->n_hellos == 2 ? 0 : 1;
}

Test(guard, a_child_of_a_thread_that_was_inside_is_not)
{
    struct thread *thread = enter(1);
    check_eq(in_child(child_of_busy), 0);
    guard_leave(thread);
    check_eq(lost_events(), 0);
}

static int
child_without_handlers(void)
{
    return 0;
}

/* _Fork and clone run no handlers of ours in the child, nor before it. */
Test(guard, a_child_that_nobody_told_of_is_found_all_the_same)
{
    guard_leave(enter(1));
    const pid_t pid = fork();
    if (pid == 0) {
        const bool was_unknown = process_birth() == PROCESS_UNKNOWN;
        struct thread *thread = guard_enter(1);
        _exit(was_unknown && thread != NULL && memory_sink->n_hellos == 2
                  ? child_without_handlers()
                  : 1);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    check_eq(status, 0);
}

static int
child_that_is_refused(void)
{
    memory_sink_is_met = false;
    cr_assert_null(guard_enter(1));
    return process_mode() == PROCESS_OFF && guard_enter(1) == NULL &&
                   memory_sink->n_hellos == 2 && self.ready != NULL
               ? 0
               : 1;
}

Test(guard, a_child_that_nobody_wants_is_silent)
{
    guard_leave(enter(1));
    check_eq(in_child(child_that_is_refused), 0);
}
