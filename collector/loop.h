/*
 * loop.h - one epoll loop and what it watches
 *
 * A watch belongs to its caller, who keeps it in place while it is added. Only
 * the loop's thread adds, removes and is called.
 */
#ifndef COLLECTOR_LOOP_H
#define COLLECTOR_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct loop;

struct watch {
    int fd;
    void (*ready)(void *context);
    void *context;
};

/* NULL: the kernel refused, errno says why. Destroying NULL is a no-op. */
struct loop *loop_create(void);
void loop_destroy(struct loop *loop);

/* The watch's fd is readable or at its end. False: errno says why. */
bool loop_add(struct loop *loop, struct watch *watch);

/* Also from inside a ready function, also for another watch. */
void loop_remove(struct loop *loop, struct watch *watch);

/* Until loop_stop. after_round is called when the ready ones have been. */
void loop_run(struct loop *loop, void (*after_round)(void *context),
              void *context);
void loop_stop(struct loop *loop);

#endif
