#include "preload/guard.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

#include "preload/batch.h"
#include "preload/environment.h"
#include "preload/process.h"
#include "preload/raw.h"
#include "preload/real.h"
#include "preload/record.h"
#include "preload/sample.h"
#include "preload/shared.h"

__thread struct thread self __attribute__((tls_model("initial-exec")));

struct wire_range thread_python_text;

static const uint64_t no_turn;
const uint64_t *guard_turn = &no_turn;

static struct {
    pthread_key_t key;
    bool has_key;
    _Atomic bool is_slow;
    pthread_t main_thread;
    /* What came while a child was introduced, and nothing could be told. */
    _Atomic uint64_t n_missed;
    _Atomic bool has_missed;
    struct wire_counters missed[WIRE_N_CALLERS];
} guard;

/* ---- the hot path's places --------------------------------------------- */

/* It may write events by itself, if their order is that of its calls. */
static void
arm(struct thread *thread)
{
    if (!process_is_exact() || process_wants_stacks() || !real_is_glibc() ||
        thread->buffer_index == 0 || process_mode() != PROCESS_ON ||
        atomic_load_explicit(&guard.is_slow, memory_order_relaxed))
        return;
    uint64_t *place = batch_open_end(thread->buffer);
    uint64_t *end = batch_end(place);
    const bool is_threaded = process_is_threaded();
    if (place == end || (is_threaded && thread->turn == 0))
        return;
    thread->place = place;
    atomic_signal_fence(memory_order_seq_cst);
    if (is_threaded)
        thread->turns_end = end;
    else
        thread->places_end = end;
}

static void
disarm(struct thread *thread)
{
    if (thread->places_end == NULL && thread->turns_end == NULL)
        return;
    *(uint64_t *volatile *)&thread->places_end = NULL;
    *(uint64_t *volatile *)&thread->turns_end = NULL;
    batch_came_to(
        thread->buffer,
        __atomic_exchange_n(&thread->place, THREAD_NOWHERE, __ATOMIC_RELAXED));
}

/* ---- buffers ----------------------------------------------------------- */

/*
 * A thread ends. glibc frees a few blocks more after the last destructor, so
 * the thread stays able to tell them, through a buffer that is free.
 */
static void
leave_for_good(void *value)
{
    (void)value;
    environment_leave();
    self.ready = NULL;
    self.is_leaving = true;
    self.counters = NULL;
    if (self.buffer == NULL || self.is_busy || process_birth() != PROCESS_KNOWN)
        return;
    self.is_busy = true; /* a signal handler may allocate */
    disarm(&self);
    batch_close(self.buffer, self.buffer_index);
    self.buffer = NULL;
    self.turn = 0;
    shared_give_back(self.buffer_index);
    self.is_busy = false;
}

/* For as long as the thread lives. */
static void
move_in(void)
{
    self.counters = self.buffer->counters;
    if (guard.has_key)
        pthread_setspecific(guard.key, &self);
    if (pthread_self() != guard.main_thread) /* its stack has a name */
        record_thread(&self, (uint64_t)pthread_self());
    if (raw_gettid() != raw_getpid()) /* glibc may have made it by itself */
        process_note_thread();
}

/*
 * A thread that is leaving has one for a moment only, which need not be the
 * common one: many may leave at once.
 */
static bool
take_buffer(void)
{
    const uint32_t tid = (uint32_t)raw_gettid();
    const bool is_on = process_mode() == PROCESS_ON;
    const uint32_t index = is_on ? shared_take(tid) : 0;
    if (index == 0 && !shared_borrow(tid))
        return false;
    self.buffer_index = index;
    self.buffer = shared_buffer(index);
    self.is_adrift = false;
    self.turn = 0;
    self.is_borrowing = index == 0 || self.is_leaving;
    if (!self.is_borrowing)
        move_in();
    else if (is_on)
        process_note_thread(); /* one thread or not, there are two buffers */
    return true;
}

bool
guard_init(void)
{
    guard.main_thread = pthread_self();
    guard.has_key = pthread_key_create(&guard.key, leave_for_good) == 0;
    return guard.has_key;
}

/* ---- entering ---------------------------------------------------------- */

void
guard_lose(unsigned n_events)
{
    if (process_birth() != PROCESS_KNOWN) {
        atomic_fetch_add(&guard.n_missed, n_events);
        atomic_store(&guard.has_missed, true);
        return;
    }
    struct wire_buffer_head *head =
        self.buffer != NULL ? self.buffer : shared_buffer(0);
    __atomic_fetch_add(&head->lost_events, n_events, __ATOMIC_RELAXED);
}

static void
move(uint64_t *from, uint64_t *to)
{
    const uint64_t n = __atomic_exchange_n(from, 0, __ATOMIC_RELAXED);
    __atomic_fetch_add(to, n, __ATOMIC_RELAXED);
}

/* Puts what was missed where it belongs. */
static void
make_up(void)
{
    struct wire_counters *common = shared_common_counters();
    atomic_store(&guard.has_missed, false);
    guard_lose((unsigned)atomic_exchange(&guard.n_missed, 0));
    for (unsigned caller = 0; caller < WIRE_N_CALLERS; caller++) {
        move(&guard.missed[caller].births, &common[caller].births);
        move(&guard.missed[caller].birth_bytes, &common[caller].birth_bytes);
        move(&guard.missed[caller].deaths, &common[caller].deaths);
        move(&guard.missed[caller].death_bytes, &common[caller].death_bytes);
    }
}

/* Nobody listens: the hot path counts into the thread's own memory. */
static void
settle_unheard(void)
{
    if (self.counters == NULL)
        self.counters = self.unheard;
    self.until_sample = UINT64_MAX;
    self.ready = real_is_glibc() ? self.counters : NULL;
}

/* False: another thread is at it. */
static bool
introduce_child(void)
{
    if (!process_claim_introduction())
        return false;
    guard_in_child();
    self.is_busy = true;
    process_start_child();
    self.is_busy = false;
    return true;
}

struct thread *
guard_enter(unsigned n_events)
{
    if (self.is_busy) {
        guard_lose(n_events);
        return NULL;
    }
    if (process_birth() != PROCESS_KNOWN && !introduce_child()) {
        guard_lose(n_events);
        return NULL;
    }
    if (process_mode() == PROCESS_OFF) {
        settle_unheard();
        return NULL;
    }
    if (atomic_load_explicit(&guard.has_missed, memory_order_relaxed))
        make_up();
    self.is_busy = true;
    disarm(&self);
    if ((self.buffer == NULL || self.is_adrift) && !take_buffer()) {
        self.is_busy = false;
        guard_lose(n_events);
        return NULL;
    }
    return &self;
}

void
guard_leave(struct thread *thread)
{
    if (thread->is_adrift) {
        thread->is_adrift = false;
        thread->buffer = NULL;
        thread->counters = NULL;
    } else if (thread->is_borrowing) {
        thread->is_borrowing = false;
        thread->buffer = NULL;
        if (thread->buffer_index == 0)
            shared_return();
        else
            shared_give_back(thread->buffer_index);
    } else {
        arm(thread);
    }
    thread->is_busy = false;
    const bool is_ready =
        real_is_glibc() && !process_is_exact() &&
        !atomic_load_explicit(&guard.is_slow, memory_order_relaxed);
    thread->ready = is_ready ? thread->counters : NULL;
}

/*
 * What came before the level was known may be of the sample, like all else. On
 * which stack it came nobody knows any more.
 */
static void
sample_early(uint64_t event)
{
    const bool is_python = wire_event_caller(event) == WIRE_CALLER_PYTHON;
    const struct record_block block = {
        .addr = wire_event_addr(event),
        .n_bytes = wire_event_bytes(event),
        .asked_bytes = wire_event_bytes(event) - wire_event_slack(event),
        .caller = is_python ? thread_python_text.start : 0,
        .is_sample = true,
    };
    const bool is_death = (event & WIRE_EVENT_DEATH) != 0;
    if (is_death ? !sample_let_go(block.addr)
                 : !sample_takes(block.n_bytes) || !sample_keep(block.addr))
        return;
    struct thread *thread = guard_enter(1);
    if (thread == NULL)
        return;
    if (is_death)
        record_death(thread, process_next_stamp(), &block);
    else
        record_birth(thread, &block);
    guard_leave(thread);
}

void
guard_begin(void)
{
    if (process_mode() == PROCESS_ON && !process_is_exact())
        batch_count_events(shared_buffer(0), shared_common_counters(),
                           sample_early);
}

void
guard_take_turn(struct thread *thread)
{
    struct wire_shared *header = shared_header();
    if (header == NULL || !process_is_threaded())
        return;
    guard_turn = &header->turn;
    uint64_t turn = __atomic_load_n(&header->turn, __ATOMIC_ACQUIRE);
    if (turn == thread->turn && turn != 0)
        return;
    while (!__atomic_compare_exchange_n(&header->turn, &turn, turn + 1, false,
                                        __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        continue;
    thread->turn = turn + 1;
    record_turn(thread, thread->turn);
}

static void
make_known(void)
{
    struct thread *thread =
        process_birth() != PROCESS_KNOWN ? guard_enter(0) : NULL;
    if (thread != NULL)
        guard_leave(thread);
}

void
guard_before_thread(void)
{
    make_known(); /* a child's introduction says that it has one thread */
    if (process_is_threaded())
        return;
    process_note_thread();
    if (!process_is_exact())
        return;
    struct thread *thread = guard_enter(0);
    if (thread != NULL) {
        guard_take_turn(thread);
        guard_leave(thread);
    }
}

void
guard_slow_down(bool is_slow)
{
    atomic_store(&guard.is_slow, is_slow);
    if (is_slow)
        self.ready = NULL;
    if (is_slow && !self.is_busy)
        disarm(&self);
}

/* ---- counting ---------------------------------------------------------- */

static void
count(size_t number_at, size_t bytes_at, uintptr_t caller, uint64_t n_bytes)
{
    const bool is_known = process_birth() == PROCESS_KNOWN;
    const bool is_own = is_known && self.counters != NULL;
    struct wire_counters *counters = is_own     ? self.counters
                                     : is_known ? shared_common_counters()
                                                : guard.missed;
    counters += thread_caller(caller);
    uint64_t *number = (uint64_t *)(void *)((char *)counters + number_at);
    uint64_t *bytes = (uint64_t *)(void *)((char *)counters + bytes_at);
    if (is_own) {
        thread_add(number, 1);
        thread_add(bytes, n_bytes);
    } else {
        __atomic_fetch_add(number, 1, __ATOMIC_RELAXED);
        __atomic_fetch_add(bytes, n_bytes, __ATOMIC_RELAXED);
    }
    if (!is_known)
        atomic_store(&guard.has_missed, true);
}

void
guard_count_birth(uintptr_t caller, uint64_t n_bytes)
{
    count(offsetof(struct wire_counters, births),
          offsetof(struct wire_counters, birth_bytes), caller, n_bytes);
}

void
guard_count_death(uintptr_t caller, uint64_t n_bytes)
{
    count(offsetof(struct wire_counters, deaths),
          offsetof(struct wire_counters, death_bytes), caller, n_bytes);
}

/* ---- fork -------------------------------------------------------------- */

static void
tell_fork(uint32_t number)
{
    const int saved_errno = errno;
    struct thread *thread = guard_enter(1);
    if (thread != NULL) {
        guard_take_turn(thread);
        record_fork(thread, number);
        guard_leave(thread);
    }
    errno = saved_errno;
}

/*
 * A child that has told nothing yet says what its parent had when it forks: its
 * own child is its parent's. At level exact it says so itself.
 */
void
guard_before_fork(void)
{
    if (process_is_exact())
        make_known();
    const uint32_t number = process_note_fork();
    if (process_is_exact() && number != 0)
        tell_fork(number);
    self.ready = NULL;
    disarm(&self);
}

/*
 * A signal handler may have forked within a call of ours: the child will go on
 * with that call, if it ever returns, and needs a buffer until it has left.
 */
void
guard_in_child(void)
{
    process_leave_stream(self.buffer_index);
    self.ready = NULL;
    self.is_leaving = false;
    self.is_borrowing = false;
    self.is_adrift = self.is_adrift || self.is_busy;
    self.is_busy = false;
    self.places_end = NULL;
    self.turns_end = NULL;
    self.place = THREAD_NOWHERE;
    self.turn = 0;
    self.random = 0;
    self.until_sample = 0;
    self.counters = NULL;
    if (!self.is_adrift)
        self.buffer = NULL;
}
