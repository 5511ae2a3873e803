/*
 * Threads under a real-time policy, which may never be made to wait: who asks
 * for one is noted, so that nobody needs to ask the kernel later, when a
 * sandbox may forbid it. A thread's start and end are noticed by guard.c.
 */
#include <pthread.h>
#include <sched.h>

#include "preload/process.h"
#include "preload/real.h"

EXPORT int
pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
               void *(*start)(void *), void *argument)
{
    int policy = SCHED_OTHER;
    real_resolve();
    if (attributes != NULL &&
        pthread_attr_getschedpolicy(attributes, &policy) == 0)
        process_note_policy(policy);
    return real.pthread_create(thread, attributes, start, argument);
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
