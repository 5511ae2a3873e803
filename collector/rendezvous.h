/*
 * rendezvous.h - the socket where targets introduce themselves and users ask
 *
 * Answers only its own user (SO_PEERCRED). One datagram a connection; what is
 * no hello and no request is refused, a connection that stays silent is closed.
 */
#ifndef COLLECTOR_RENDEZVOUS_H
#define COLLECTOR_RENDEZVOUS_H

#include <stdbool.h>
#include <stddef.h>

#include "collector/image.h"
#include "collector/loop.h"
#include "include/control.h"

struct rendezvous;
struct connection;

struct rendezvous_listener {
    /* Takes the introduction's descriptors. False: refuse. */
    bool (*introduced)(void *context, const struct introduction *introduction);
    /* The connection waits for rendezvous_reply, at any later time. */
    void (*asked)(void *context, struct connection *connection,
                  const struct control_request *request);
    void *context;
};

/*
 * Listens at path, mode 0600. NULL: `why` says so; a socket that another
 * collector serves is never taken away.
 */
struct rendezvous *rendezvous_open(struct loop *loop, const char *path,
                                   const struct rendezvous_listener *listener,
                                   char *why, size_t n_bytes);

/* At which level processes are welcomed; watch if this is not called. */
void rendezvous_set_level(struct rendezvous *rendezvous, enum wire_level level);

/* At level watch: of which sample they tell; of none if this is not called. */
void rendezvous_set_sample(struct rendezvous *rendezvous, uint64_t mean_bytes);

/*
 * Whether who finds its pipe full waits, for 10 s at most and 100 ms at level
 * watch, or goes on at once; so it does if this is not called. What finds no
 * room is lost, and counted.
 */
void rendezvous_set_on_full(struct rendezvous *rendezvous, bool waits);

/* The path goes with it. */
void rendezvous_close(struct rendezvous *rendezvous);

/* A connection that is there already, and stays: the launcher's. */
void rendezvous_adopt(struct rendezvous *rendezvous, int fd,
                      void (*gone)(void *context));

bool rendezvous_is_adopted(const struct connection *connection);

/* Closes connections that have been silent for long. Every 100 ms. */
void rendezvous_tick(struct rendezvous *rendezvous);

/* Answers a request; the connection is closed unless it was adopted. */
void rendezvous_reply(struct connection *connection, enum control_status status,
                      const char *text, unsigned count, uint64_t t_us);

#endif
