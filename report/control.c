#include "report/control.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct control_request
control_request_of(enum control_kind kind)
{
    return (struct control_request){
        .magic = CONTROL_MAGIC,
        .version = CONTROL_VERSION,
        .kind = (uint16_t)kind,
    };
}

int
control_connect(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path))
        return -1;
    strcpy(address.sun_path, path);
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd >= 0 &&
        connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

bool
control_hear(int fd, struct control_reply *reply)
{
    ssize_t n;
    do {
        n = recv(fd, reply, sizeof(*reply), MSG_TRUNC); /* its true length */
    } while (n < 0 && errno == EINTR);
    if (n != sizeof(*reply) || reply->magic != CONTROL_MAGIC ||
        reply->version != CONTROL_VERSION)
        return false;
    reply->text[sizeof(reply->text) - 1] = '\0';
    return true;
}

bool
control_ask(int fd, const struct control_request *request,
            struct control_reply *reply)
{
    return send(fd, request, sizeof(*request), MSG_NOSIGNAL) ==
               sizeof(*request) &&
           control_hear(fd, reply);
}
