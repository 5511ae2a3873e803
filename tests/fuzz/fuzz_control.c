/*
 * The input is what users' tools, or strangers, do at the socket (door.c). A
 * request is answered as the collector does it: at once, or when its census has
 * been written, which is a step of the guest's:
 *
 *   even byte              the request number byte / 2 of those that wait
 *   odd byte, n (2), bytes a collector's reply, as a user's tool hears it
 */
#include <err.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "report/control.h"
#include "tests/fuzz/door.h"
#include "tests/fuzz/fuzz.h"

enum { MOST_WAITING = 16 };

struct desk {
    struct connection *waiting[MOST_WAITING];
    size_t n_waiting;
};

static bool
on_introduced(void *context, const struct introduction *introduction)
{
    (void)context;
    for (size_t i = 0; i < WIRE_N_FDS; i++)
        close(introduction->fds[i]);
    return false;
}

static void
on_asked(void *context, struct connection *connection,
         const struct control_request *request)
{
    struct desk *desk = context;
    fuzz_holds(request->magic == CONTROL_MAGIC);
    fuzz_holds(request->version == CONTROL_VERSION);
    fuzz_holds(memchr(request->text, '\0', sizeof(request->text)) != NULL);
    for (size_t i = 0; i < desk->n_waiting; i++)
        fuzz_holds(desk->waiting[i] != connection);
    const bool is_launchers =
        request->kind == CONTROL_ENDED && rendezvous_is_adopted(connection);
    if ((request->kind == CONTROL_MARK || is_launchers) &&
        desk->n_waiting < MOST_WAITING)
        desk->waiting[desk->n_waiting++] = connection;
    else
        rendezvous_reply(connection,
                         request->kind == CONTROL_STATUS ? CONTROL_OK
                                                         : CONTROL_MALFORMED,
                         request->text, 0, 0);
}

static void
answer(struct desk *desk, size_t which)
{
    if (desk->n_waiting == 0)
        return;
    which %= desk->n_waiting;
    struct connection *connection = desk->waiting[which];
    desk->waiting[which] = desk->waiting[--desk->n_waiting];
    rendezvous_reply(connection, CONTROL_OK, "", 1, 1);
}

static void
hear_reply(struct bytes *rest)
{
    int pair[2];
    struct control_reply reply;
    size_t n_bytes = bytes_u16(rest);
    if (n_bytes > rest->left)
        n_bytes = rest->left;
    const void *bytes = bytes_view(rest, n_bytes);
    if (bytes == NULL || n_bytes == 0)
        return;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        err(1, "no pair of sockets is to be had");
    if (send(pair[1], bytes, n_bytes, MSG_NOSIGNAL) == (ssize_t)n_bytes &&
        control_hear(pair[0], &reply)) {
        fuzz_holds(n_bytes == sizeof(reply));
        fuzz_holds(reply.version == CONTROL_VERSION);
        fuzz_holds(memchr(reply.text, '\0', sizeof(reply.text)) != NULL);
    }
    close(pair[0]);
    close(pair[1]);
}

static void
on_step(void *context, struct bytes *rest)
{
    unsigned char what;
    bytes_take(rest, &what, 1);
    if (what % 2 == 0)
        answer(context, what / 2);
    else
        hear_reply(rest);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct desk desk = {.n_waiting = 0};
    const struct door_guest guest = {
        .listener =
            {
                       .introduced = on_introduced,
                       .asked = on_asked,
                       .context = &desk,
                       },
        .step = on_step,
    };
    door_run(&guest, bytes, n_bytes);
    return 0;
}
