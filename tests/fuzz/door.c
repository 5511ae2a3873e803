/*
 * A step is a byte that chooses it, and what it needs; WHO is a byte:
 *
 *   KNOCK    who, n (1 byte), n bytes that choose descriptors, n (2 bytes), the
 *            datagram's bytes
 *   GREET    who, a hello whose head is made sound, its two texts
 *   ASK      who, kind, pid and status, n (2 bytes), n bytes of text
 *   HEAR     who: takes what it was answered
 *   HANG_UP  who
 *   ADOPT    who becomes the launcher
 *   TICK     n (1 byte): as many ticks pass
 *   GUEST    the guest's own
 *   WAIT     a round passes
 */
#include "tests/fuzz/door.h"

#include <err.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "include/attrs.h"
#include "include/xalloc.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/collector/stream.h"

enum {
    CALLERS = 4,
    MOST_STEPS = 256,
    MOST_SENT_FDS = 20, /* more than are taken */
    LAST_ROUNDS = 4,    /* to accept, to read, to answer */
    N_FDS = 16,
    MOST_OPEN = 256, /* that are counted */
};

enum step {
    STEP_KNOCK,
    STEP_GREET,
    STEP_ASK,
    STEP_HEAR,
    STEP_HANG_UP,
    STEP_ADOPT,
    STEP_TICK,
    STEP_GUEST,
    STEP_WAIT,
    N_STEPS,
};

static struct {
    bool is_ready;
    char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
    int fds[N_FDS]; /* that may be sent; those of a hello are the first */
    struct watch pump;
    struct loop *loop;
    struct rendezvous *rendezvous;
    const struct door_guest *guest;
    struct bytes rest;
    int callers[CALLERS]; /* -1: not connected */
    unsigned n_steps;
    unsigned n_last;
} door;

/* The collector's complaints: formatted, for their arguments, and not shown. */
PRINTF_LIKE(1, 0)
static void
swallow(const char *format, va_list args)
{
    char line[256];
    vsnprintf(line, sizeof(line), format, args);
}

void
warnx(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    swallow(format, args);
    va_end(args);
}

void
warn(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    swallow(format, args);
    va_end(args);
}

/* ---- once -------------------------------------------------------------- */

static int
open_one(const char *path)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        err(1, "%s", path);
    return fd;
}

static void
open_fds(void)
{
    static const char *const files[] = {
        "/proc/self/mem",     "/proc/self/maps",
        "/proc/self/smaps",   "/proc/self/smaps_rollup",
        "/proc/self/pagemap", "/dev/null",
        "/proc/self/status",  "/tmp",
        "/proc/self/task",
    };
    static_assert(WIRE_FD_MEM + countof(files) + 1 <= N_FDS, "a place for all");
    const struct stream sound = stream_create(STREAM_BUFFERS, F_SEAL_SHRINK);
    const struct stream open = stream_create(STREAM_BUFFERS, 0);
    for (size_t i = 0; i < N_FDS; i++)
        door.fds[i] = sound.pipe_write;
    door.fds[WIRE_FD_PIPE] = sound.pipe_read;
    door.fds[WIRE_FD_SHARED] = sound.shared;
    for (size_t i = 0; i < countof(files); i++)
        door.fds[WIRE_FD_MEM + i] = open_one(files[i]);
    door.fds[WIRE_FD_MEM + countof(files)] = open.shared;
}

static void on_round(void *context);

static void
make_ready(void)
{
    const char *temporary = getenv("TMPDIR");
    const int n = snprintf(door.path, sizeof(door.path), "%s/residue-door.%d",
                           temporary == NULL ? "/tmp" : temporary, getpid());
    if (n < 0 || (size_t)n >= sizeof(door.path))
        errx(1, "%s: too long for a socket", door.path);
    open_fds();
    door.pump = (struct watch){
        .fd = eventfd(1, EFD_CLOEXEC), /* which is never read */
        .ready = on_round,
    };
    door.is_ready = true;
}

/* How many descriptors are open, of the least numbers there are. */
static unsigned
count_open(void)
{
    struct pollfd fds[MOST_OPEN] = {{0}};
    unsigned n_open = 0;
    for (int i = 0; i < MOST_OPEN; i++)
        fds[i].fd = i;
    if (poll(fds, MOST_OPEN, 0) < 0)
        err(1, "descriptors cannot be counted");
    for (size_t i = 0; i < MOST_OPEN; i++)
        n_open += (fds[i].revents & POLLNVAL) == 0;
    return n_open;
}

/* ---- callers ----------------------------------------------------------- */

static int *
take_caller(void)
{
    unsigned char who;
    bytes_take(&door.rest, &who, 1);
    return &door.callers[who % CALLERS];
}

static void
hang_up(int *caller)
{
    if (*caller >= 0)
        close(*caller);
    *caller = -1;
}

static int
connected(int *caller)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (*caller >= 0)
        return *caller;
    memcpy(address.sun_path, door.path, sizeof(address.sun_path));
    *caller = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (*caller < 0 || connect(*caller, (const struct sockaddr *)&address,
                               sizeof(address)) != 0)
        err(1, "%s", door.path);
    return *caller;
}

static void
send_to(int *caller, const void *bytes, size_t n_bytes, const int *fds,
        size_t n_fds)
{
    union {
        char bytes[CMSG_SPACE(MOST_SENT_FDS * sizeof(int))];
        struct cmsghdr alignment;
    } control = {{0}};
    struct iovec iov = {.iov_base = (void *)(uintptr_t)bytes,
                        .iov_len = n_bytes};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    if (n_fds != 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
        struct cmsghdr *part = CMSG_FIRSTHDR(&message);
        part->cmsg_level = SOL_SOCKET;
        part->cmsg_type = SCM_RIGHTS;
        part->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
        memcpy(CMSG_DATA(part), fds, n_fds * sizeof(int));
    }
    sendmsg(connected(caller), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* As many of the bytes that are left as there are. */
static size_t
at_most_left(size_t n_bytes)
{
    return n_bytes < door.rest.left ? n_bytes : door.rest.left;
}

/* ---- steps ------------------------------------------------------------- */

static void
knock(int *caller)
{
    unsigned char n_fds;
    int fds[MOST_SENT_FDS];
    bytes_take(&door.rest, &n_fds, 1);
    n_fds %= MOST_SENT_FDS + 1;
    for (size_t i = 0; i < n_fds; i++) {
        unsigned char which;
        bytes_take(&door.rest, &which, 1);
        fds[i] = door.fds[which % N_FDS];
    }
    const size_t n_bytes = at_most_left(bytes_u16(&door.rest));
    const void *bytes = bytes_view(&door.rest, n_bytes);
    send_to(caller, bytes, bytes == NULL ? 0 : n_bytes, fds, n_fds);
}

static void
greet(int *caller)
{
    struct {
        struct wire_hello hello;
        char texts[2 * WIRE_TEXT_BYTES];
    } datagram;
    struct wire_hello *hello = &datagram.hello;
    bytes_take(&door.rest, hello, sizeof(*hello));
    hello->magic = WIRE_MAGIC;
    hello->version = WIRE_VERSION;
    hello->hello_bytes = sizeof(*hello);
    hello->reason %= WIRE_REASON_FORK + 1;
    hello->exe_bytes =
        (uint16_t)at_most_left(hello->exe_bytes % (WIRE_TEXT_BYTES + 1));
    bytes_take(&door.rest, datagram.texts, hello->exe_bytes);
    hello->command_bytes =
        (uint16_t)at_most_left(hello->command_bytes % (WIRE_TEXT_BYTES + 1));
    bytes_take(&door.rest, datagram.texts + hello->exe_bytes,
               hello->command_bytes);
    send_to(caller, &datagram,
            sizeof(*hello) + hello->exe_bytes + hello->command_bytes, door.fds,
            WIRE_N_FDS);
}

static void
ask(int *caller)
{
    struct control_request request = {
        .magic = CONTROL_MAGIC,
        .version = CONTROL_VERSION,
        .kind = bytes_u16(&door.rest),
        .pid = (int32_t)bytes_u32(&door.rest),
        .status = (int32_t)bytes_u32(&door.rest),
    };
    size_t n_bytes = at_most_left(bytes_u16(&door.rest));
    if (n_bytes > sizeof(request.text))
        n_bytes = sizeof(request.text);
    bytes_take(&door.rest, request.text, n_bytes);
    send_to(caller, &request, sizeof(request), NULL, 0);
}

/* Whatever is answered is whole and sound. */
static void
hear(const int *caller)
{
    union {
        struct wire_welcome welcome;
        struct control_reply reply;
        char bytes[2 * sizeof(struct control_reply)];
    } answer;
    if (*caller < 0)
        return;
    const ssize_t n = recv(*caller, &answer, sizeof(answer), MSG_DONTWAIT);
    if (n == sizeof(answer.welcome)) {
        fuzz_holds(answer.welcome.magic == WIRE_MAGIC);
        fuzz_holds(answer.welcome.verdict <= WIRE_REFUSED_MALFORMED);
    } else if (n > 0) {
        fuzz_holds(n == sizeof(answer.reply));
        fuzz_holds(answer.reply.magic == CONTROL_MAGIC);
        fuzz_holds(answer.reply.status <= CONTROL_MALFORMED);
        fuzz_holds(memchr(answer.reply.text, '\0', sizeof(answer.reply.text)) !=
                   NULL);
    }
}

static void
on_gone(void *context)
{
    (void)context;
}

static void
adopt(int *caller)
{
    int pair[2];
    hang_up(caller);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        err(1, "no pair of sockets is to be had");
    *caller = pair[1];
    rendezvous_adopt(door.rendezvous, pair[0], on_gone);
}

static void
tick(void)
{
    unsigned char n;
    bytes_take(&door.rest, &n, 1);
    for (; n != 0; n--)
        rendezvous_tick(door.rendezvous);
}

static void
take_step(void)
{
    unsigned char step;
    bytes_take(&door.rest, &step, 1);
    switch ((enum step)(step % N_STEPS)) {
    case STEP_KNOCK:
        knock(take_caller());
        break;
    case STEP_GREET:
        greet(take_caller());
        break;
    case STEP_ASK:
        ask(take_caller());
        break;
    case STEP_HEAR:
        hear(take_caller());
        break;
    case STEP_HANG_UP:
        hang_up(take_caller());
        break;
    case STEP_ADOPT:
        adopt(take_caller());
        break;
    case STEP_TICK:
        tick();
        break;
    case STEP_GUEST:
        if (door.guest->step != NULL)
            door.guest->step(door.guest->listener.context, &door.rest);
        break;
    default:
        break;
    }
}

/* ---- the loop ---------------------------------------------------------- */

static void
on_round(void *context)
{
    (void)context;
    if (door.rest.left != 0 && door.n_steps < MOST_STEPS) {
        door.n_steps++;
        take_step();
    } else if (door.n_last++ == LAST_ROUNDS) {
        loop_stop(door.loop);
    }
}

static void
after_round(void *context)
{
    (void)context;
}

void
door_run(const struct door_guest *guest, const uint8_t *bytes, size_t n_bytes)
{
    char why[256];
    if (!door.is_ready)
        make_ready();
    const unsigned n_open = count_open();
    door.guest = guest;
    door.rest = bytes_over(bytes, n_bytes);
    door.n_steps = 0;
    door.n_last = 0;
    for (size_t i = 0; i < CALLERS; i++)
        door.callers[i] = -1;
    door.loop = loop_create();
    if (door.loop == NULL || !loop_add(door.loop, &door.pump))
        err(1, "no epoll is to be had");
    door.rendezvous = rendezvous_open(door.loop, door.path, &guest->listener,
                                      why, sizeof(why));
    if (door.rendezvous == NULL)
        errx(1, "%s: %s", door.path, why);
    loop_run(door.loop, after_round, NULL);
    for (size_t i = 0; i < CALLERS; i++) {
        hear(&door.callers[i]);
        hang_up(&door.callers[i]);
    }
    rendezvous_close(door.rendezvous);
    loop_destroy(door.loop);
    fuzz_holds(count_open() == n_open);
}
