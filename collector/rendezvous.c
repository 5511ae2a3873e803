#include "collector/rendezvous.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "include/attrs.h"
#include "include/bytes.h"
#include "include/xalloc.h"

enum {
    BACKLOG = 4096,
    MOST_CONNECTIONS = 4096,
    MOST_FDS = 16, /* that may come with a datagram, wanted or not */
    SILENT_TICKS = 20,
    /*
     * The most that a full pipe holds a write, if it holds one at all. At level
     * watch no program stands still for the few events that it tells.
     */
    WATCH_WAIT_MS = 100,
    EXACT_WAIT_MS = 10000,
    DATAGRAM_BYTES = sizeof(struct wire_hello) + 2 * WIRE_TEXT_BYTES,
};

struct connection {
    struct rendezvous *rendezvous;
    struct watch watch;
    struct connection *next;
    unsigned n_ticks;  /* since it was opened, while nothing came */
    bool is_answering; /* a request is with the listener */
    bool is_adopted;
    void (*gone)(void *context);
};

struct rendezvous {
    struct loop *loop;
    struct rendezvous_listener listener;
    struct watch watch;
    struct connection *connections;
    unsigned n_connections;
    int spare; /* a descriptor for the moment when there are no others */
    bool has_complained;
    char path[108];
    enum wire_level level;
    uint64_t sample_bytes;
    bool waits_on_full;
};

struct datagram {
    char bytes[DATAGRAM_BYTES];
    size_t n_bytes;
    int fds[MOST_FDS];
    size_t n_fds;
    pid_t pid;
};

/* ---- connections ------------------------------------------------------- */

static void
hang_up(struct connection *connection)
{
    struct rendezvous *rendezvous = connection->rendezvous;
    struct connection **at = &rendezvous->connections;
    while (*at != connection)
        at = &(*at)->next;
    *at = connection->next;
    rendezvous->n_connections--;
    loop_remove(rendezvous->loop, &connection->watch);
    close(connection->watch.fd);
    free(connection);
}

/* ---- datagrams --------------------------------------------------------- */

static void
close_fds(struct datagram *datagram)
{
    for (size_t i = 0; i < datagram->n_fds; i++)
        close(datagram->fds[i]);
    datagram->n_fds = 0;
}

static void
take_fds(struct msghdr *message, struct datagram *datagram)
{
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part != NULL;
         part = CMSG_NXTHDR(message, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
            continue;
        const size_t n = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(int));
            if (datagram->n_fds < MOST_FDS)
                datagram->fds[datagram->n_fds++] = fd;
            else
                close(fd);
        }
    }
}

/*
 * One datagram, or none of 0 bytes. False: the other side is gone, is not our
 * user, or sent a datagram without a byte, which looks like the former and may
 * bring descriptors all the same.
 */
static bool
receive(int fd, struct datagram *datagram)
{
    struct iovec iov = {.iov_base = datagram->bytes,
                        .iov_len = sizeof(datagram->bytes)};
    union {
        char bytes[CMSG_SPACE(MOST_FDS * sizeof(int))];
        struct cmsghdr alignment;
    } control;
    struct msghdr message = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof(control.bytes),
    };
    datagram->n_fds = 0;
    datagram->n_bytes = 0;
    const ssize_t n = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true; /* nothing after all */
    if (n < 0)
        return false;
    take_fds(&message, datagram);
    datagram->n_bytes = (size_t)n;

    struct ucred peer;
    socklen_t peer_bytes = sizeof(peer);
    const bool is_ours =
        n != 0 && (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0 &&
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &peer_bytes) == 0 &&
        peer.uid == geteuid();
    if (!is_ours) {
        close_fds(datagram);
        return false;
    }
    datagram->pid = peer.pid;
    return true;
}

/* ---- hello ------------------------------------------------------------- */

/* Whether fd is the file of that name in some /proc/PID. */
static bool
is_proc_file(int fd, const char *name)
{
    char link[64];
    char path[4096];
    struct statfs filesystem;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    const ssize_t n = readlink(link, path, sizeof(path) - 1);
    if (n <= 0 || fstatfs(fd, &filesystem) != 0 ||
        filesystem.f_type != PROC_SUPER_MAGIC)
        return false;
    path[n] = '\0';
    const char *base = strrchr(path, '/');
    return base != NULL && strcmp(base + 1, name) == 0;
}

static bool
are_right_fds(const struct datagram *datagram)
{
    static const char *const names[] = {
        [WIRE_FD_MEM] = "mem",         [WIRE_FD_MAPS] = "maps",
        [WIRE_FD_SMAPS] = "smaps",     [WIRE_FD_ROLLUP] = "smaps_rollup",
        [WIRE_FD_PAGEMAP] = "pagemap",
    };
    static_assert(countof(names) == WIRE_N_FDS, "a name for each file");
    if (datagram->n_fds != WIRE_N_FDS)
        return false;
    for (size_t i = WIRE_FD_MEM; i < WIRE_N_FDS; i++) {
        if (!is_proc_file(datagram->fds[i], names[i]))
            return false;
    }
    return true;
}

/* Reads a hello; texts point into the datagram. */
static enum wire_verdict
read_hello(const struct datagram *datagram, struct introduction *introduction)
{
    struct bytes rest = bytes_over(datagram->bytes, datagram->n_bytes);
    struct wire_hello *hello = &introduction->hello;
    bytes_take(&rest, hello, sizeof(*hello));
    if (hello->version != WIRE_VERSION)
        return WIRE_REFUSED_VERSION;
    introduction->exe = bytes_view(&rest, hello->exe_bytes);
    introduction->command = bytes_view(&rest, hello->command_bytes);
    introduction->pid = datagram->pid;
    if (!bytes_ok(&rest) || rest.left != 0 ||
        hello->hello_bytes != sizeof(*hello) ||
        hello->exe_bytes > WIRE_TEXT_BYTES ||
        hello->command_bytes > WIRE_TEXT_BYTES ||
        hello->reason > WIRE_REASON_FORK || !are_right_fds(datagram))
        return WIRE_REFUSED_MALFORMED;
    memcpy(introduction->fds, datagram->fds, sizeof(introduction->fds));
    return WIRE_WELCOME;
}

static uint32_t
full_wait_ms(const struct rendezvous *rendezvous)
{
    if (!rendezvous->waits_on_full)
        return 0;
    return rendezvous->level == WIRE_LEVEL_WATCH ? WATCH_WAIT_MS
                                                 : EXACT_WAIT_MS;
}

static void
welcome(struct connection *connection, struct datagram *datagram)
{
    const struct rendezvous_listener *listener =
        &connection->rendezvous->listener;
    struct introduction introduction;
    enum wire_verdict verdict = read_hello(datagram, &introduction);
    if (verdict == WIRE_WELCOME) {
        datagram->n_fds = 0; /* the listener's from here on */
        introduction.level = connection->rendezvous->level;
        introduction.sample_bytes = connection->rendezvous->sample_bytes;
        if (!listener->introduced(listener->context, &introduction))
            verdict = WIRE_REFUSED_MALFORMED;
    }
    const struct wire_welcome answer = {
        .magic = WIRE_MAGIC,
        .version = WIRE_VERSION,
        .verdict = (uint16_t)verdict,
        .full_wait_ms = full_wait_ms(connection->rendezvous),
        .level = (uint32_t)connection->rendezvous->level,
        .sample_bytes = connection->rendezvous->sample_bytes,
    };
    if (verdict != WIRE_WELCOME)
        warnx("process %d introduced itself in a way that is not understood",
              datagram->pid);
    send(connection->watch.fd, &answer, sizeof(answer),
         MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* ---- requests ---------------------------------------------------------- */

void
rendezvous_set_level(struct rendezvous *rendezvous, enum wire_level level)
{
    rendezvous->level = level;
}

void
rendezvous_set_sample(struct rendezvous *rendezvous, uint64_t mean_bytes)
{
    rendezvous->sample_bytes = mean_bytes;
}

void
rendezvous_set_on_full(struct rendezvous *rendezvous, bool waits)
{
    rendezvous->waits_on_full = waits;
}

bool
rendezvous_is_adopted(const struct connection *connection)
{
    return connection->is_adopted;
}

void
rendezvous_reply(struct connection *connection, enum control_status status,
                 const char *text, unsigned count, uint64_t t_us)
{
    struct control_reply reply = {
        .magic = CONTROL_MAGIC,
        .version = CONTROL_VERSION,
        .status = (uint16_t)status,
        .t_us = t_us,
        .pid = getpid(),
        .count = count,
    };
    snprintf(reply.text, sizeof(reply.text), "%s", text);
    send(connection->watch.fd, &reply, sizeof(reply),
         MSG_NOSIGNAL | MSG_DONTWAIT);
    connection->is_answering = false;
    if (!connection->is_adopted)
        hang_up(connection);
}

static void
ask(struct connection *connection, const struct datagram *datagram)
{
    const struct rendezvous_listener *listener =
        &connection->rendezvous->listener;
    struct control_request request;
    connection->is_answering = true;
    if (!connection->is_adopted) /* one request, and nothing behind it */
        loop_remove(connection->rendezvous->loop, &connection->watch);
    if (datagram->n_bytes != sizeof(request)) {
        rendezvous_reply(connection, CONTROL_MALFORMED, "no such request", 0,
                         0);
        return;
    }
    memcpy(&request, datagram->bytes, sizeof(request));
    request.text[sizeof(request.text) - 1] = '\0';
    if (request.version != CONTROL_VERSION) {
        rendezvous_reply(connection, CONTROL_MALFORMED,
                         "this collector is of another version", 0, 0);
        return;
    }
    listener->asked(listener->context, connection, &request);
}

static void
on_datagram(void *context)
{
    struct connection *connection = context;
    struct rendezvous *rendezvous = connection->rendezvous;
    static struct datagram datagram; /* one loop, one at a time */
    if (!receive(connection->watch.fd, &datagram)) {
        if (connection->gone != NULL)
            connection->gone(rendezvous->listener.context);
        if (!connection->is_answering)
            hang_up(connection);
        else
            loop_remove(rendezvous->loop, &connection->watch);
        return;
    }
    if (datagram.n_bytes == 0 || connection->is_answering) {
        close_fds(&datagram);
        return;
    }
    uint32_t magic = 0;
    if (datagram.n_bytes >= sizeof(magic))
        memcpy(&magic, datagram.bytes, sizeof(magic));
    if (magic == CONTROL_MAGIC) {
        close_fds(&datagram);
        ask(connection, &datagram);
        return;
    }
    if (magic == WIRE_MAGIC)
        welcome(connection, &datagram);
    else
        warnx("process %d sent something that is no greeting", datagram.pid);
    close_fds(&datagram);
    hang_up(connection);
}

static struct connection *
connect_to(struct rendezvous *rendezvous, int fd)
{
    struct connection *connection = xcalloc(1, sizeof(*connection));
    connection->rendezvous = rendezvous;
    connection->watch = (struct watch){
        .fd = fd,
        .ready = on_datagram,
        .context = connection,
    };
    connection->next = rendezvous->connections;
    rendezvous->connections = connection;
    rendezvous->n_connections++;
    if (!loop_add(rendezvous->loop, &connection->watch))
        warn("a connection cannot be watched");
    return connection;
}

/* No descriptor is left for who knocks: it gets the one kept for that. */
static void
turn_away(struct rendezvous *rendezvous)
{
    close(rendezvous->spare);
    const int fd = accept4(rendezvous->watch.fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0)
        close(fd);
    rendezvous->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (!rendezvous->has_complained)
        warnx("there are no descriptors left: processes from now on are "
              "not recorded");
    rendezvous->has_complained = true;
}

static void
on_newcomer(void *context)
{
    struct rendezvous *rendezvous = context;
    for (;;) {
        const int fd = accept4(rendezvous->watch.fd, NULL, NULL,
                               SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE)) {
            turn_away(rendezvous);
            return;
        }
        if (fd < 0)
            return;
        if (rendezvous->n_connections >= MOST_CONNECTIONS)
            close(fd);
        else
            connect_to(rendezvous, fd);
    }
}

void
rendezvous_adopt(struct rendezvous *rendezvous, int fd,
                 void (*gone)(void *context))
{
    struct connection *connection = connect_to(rendezvous, fd);
    connection->is_adopted = true;
    connection->gone = gone;
}

void
rendezvous_tick(struct rendezvous *rendezvous)
{
    struct connection *connection = rendezvous->connections;
    while (connection != NULL) {
        struct connection *next = connection->next;
        if (!connection->is_adopted && !connection->is_answering &&
            ++connection->n_ticks > SILENT_TICKS)
            hang_up(connection);
        connection = next;
    }
}

/* ---- opening ----------------------------------------------------------- */

/* Whether somebody serves the socket at that address. */
static bool
is_served(const struct sockaddr_un *address)
{
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    const bool is_connected =
        connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0;
    close(fd);
    return is_connected;
}

/* Listens; -1: errno says why. A dead collector's socket is replaced. */
static int
listen_at(const struct sockaddr_un *address)
{
    const int fd =
        socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const mode_t mask = umask(0177);
    int result = bind(fd, (const struct sockaddr *)address, sizeof(*address));
    if (result != 0 && errno == EADDRINUSE && !is_served(address) &&
        unlink(address->sun_path) == 0)
        result = bind(fd, (const struct sockaddr *)address, sizeof(*address));
    umask(mask);
    if (result == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    const int error = errno;
    close(fd);
    errno = error;
    return -1;
}

struct rendezvous *
rendezvous_open(struct loop *loop, const char *path,
                const struct rendezvous_listener *listener, char *why,
                size_t n_bytes)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path)) {
        snprintf(why, n_bytes, "the path is longer than %zu bytes",
                 sizeof(address.sun_path) - 1);
        return NULL;
    }
    strcpy(address.sun_path, path);
    const int fd = listen_at(&address);
    if (fd < 0) {
        snprintf(why, n_bytes, "%s",
                 errno == EADDRINUSE ? "another collector serves it"
                                     : strerror(errno));
        return NULL;
    }
    struct rendezvous *rendezvous = xcalloc(1, sizeof(*rendezvous));
    rendezvous->loop = loop;
    rendezvous->listener = *listener;
    rendezvous->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    strcpy(rendezvous->path, path);
    rendezvous->watch = (struct watch){
        .fd = fd,
        .ready = on_newcomer,
        .context = rendezvous,
    };
    if (!loop_add(loop, &rendezvous->watch)) {
        snprintf(why, n_bytes, "%s", strerror(errno));
        close(fd);
        close(rendezvous->spare);
        free(rendezvous);
        return NULL;
    }
    return rendezvous;
}

void
rendezvous_close(struct rendezvous *rendezvous)
{
    if (rendezvous == NULL)
        return;
    while (rendezvous->connections != NULL)
        hang_up(rendezvous->connections);
    loop_remove(rendezvous->loop, &rendezvous->watch);
    close(rendezvous->watch.fd);
    close(rendezvous->spare);
    unlink(rendezvous->path);
    free(rendezvous);
}
