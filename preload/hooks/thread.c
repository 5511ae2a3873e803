/*
 * Threads under a real-time policy, which may never be made to wait: who asks
 * for one is noted, so that nobody needs to ask the kernel later, when a
 * sandbox may forbid it. And stacks that the program supplies: they may be a
 * part of any mapping. A thread's start and end are noticed by guard.c.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <threads.h>

#include "preload/guard.h"
#include "preload/process.h"
#include "preload/real.h"
#include "preload/record.h"
#include "preload/unwind/unwind.h"

/* Attributes without a stack of their own say one that ends at 0. */
static void
tell_stack(const pthread_attr_t *attributes)
{
    void *start = NULL;
    size_t n_bytes = 0;
    if (pthread_attr_getstack(attributes, &start, &n_bytes) != 0 ||
        (uintptr_t)start + n_bytes == 0)
        return;
    const int saved_errno = errno;
    struct thread *me = guard_enter(1);
    if (me != NULL) {
        record_stack(me, (uintptr_t)start, n_bytes);
        guard_leave(me);
    }
    errno = saved_errno;
}

/* Without attributes: what glibc gives a thread whose creator says nothing. */
static size_t
stack_bytes(const pthread_attr_t *attributes)
{
    pthread_attr_t defaults;
    size_t n_bytes = 0;
    const bool has_none = attributes == NULL;
    if (has_none && pthread_attr_init(&defaults) != 0)
        return 0;
    if (pthread_attr_getstacksize(has_none ? &defaults : attributes,
                                  &n_bytes) != 0)
        n_bytes = 0;
    if (has_none)
        pthread_attr_destroy(&defaults);
    return n_bytes;
}

EXPORT int
pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
               void *(*start)(void *), void *argument)
{
    int policy = SCHED_OTHER;
    real_resolve();
    unwind_note_stack(stack_bytes(attributes));
    if (attributes != NULL) {
        if (pthread_attr_getschedpolicy(attributes, &policy) == 0)
            process_note_policy(policy);
        tell_stack(attributes);
    }
    guard_before_thread();
    return real.pthread_create(thread, attributes, start, argument);
}

/* C11's calls pthread_create inside of glibc, where no hook is met. */
EXPORT int
thrd_create(thrd_t *thread, thrd_start_t start, void *argument)
{
    real_resolve();
    unwind_note_stack(stack_bytes(NULL));
    guard_before_thread();
    return real.thrd_create(thread, start, argument);
}

EXPORT int
pthread_setschedparam(pthread_t thread, int policy,
                      const struct sched_param *parameters)
{
    real_resolve();
    process_note_policy(policy);
    return real.pthread_setschedparam(thread, policy, parameters);
}

EXPORT int
sched_setscheduler(pid_t pid, int policy, const struct sched_param *parameters)
{
    real_resolve();
    process_note_policy(policy);
    return real.sched_setscheduler(pid, policy, parameters);
}
