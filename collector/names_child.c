#include "collector/names_child.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "include/attrs.h"
#include "include/bytes.h"
#include "include/clock.h"
#include "include/xalloc.h"

/*
 * An answer: its head, a place each frame, then the texts of each, function
 * before file, without NULs.
 */
struct head {
    uint32_t lookup;
    uint32_t n_frames;
    uint32_t n_bytes; /* of all that follows */
};

struct place {
    uint32_t line;
    uint16_t function_bytes;
    uint16_t file_bytes;
};

enum {
    MOST_TEXT = 1000, /* bytes of a name; longer ones are cut */
    MOST_FOLLOWS =
        NAMES_MOST_FRAMES * ((int)sizeof(struct place) + 2 * MOST_TEXT),
    MOST_ANSWER = (int)sizeof(struct head) + MOST_FOLLOWS,
    NICENESS = 10,
    PAGE = 4096,
};

/* Its shadow takes all address space, and what it prints is worth having. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SANITIZED true
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED true
#endif
#ifndef IS_SANITIZED
#define IS_SANITIZED false
#endif

struct work {
    const struct names_lookup *lookups;
    size_t n_lookups;
    size_t first; /* that is still to be answered */
    const struct names_limits *limits;
    int answers; /* the pipe's writing end */
};

/* ---- the child: what it may do ----------------------------------------- */

/* A limit that is lower already stays, for nobody may raise it. */
static void
limit(__rlimit_resource_t what, uint64_t most)
{
    struct rlimit limit;
    if (getrlimit(what, &limit) != 0)
        _exit(EXIT_FAILURE);
    if (limit.rlim_max > most)
        limit.rlim_max = most;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(what, &limit) != 0)
        _exit(EXIT_FAILURE);
}

static uint64_t
own_address_space(void)
{
    char line[64] = "";
    const int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, line, sizeof(line) - 1) <= 0)
        _exit(EXIT_FAILURE);
    close(fd);
    return strtoull(line, NULL, 10) * PAGE;
}

/* The lowest descriptor from `from` on that the child needs, or INT_MAX. */
static int
next_needed(const struct work *work, int from)
{
    int next = INT_MAX;
    if (IS_SANITIZED && from <= STDERR_FILENO)
        next = STDERR_FILENO;
    if (work->answers >= from && work->answers < next)
        next = work->answers;
    for (size_t i = work->first; i < work->n_lookups; i++) {
        const int fd = work->lookups[i].fd;
        if (fd >= from && fd < next)
            next = fd;
    }
    return next;
}

/*
 * Above all the reading ends of targets' pipes: their writers learn that we are
 * gone by there being no reader any more.
 */
static void
close_others(const struct work *work)
{
    int from = 0;
    for (;;) {
        const int next = next_needed(work, from);
        if (next > from)
            close_range((unsigned)from, (unsigned)next - 1, 0);
        if (next == INT_MAX)
            return;
        from = next + 1;
    }
}

static void
yield_to_others(void)
{
    const int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        (void)!write(fd, "1000", 4);
        close(fd);
    }
    (void)!nice(NICENESS);
}

static void
confine(const struct work *work, pid_t parent)
{
    static char *nothing[] = {NULL};
    const struct names_limits *limits = work->limits;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent ||
        prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL) != 0)
        _exit(EXIT_FAILURE);
    yield_to_others();
    close_others(work);
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_CPU, limits->total_ms / 1000 + 1);
    if (!IS_SANITIZED)
        limit(RLIMIT_AS, own_address_space() + limits->memory_bytes);
    if (!limits->asks_servers) {
        limit(RLIMIT_FSIZE, 0);
        environ = nothing; /* unsetenv takes a lock */
    }
}

/* ---- the child: what it says ------------------------------------------- */

struct answer {
    unsigned char bytes[MOST_ANSWER];
    size_t n_bytes;
};

static void
put(struct answer *answer, const void *bytes, size_t n_bytes)
{
    memcpy(answer->bytes + answer->n_bytes, bytes, n_bytes);
    answer->n_bytes += n_bytes;
}

static void
write_all(int fd, const unsigned char *bytes, size_t n_bytes)
{
    while (n_bytes != 0) {
        const ssize_t n = write(fd, bytes, n_bytes);
        if (n <= 0)
            _exit(EXIT_FAILURE);
        bytes += n;
        n_bytes -= (size_t)n;
    }
}

static void
say(int fd, size_t lookup, const struct names_frame *frames, size_t n_frames)
{
    static struct answer answer;
    answer.n_bytes = sizeof(struct head);
    for (size_t i = 0; i < n_frames; i++) {
        const struct place place = {
            .line = frames[i].line,
            .function_bytes = (uint16_t)strnlen(frames[i].function, MOST_TEXT),
            .file_bytes = (uint16_t)strnlen(frames[i].file, MOST_TEXT),
        };
        put(&answer, &place, sizeof(place));
    }
    for (size_t i = 0; i < n_frames; i++) {
        put(&answer, frames[i].function,
            strnlen(frames[i].function, MOST_TEXT));
        put(&answer, frames[i].file, strnlen(frames[i].file, MOST_TEXT));
    }
    const struct head head = {
        .lookup = (uint32_t)lookup,
        .n_frames = (uint32_t)n_frames,
        .n_bytes = (uint32_t)(answer.n_bytes - sizeof(head)),
    };
    memcpy(answer.bytes, &head, sizeof(head));
    write_all(fd, answer.bytes, answer.n_bytes);
}

NORETURN static void
answer_all(const struct work *work)
{
    struct names_dwarf *dwarf = NULL;
    struct names_frame frames[NAMES_MOST_FRAMES];
    for (size_t i = work->first; i < work->n_lookups; i++) {
        const struct names_lookup *lookup = &work->lookups[i];
        if (work->limits->before != NULL)
            work->limits->before(lookup->addr);
        if (i == work->first || lookup->fd != lookup[-1].fd) {
            names_dwarf_close(dwarf);
            dwarf = names_dwarf_open(lookup->fd, lookup->path);
        }
        say(work->answers, i, frames,
            dwarf == NULL ? 0
                          : names_dwarf_frames(dwarf, lookup->addr, frames));
    }
    _exit(EXIT_SUCCESS);
}

/* ---- the parent -------------------------------------------------------- */

struct child {
    pid_t pid;
    int answers;          /* the pipe's reading end */
    uint64_t image_ms;    /* when it began with its image */
    unsigned char *bytes; /* not taken yet; room for MOST_ANSWER */
    size_t n_bytes;
};

static uint64_t
now_ms(void)
{
    return clock_us(CLOCK_MONOTONIC) / 1000;
}

/* False: there is no process, or no pipe, to be had. */
static bool
start(struct child *child, struct work *work)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return false;
    const pid_t parent = getpid();
    child->pid = fork();
    if (child->pid == 0) {
        work->answers = ends[1];
        confine(work, parent);
        answer_all(work);
    }
    close(ends[1]);
    child->answers = ends[0];
    child->n_bytes = 0;
    child->image_ms = now_ms();
    if (child->pid > 0)
        return true;
    close(ends[0]);
    return false;
}

static void
end(const struct child *child)
{
    kill(child->pid, SIGKILL);
    while (waitpid(child->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    close(child->answers);
}

/* Reads more; false: there is none, and will be none until deadline_ms. */
static bool
read_more(struct child *child, uint64_t deadline_ms)
{
    struct pollfd more = {.fd = child->answers, .events = POLLIN};
    for (;;) {
        const uint64_t now = now_ms();
        if (now >= deadline_ms)
            return false;
        const uint64_t left = deadline_ms - now;
        const int n = poll(&more, 1, left < 60000 ? (int)left : 60000);
        if (n < 0 && errno != EINTR)
            return false;
        if (n > 0)
            break;
    }
    const ssize_t n = read(child->answers, child->bytes + child->n_bytes,
                           (size_t)MOST_ANSWER - child->n_bytes);
    child->n_bytes += n < 0 ? 0 : (size_t)n;
    return n > 0;
}

/* A text of the answer as a string at *room, which moves behind it. */
static const char *
take_text(struct bytes *texts, size_t n_bytes, char **room)
{
    char *text = *room;
    bytes_take(texts, text, n_bytes);
    text[n_bytes] = '\0';
    *room += n_bytes + 1;
    return text;
}

/* What follows a head. False: it is not what we agreed upon. */
static bool
tell(struct bytes *follows, const struct head *head,
     const struct names_listener *listener)
{
    struct names_frame frames[NAMES_MOST_FRAMES];
    struct place places[NAMES_MOST_FRAMES];
    char strings[NAMES_MOST_FRAMES * 2 * (MOST_TEXT + 1)];
    char *room = strings;
    for (size_t i = 0; i < head->n_frames; i++) {
        bytes_take(follows, &places[i], sizeof(places[i]));
        if (places[i].function_bytes > MOST_TEXT ||
            places[i].file_bytes > MOST_TEXT)
            return false;
    }
    for (size_t i = 0; i < head->n_frames; i++) {
        frames[i].line = places[i].line;
        frames[i].function =
            take_text(follows, places[i].function_bytes, &room);
        frames[i].file = take_text(follows, places[i].file_bytes, &room);
    }
    if (!bytes_ok(follows) || follows->left != 0)
        return false;
    listener->told(listener->context, head->lookup, frames, head->n_frames);
    return true;
}

/* Takes what is whole, in order. False: it makes no sense. */
static bool
take_answers(struct child *child, struct work *work,
             const struct names_listener *listener)
{
    struct bytes all = bytes_over(child->bytes, child->n_bytes);
    while (all.left >= sizeof(struct head)) {
        struct bytes ahead = all;
        struct head head;
        bytes_take(&ahead, &head, sizeof(head));
        if (work->first == work->n_lookups || head.lookup != work->first ||
            head.n_frames > NAMES_MOST_FRAMES || head.n_bytes > MOST_FOLLOWS)
            return false;
        if (head.n_bytes > ahead.left)
            break;
        struct bytes follows =
            bytes_over(bytes_view(&ahead, head.n_bytes), head.n_bytes);
        if (!tell(&follows, &head, listener))
            return false;
        const size_t at = work->first++;
        if (work->first < work->n_lookups &&
            work->lookups[at].fd != work->lookups[at + 1].fd)
            child->image_ms = now_ms();
        all = ahead;
    }
    memmove(child->bytes, all.at, all.left);
    child->n_bytes = all.left;
    return true;
}

/* Of one child, until it has answered all or is not worth waiting for. */
static void
listen_to(struct child *child, struct work *work, uint64_t deadline_ms,
          const struct names_listener *listener)
{
    while (work->first < work->n_lookups) {
        const uint64_t image_ms = child->image_ms + work->limits->image_ms;
        if (!read_more(child,
                       image_ms < deadline_ms ? image_ms : deadline_ms) ||
            !take_answers(child, work, listener))
            return;
    }
}

/* The number of lookups that the image of the next one costs. */
static size_t
give_up(struct work *work, const struct names_listener *listener)
{
    const size_t from = work->first;
    listener->given_up(listener->context, from);
    while (work->first < work->n_lookups &&
           work->lookups[work->first].fd == work->lookups[from].fd)
        work->first++;
    return work->first - from;
}

size_t
names_child_ask(const struct names_lookup *lookups, size_t n_lookups,
                const struct names_limits *limits,
                const struct names_listener *listener)
{
    const uint64_t deadline_ms = now_ms() + limits->total_ms;
    struct work work = {lookups, n_lookups, .limits = limits, .answers = -1};
    struct child child = {.bytes = xcalloc(MOST_ANSWER, 1)};
    size_t n_lost = 0;
    while (work.first < n_lookups && now_ms() < deadline_ms &&
           start(&child, &work)) {
        listen_to(&child, &work, deadline_ms, listener);
        end(&child);
        if (work.first < n_lookups && now_ms() < deadline_ms)
            n_lost += give_up(&work, listener);
    }
    free(child.bytes);
    return n_lost + (n_lookups - work.first);
}
