#include "preload/guard.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

#include "preload/batch.h"
#include "preload/process.h"
#include "preload/raw.h"
#include "preload/real.h"
#include "preload/record.h"
#include "preload/shared.h"

__thread struct thread self __attribute__((tls_model("initial-exec")));

struct wire_range thread_python_text;

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

/* ---- buffers ----------------------------------------------------------- */

/*
 * A thread ends. glibc frees a few blocks more after the last destructor, so
 * the thread stays able to tell them, through the common buffer.
 */
static void
leave_for_good(void *value)
{
    (void)value;
    self.is_ready = false;
    self.is_leaving = true;
    self.counters = NULL;
    if (self.buffer == NULL || self.is_busy || process_birth() != PROCESS_KNOWN)
        return;
    self.is_busy = true; /* a signal handler may allocate */
    batch_close(self.buffer, self.buffer_index);
    self.buffer = NULL;
    shared_give_back(self.buffer_index);
    self.is_busy = false;
}

static bool
take_buffer(void)
{
    const uint32_t tid = (uint32_t)raw_gettid();
    if (process_mode() == PROCESS_ON && !self.is_leaving) {
        const uint32_t index = shared_take(tid);
        if (index != 0) {
            self.buffer_index = index;
            self.buffer = shared_buffer(index);
            self.counters = self.buffer->counters;
            if (guard.has_key)
                pthread_setspecific(guard.key, &self);
            if (pthread_self() != guard.main_thread) /* its stack has a name */
                record_thread(&self, (uint64_t)pthread_self());
            return true;
        }
    }
    if (!shared_borrow(tid))
        return false;
    self.buffer_index = 0;
    self.buffer = shared_buffer(0);
    self.is_borrowing = true;
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

static void
count_lost(unsigned n_events)
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
    count_lost((unsigned)atomic_exchange(&guard.n_missed, 0));
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
    self.is_ready = real_is_glibc();
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
        count_lost(n_events);
        return NULL;
    }
    if (process_birth() != PROCESS_KNOWN && !introduce_child()) {
        count_lost(n_events);
        return NULL;
    }
    if (process_mode() == PROCESS_OFF) {
        settle_unheard();
        return NULL;
    }
    if (atomic_load_explicit(&guard.has_missed, memory_order_relaxed))
        make_up();
    self.is_busy = true;
    if (self.buffer == NULL && !take_buffer()) {
        self.is_busy = false;
        count_lost(n_events);
        return NULL;
    }
    return &self;
}

void
guard_leave(struct thread *thread)
{
    if (thread->is_borrowing) {
        thread->is_borrowing = false;
        thread->buffer = NULL;
        shared_return();
    }
    thread->is_busy = false;
    thread->is_ready =
        thread->counters != NULL && real_is_glibc() &&
        !atomic_load_explicit(&guard.is_slow, memory_order_relaxed);
}

void
guard_slow_down(bool is_slow)
{
    atomic_store(&guard.is_slow, is_slow);
    self.is_ready = self.is_ready && !is_slow;
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

void
guard_before_fork(void)
{
    process_note_fork();
    self.is_ready = false;
}

void
guard_in_child(void)
{
    self.is_ready = false;
    self.is_busy = false;
    self.is_leaving = false;
    self.is_borrowing = false;
    self.buffer = NULL;
    self.counters = NULL;
}
