/*
 * control.h - what a user's tools ask of a collector
 *
 * Over the same SOCK_SEQPACKET socket as hello, told apart by the magic: one
 * request, one reply, the client closes. Only the collector's own user is
 * answered. Times are microseconds of the recording.
 */
#ifndef INCLUDE_CONTROL_H
#define INCLUDE_CONTROL_H

#include <assert.h>
#include <stdint.h>

enum {
    CONTROL_MAGIC = 0x63647372, /* "rsdc" */
    CONTROL_VERSION = 1,
    CONTROL_TEXT_BYTES = 1024,
};

enum control_kind {
    CONTROL_STATUS,   /* are you there? */
    CONTROL_MARK,     /* text labels this moment; answered when its census is
                         committed. pid 0: every process */
    CONTROL_LAUNCHED, /* from run: pid is CMD */
    CONTROL_ENDED,    /* from run: CMD ended with status; answered when the
                         recording is sealed, or when others still live */
};

struct control_request {
    uint32_t magic;
    uint16_t version;
    uint16_t kind; /* enum control_kind */
    int32_t pid;
    int32_t status; /* as waitpid gave it */
    char text[CONTROL_TEXT_BYTES];
};

enum control_status {
    CONTROL_OK,
    CONTROL_NO_PROCESS, /* nothing alive answers to that pid */
    CONTROL_STILL_LIVE, /* the recording goes on: count processes live */
    CONTROL_FAILED,     /* text says why */
    CONTROL_MALFORMED,
};

struct control_reply {
    uint32_t magic;
    uint16_t version;
    uint16_t status; /* enum control_status */
    uint64_t t_us;
    int32_t pid;    /* of the collector */
    uint32_t count; /* processes that live, or that were marked */
    char text[CONTROL_TEXT_BYTES];
};

static_assert(sizeof(struct control_request) == 1040, "a packed layout");
static_assert(sizeof(struct control_reply) == 1048, "a packed layout");

#endif
