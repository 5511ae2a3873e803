/*
 * control.h - asking a collector (include/control.h)
 */
#ifndef REPORT_CONTROL_H
#define REPORT_CONTROL_H

#include <stdbool.h>

#include "include/control.h"

/* A request of that kind with everything else zero. */
struct control_request control_request_of(enum control_kind kind);

/* Connects to the collector at a socket's path; -1: nobody is there. */
int control_connect(const char *path);

/*
 * Sends the request and waits for the reply. False: the collector is gone, or
 * speaks another version.
 */
bool control_ask(int fd, const struct control_request *request,
                 struct control_reply *reply);

/* Waits for a reply to what was sent before. */
bool control_hear(int fd, struct control_reply *reply);

#endif
