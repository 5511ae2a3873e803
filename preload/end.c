#include "preload/end.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "preload/guard.h"
#include "preload/process.h"
#include "preload/raw.h"
#include "preload/record.h"
#include "preload/shared.h"

#define SECOND_NS 1000000000ull
#ifndef LEAST_WAIT_NS /* longer for a collector that a sanitizer slows down */
#define LEAST_WAIT_NS 30000000ull
#endif
#define MOST_WAIT_NS 200000000ull

/* The longest this process may be held, measured by its life so far. */
static uint64_t
allowed_wait_ns(uint64_t now_ns)
{
    const uint64_t share_ns = (now_ns - process_started_ns()) / 100;
    if (share_ns < LEAST_WAIT_NS)
        return LEAST_WAIT_NS;
    return share_ns < MOST_WAIT_NS ? share_ns : MOST_WAIT_NS;
}

/* Until the collector has answered this ticket, or the time is over. */
static void
wait_for_census(struct wire_shared *header, uint32_t ticket)
{
    const uint64_t started_ns = process_now_ns();
    const uint64_t until_ns = started_ns + allowed_wait_ns(started_ns);
    for (;;) {
        const uint32_t done =
            __atomic_load_n(&header->end_done, __ATOMIC_ACQUIRE);
        if ((int32_t)(done - ticket) >= 0)
            return; /* it was ours, or a later one, which is true of us too */
        const uint64_t now_ns = process_now_ns();
        if (now_ns >= until_ns)
            break;
        const uint64_t left_ns = until_ns - now_ns;
        const struct timespec left = {
            .tv_sec = (time_t)(left_ns / SECOND_NS),
            .tv_nsec = (long)(left_ns % SECOND_NS),
        };
        const long result =
            raw_call6(SYS_futex, (long)(uintptr_t)&header->end_done, FUTEX_WAIT,
                      (long)done, (long)(uintptr_t)&left, 0, 0);
        if (result < 0 && result != -EAGAIN && result != -EINTR)
            break;
    }
    __atomic_store_n(&header->end_left, ticket, __ATOMIC_RELEASE);
}

void
end_with_census(enum wire_end_reason reason, int exit_status)
{
    const int saved_errno = errno;
    struct thread *thread = guard_enter(1);
    if (thread != NULL && process_mode() == PROCESS_ON) {
        struct wire_shared *header = shared_header();
        const uint32_t ticket =
            process_may_wait()
                ? __atomic_add_fetch(&header->end_asked, 1, __ATOMIC_ACQ_REL)
                : 0;
        record_end(thread, reason, ticket, exit_status);
        if (ticket != 0 && process_mode() == PROCESS_ON)
            wait_for_census(header, ticket);
    }
    if (thread != NULL)
        guard_leave(thread);
    errno = saved_errno;
}

void
end_without_census(enum wire_end_reason reason, int exit_status)
{
    const int saved_errno = errno;
    struct thread *thread = guard_enter(1);
    if (thread != NULL) {
        record_end(thread, reason, 0, exit_status);
        guard_leave(thread);
    }
    errno = saved_errno;
}
