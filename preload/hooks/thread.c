/*
 * Threads. Their ends are noticed by a destructor (guard.c); their births are
 * told by the creator, for glibc puts a thread's control block, whose address
 * a pthread_t is, at the top of its stack.
 */
#include <errno.h>
#include <pthread.h>

#include "preload/guard.h"
#include "preload/real.h"
#include "preload/record.h"

EXPORT int
pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
               void *(*start)(void *), void *argument)
{
    real_resolve();
    const int error = real.pthread_create(thread, attributes, start, argument);
    if (error != 0)
        return error;

    const int saved_errno = errno;
    struct thread *me = guard_enter(1);
    if (me != NULL) {
        record_thread(me, (uint64_t)*thread);
        guard_leave(me);
    }
    errno = saved_errno;
    return error;
}
