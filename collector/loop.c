#include "collector/loop.h"

#include <errno.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "include/xalloc.h"

enum { EVENTS = 64 };

struct loop {
    int epoll;
    bool is_stopped;
    /* The round's events, so that a removed watch is not called in it. */
    struct epoll_event events[EVENTS];
    int n_events;
};

struct loop *
loop_create(void)
{
    const int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0)
        return NULL;
    struct loop *loop = xcalloc(1, sizeof(*loop));
    loop->epoll = epoll;
    return loop;
}

void
loop_destroy(struct loop *loop)
{
    if (loop == NULL)
        return;
    close(loop->epoll);
    free(loop);
}

bool
loop_add(struct loop *loop, struct watch *watch)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = watch};
    return epoll_ctl(loop->epoll, EPOLL_CTL_ADD, watch->fd, &event) == 0;
}

void
loop_remove(struct loop *loop, struct watch *watch)
{
    epoll_ctl(loop->epoll, EPOLL_CTL_DEL, watch->fd, NULL);
    for (int i = 0; i < loop->n_events; i++) {
        if (loop->events[i].data.ptr == watch)
            loop->events[i].data.ptr = NULL;
    }
}

void
loop_stop(struct loop *loop)
{
    loop->is_stopped = true;
}

void
loop_run(struct loop *loop, void (*after_round)(void *context), void *context)
{
    while (!loop->is_stopped) {
        loop->n_events = epoll_wait(loop->epoll, loop->events, EVENTS, -1);
        for (int i = 0; i < loop->n_events && !loop->is_stopped; i++) {
            const struct watch *watch = loop->events[i].data.ptr;
            if (watch != NULL)
                watch->ready(watch->context);
        }
        loop->n_events = 0;
        after_round(context);
    }
}
