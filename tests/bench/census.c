/*
 * Takes N censuses of a Python with types and N without, in turn:
 *
 *     census PID N
 *
 * A line each says which it was, how long it took and what it cost in CPU (both
 * in microseconds), bytes read, resident and unexplained, and how many arenas
 * there are. They are those of a target that told of its arenas; the first look
 * that finds them is the line `search`.
 */
#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "collector/census/census.h"
#include "collector/python.h"
#include "include/xalloc.h"

static int
open_file(const char *pid, const char *name)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%s/%s", pid, name);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        err(1, "%s", path);
    return fd;
}

static struct memory *
memory_of(const char *pid)
{
    const struct memory_descriptors files = {
        .mem = open_file(pid, "mem"),
        .maps = open_file(pid, "maps"),
        .smaps = open_file(pid, "smaps"),
        .rollup = open_file(pid, "smaps_rollup"),
        .pagemap = open_file(pid, "pagemap"),
    };
    return memory_create(&files, (pid_t)atoi(pid));
}

static bool
go_on(void *context)
{
    (void)context;
    return true;
}

static struct census *
take(struct memory *memory, const struct census_request *request,
     const char *what)
{
    const struct census_patience patience = {.may_go_on = go_on};
    struct view *view = view_take(memory);
    struct census *census = census_take(memory, view, request, &patience);
    view_destroy(view);
    if (!census->is_read || !census->is_whole)
        errx(1, "the process could not be read");
    printf(
        "%s %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %zu\n",
        what, census->took_us, census->cpu_us, census->read_bytes,
        census->rss_bytes, census->ledger[CAUSE_unexplained], census->n_arenas);
    return census;
}

/* Where the arenas are, as the target's preload would have told. */
static void
search(struct memory *memory, struct census_request *request)
{
    request->is_unprepared = true;
    struct census *census = take(memory, request, "search");
    request->is_unprepared = false;
    request->candidates =
        xcalloc(census->n_arenas, sizeof(request->candidates[0]));
    for (size_t i = 0; i < census->n_arenas; i++)
        request->candidates[request->n_candidates++] =
            (struct census_candidate){
                .start = census->arenas[i].address,
                .n_bytes = census->arenas[i].n_bytes,
            };
    census_destroy(census);
}

int
main(int argc, char **argv)
{
    if (argc != 3)
        errx(2, "usage: census PID N");
    struct python python = {0};
    python_find((pid_t)atoi(argv[1]), &python);
    struct census_request request = {
        .kind = CENSUS_periodic,
        .python_major = python.major,
        .python_minor = python.minor,
        .python_runtime = python.runtime,
        .python_text = {python.text_start, python.text_bytes},
    };
    struct memory *memory = memory_of(argv[1]);
    search(memory, &request);
    for (int i = 0; i < atoi(argv[2]); i++) {
        request.wants_types = false;
        census_destroy(take(memory, &request, "headers"));
        request.wants_types = true;
        census_destroy(take(memory, &request, "types"));
    }
    census_request_finish(&request);
    memory_destroy(memory);
    return 0;
}
