/*
 * residue mark - a name for this moment, and a complete census of it
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "include/xalloc.h"
#include "report/control.h"
#include "report/units.h"
#include "report/verb.h"
#include "report/verbs/arguments.h"

static const char help[] =
    "usage: residue mark REC|PID TEXT\n"
    "\n"
    "Labels this moment of a running recording and takes a complete census of\n"
    "its processes (of one process where a PID is given). Returns when it is\n"
    "in the recording: `residue stats REC@TEXT` shows it.\n";

static void
fill_in(struct control_request *request, const struct arguments *arguments)
{
    const size_t n_bytes = strlen(arguments->rest);
    if (n_bytes == 0 || n_bytes >= sizeof(request->text))
        errx(EXIT_BAD_USAGE,
             "the text must have 1 to %zu bytes; this one has %zu",
             sizeof(request->text) - 1, n_bytes);
    if (strchr(arguments->rest, '@') != NULL ||
        query_is_moment_word(arguments->rest))
        errx(EXIT_BAD_USAGE,
             "'%s': a mark is found again as REC@TEXT, so it is no time, not "
             "start, peak or end, and has no @",
             arguments->rest);
    memcpy(request->text, arguments->rest, n_bytes + 1);
}

int
verb_mark(int argc, char **argv)
{
    const struct arguments arguments =
        arguments_parse(argc, argv, help, false, true);
    struct control_request request = control_request_of(CONTROL_MARK);
    fill_in(&request, &arguments);

    struct query *query = arguments_open(arguments.target);
    request.pid = (int32_t)query_pid(query);
    char *socket = query_meta(query, "socket");
    arguments_check(query);
    const int fd = socket == NULL ? -1 : control_connect(socket);
    if (fd < 0)
        errx(EXIT_CHECK_FAILED,
             "%s: nobody writes this recording any more; a mark needs one that "
             "is running",
             query_path(query));
    struct control_reply reply;
    if (!control_ask(fd, &request, &reply))
        errx(EXIT_CHECK_FAILED, "%s: its collector went away",
             query_path(query));
    if (reply.status != CONTROL_OK)
        errx(EXIT_CHECK_FAILED, "%s: %s", arguments.target, reply.text);
    close(fd);

    char at[UNITS_BYTES];
    printf("%s: '%s' at %s\n", query_path(query), arguments.rest,
           units_clock(at, (int64_t)reply.t_us));
    free(socket);
    query_close(query);
    return EXIT_FINE;
}
