/*
 * The hooks of the malloc family at level exact, under other names
 * (meson.build) and before an allocator that is made up: what they write, word
 * by word.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "include/attrs.h"
#include "preload/guard.h"
#include "preload/shared.h"
#include "tests/unit/preload/fake_real.h"
#include "tests/unit/preload/process.h"
#include "tests/unit/preload/told.h"

void *hooked_malloc(size_t size);
void *hooked_realloc(void *old, size_t size);
void hooked_free(void *block);

enum { LARGE = 200000 };

static void
set_up(void)
{
    memory_sink_terms.level = WIRE_LEVEL_EXACT;
    check_true(guard_init());
    process_introduce();
    guard_begin();
}

TestSuite(exact, .init = set_up, .timeout = 20);

static void
check_event(uint64_t word, const void *block, size_t asked, bool is_death)
{
    const uint64_t n_bytes = fake_real_usable(block);
    check_true((word & WIRE_EVENT) != 0);
    check_eq((word & WIRE_EVENT_DEATH) != 0, is_death);
    check_eq(wire_event_addr(word), (uintptr_t)block);
    check_eq(wire_event_bytes(word), n_bytes);
    check_eq(wire_event_slack(word), is_death ? 0 : n_bytes - asked);
    check_eq(wire_event_caller(word), WIRE_CALLER_NATIVE);
}

/* ---- events ------------------------------------------------------------ */

Test(exact, each_birth_and_death_is_an_event_in_its_order)
{
    enum { N = 1500 };
    static void *blocks[N];
    for (size_t i = 0; i < N; i++)
        blocks[i] = hooked_malloc(i * 7 % 3000);
    for (size_t i = 0; i < N; i++)
        hooked_free(blocks[i]);
    const struct told *told = told_in(self.buffer);
    check_eq(told->n, 2 * N);
    for (size_t i = 0; i < N; i++) {
        check_event(told->words[i], blocks[i], i * 7 % 3000, false);
        check_event(told->words[N + i], blocks[i], 0, true);
    }
    check_eq(self.buffer->lost_events, 0);
    check_eq(self.buffer->counters[WIRE_CALLER_NATIVE].births, 0);
    check_ge(memory_sink->n_batches, 1);
}

Test(exact, what_one_word_cannot_say_is_a_record_and_counted)
{
    void *large = hooked_malloc(LARGE);
    void *small = hooked_malloc(8);
    hooked_free(large);
    hooked_free(small);
    const struct told *told = told_in(self.buffer);
    check_eq(told->n, 4);
    check_eq(told_kind(told->words[0]), WIRE_KIND_BIRTH);
    check_event(told->words[1], small, 8, false);
    check_eq(told_kind(told->words[2]), WIRE_KIND_DEATH);
    check_event(told->words[3], small, 0, true);
    check_eq(self.buffer->counters[WIRE_CALLER_NATIVE].births, 1);
    check_eq(self.buffer->counters[WIRE_CALLER_NATIVE].deaths, 1);
}

Test(exact, the_interpreter_is_known_by_its_text)
{
    thread_python_text.n_bytes = UINT64_MAX;
    void *block = hooked_malloc(100);
    hooked_free(block);
    const struct told *told = told_in(self.buffer);
    check_eq(wire_event_caller(told->words[0]), WIRE_CALLER_PYTHON);
    check_eq(wire_event_caller(told->words[1]), WIRE_CALLER_PYTHON);
    check_eq(wire_event_addr(told->words[1]), (uintptr_t)block);
}

Test(exact, a_reallocation_is_a_death_and_a_birth)
{
    void *small = hooked_malloc(100);
    void *other = hooked_realloc(small, 500);
    void *none = hooked_realloc(NULL, 60);
    const struct told *told = told_in(self.buffer);
    check_eq(told->n, 4);
    check_event(told->words[1], small, 0, true);
    check_event(told->words[2], other, 500, false);
    check_event(told->words[3], none, 60, false);
}

Test(exact, a_block_that_cannot_be_moved_lives_on)
{
    void *small = hooked_malloc(100);
    void *large = hooked_malloc(LARGE);
    fake_real.is_out_of_memory = true;
    check_true(hooked_realloc(small, 500) == NULL);
    check_true(hooked_realloc(large, 2 * LARGE) == NULL);
    const struct told *told = told_in(self.buffer);
    check_eq(told->n, 6);
    check_event(told->words[2], small, 0, true);
    check_eq(told_kind(told->words[3]), WIRE_KIND_REVIVAL);
    check_eq(told_kind(told->words[4]), WIRE_KIND_DEATH);
    check_eq(told_kind(told->words[5]), WIRE_KIND_REVIVAL);
    const struct wire_revival *revival = told->records[5];
    check_eq(revival->addr, (uintptr_t)large);
    check_eq(revival->n_bytes, fake_real_usable(large));
}

Test(exact, what_came_before_the_introduction_was_told)
{
    check_eq(process_mode(), PROCESS_ON);
    hooked_free(hooked_malloc(1000));
    check_eq(told_in(self.buffer)->n, 2);
}

/* ---- threads ----------------------------------------------------------- */

static void *
allocate_some(void *where)
{
    void **blocks = where;
    for (size_t i = 0; i < 3; i++)
        blocks[i] = hooked_malloc(100 + i);
    blocks[3] = self.buffer;
    return NULL;
}

Test(exact, of_two_threads_each_event_has_a_turn)
{
    void *blocks[4];
    pthread_t thread;
    void *first = hooked_malloc(50);
    guard_before_thread();
    pthread_create(&thread, NULL, allocate_some, blocks);
    pthread_join(thread, NULL);
    for (size_t i = 0; i < 3; i++)
        hooked_free(blocks[i]);

    const struct told *told = told_in(self.buffer);
    check_event(told->words[0], first, 50, false);
    check_eq(told_kind(told->words[1]), WIRE_KIND_TURN);
    check_eq(told_kind(told->words[2]), WIRE_KIND_TURN);
    check_eq(((const struct wire_turn *)told->records[1])->turn, 1);
    check_eq(((const struct wire_turn *)told->records[2])->turn, 3);
    for (size_t i = 0; i < 3; i++)
        check_event(told->words[3 + i], blocks[i], 0, true);

    told = told_in(blocks[3]);
    check_eq(told_kind(told->words[0]), WIRE_KIND_THREAD);
    check_eq(told_kind(told->words[1]), WIRE_KIND_TURN);
    check_eq(((const struct wire_turn *)told->records[1])->turn, 2);
    for (size_t i = 0; i < 3; i++)
        check_event(told->words[2 + i], blocks[i], 100 + i, false);
    check_eq(told->n, 5);
}

Test(exact, a_fork_is_told_before_it_happens)
{
    hooked_free(hooked_malloc(100));
    guard_before_fork();
    hooked_free(hooked_malloc(100));
    const struct told *told = told_in(self.buffer);
    check_eq(told->n, 5);
    check_eq(told_kind(told->words[2]), WIRE_KIND_FORK);
    check_eq(((const struct wire_fork *)told->records[2])->number, 1);
}

/* ---- signals ----------------------------------------------------------- */

static volatile sig_atomic_t n_handled;

static void
allocate_in_handler(int number)
{
    (void)number;
    const int seen = errno; /* the made-up functions spoil it, to be noticed */
    hooked_free(hooked_malloc(300));
    n_handled++;
    errno = seen;
}

/* A handler comes between taking a place and giving it back. */
Test(exact, a_place_given_back_late_spoils_nothing)
{
    hooked_malloc(8);
    uint64_t *place = thread_take_place(&self.places_end);
    cr_assert_not_null(place);
    void *large = hooked_malloc(LARGE); /* a record, behind that place */
    thread_give_place_back((uintptr_t)place);
    void *small = hooked_malloc(8);
    const struct told *told = told_in(self.buffer);
    check_eq(told->n, 4);
    check_eq(told_kind(told->words[1]), WIRE_KIND_NONE);
    check_eq(told_kind(told->words[2]), WIRE_KIND_BIRTH);
    check_eq(((const struct wire_birth *)told->records[2])->addr,
             (uintptr_t)large);
    check_event(told->words[3], small, 8, false);
}

Test(exact, a_place_is_of_the_batch_that_it_was_asked_of)
{
    hooked_malloc(8);
    uint64_t *end = self.places_end;
    while (self.place != end)
        hooked_malloc(8);
    check_true(thread_take_place(&end) == NULL); /* and it is given back */
    check_true(self.place == end);
    self.place = end + 1; /* a handler finds one that was not, yet */
    void *late = hooked_malloc(8);
    check_true(self.places_end != end);
    thread_give_place_back((uintptr_t)end);
    void *last = hooked_malloc(8);
    const struct told *told = told_in(self.buffer);
    check_event(told->words[told->n - 2], late, 8, false);
    check_event(told->words[told->n - 1], last, 8, false);
    check_eq(self.buffer->lost_events, 0);
}

/* Whatever is interrupted, each event is told or counted as lost. */
Test(exact, a_handler_that_allocates_takes_no_place_of_others)
{
    const struct sigaction action = {.sa_handler = allocate_in_handler};
    const struct itimerval often = {
        {0, 200},
        {0, 200}
    };
    uint64_t n_calls = 0;
    uint64_t n_told = 0;
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    while (n_handled < 2000) {
        hooked_free(hooked_malloc(100));
        n_calls++;
        if (n_calls % 2000 == 0) /* or the made-up memory comes to its end */
            fake_real_reset();
    }
    setitimer(ITIMER_REAL,
              &(struct itimerval){
                  {0, 0},
                  {0, 0}
    },
              NULL);
    hooked_malloc(LARGE); /* the last places are counted */
    for (uint32_t i = 0; i < shared_header()->n_buffers; i++)
        n_told += shared_buffer(i)->n_events + shared_buffer(i)->lost_events;
    check_eq(n_told, 2 * (n_calls + (uint64_t)n_handled) + 1);
}
