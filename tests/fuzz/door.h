/*
 * door.h - a rendezvous, and strangers who knock at it
 *
 * The input is what four callers do, one step after another (door.c). Between
 * two steps the rendezvous' loop has a round, so that it may find none, one or
 * several datagrams. When the input is at its end, no descriptor may be left
 * that was not there before.
 */
#ifndef TESTS_FUZZ_DOOR_H
#define TESTS_FUZZ_DOOR_H

#include "collector/rendezvous.h"
#include "include/bytes.h"

struct door_guest {
    struct rendezvous_listener listener;
    /* A step of the guest's own, with the listener's context; NULL: none. */
    void (*step)(void *context, struct bytes *rest);
};

void door_run(const struct door_guest *guest, const uint8_t *bytes,
              size_t n_bytes);

#endif
