#include "preload/sink.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "include/attrs.h"
#include "tests/unit/check.h"
#include "tests/unit/scratch.h"

/* ---- a collector's side of the socket ---------------------------------- */

static struct scratch scratch;
static char path[SCRATCH_PATH_BYTES];
static int listener = -1;

static void
set_up(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    scratch = scratch_create();
    scratch_path(&scratch, "socket", path);
    check_true(strlen(path) < sizeof(address.sun_path));
    strcpy(address.sun_path, path);
    listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    check_eq(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
    check_eq(listen(listener, 8), 0);
    check_true(sink_address(path));
}

static void
clean_up(void)
{
    close(listener);
    scratch_remove(&scratch);
}

TestSuite(sink, .init = set_up, .fini = clean_up, .timeout = 20);

/* What came with one hello. */
struct met {
    struct wire_hello hello;
    char texts[64];
    ssize_t n_bytes;
    int fds[WIRE_N_FDS];
    size_t n_fds;
    int connection;
};

static struct met met;
static _Atomic int answer; /* enum wire_verdict; -1: none */
static uint32_t full_wait_ms = 20;

static void
receive(void)
{
    struct iovec parts[] = {
        {&met.hello, sizeof(met.hello)},
        {met.texts,  sizeof(met.texts)}
    };
    union {
        char bytes[CMSG_SPACE(sizeof(met.fds))];
        struct cmsghdr alignment;
    } control;
    struct msghdr message = {
        .msg_iov = parts,
        .msg_iovlen = countof(parts),
        .msg_control = control.bytes,
        .msg_controllen = sizeof(control.bytes),
    };
    met.n_bytes = recvmsg(met.connection, &message, 0);
    const struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    if (rights == NULL)
        return;
    met.n_fds = (rights->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    memcpy(met.fds, CMSG_DATA(rights), sizeof(met.fds));
}

static void *
serve(void *context)
{
    met.connection = accept(listener, NULL, NULL);
    receive();
    if (answer >= 0) {
        const struct wire_welcome welcome = {
            .magic = WIRE_MAGIC,
            .version = WIRE_VERSION,
            .verdict = (uint16_t)answer,
            .full_wait_ms = full_wait_ms,
        };
        if (send(met.connection, &welcome, sizeof(welcome), MSG_NOSIGNAL) < 0)
            return NULL;
    }
    return context;
}

/* Opens the sink; the collector gives this answer. */
static bool
open_with(int verdict)
{
    static const struct wire_hello hello = {
        .magic = WIRE_MAGIC, .pid = 7, .exe_bytes = 3, .command_bytes = 4};
    const struct sink_texts texts = {"exe", 3, "argv", 4};
    const int shared = memfd_create("shared", MFD_CLOEXEC);
    pthread_t collector;
    answer = verdict;
    pthread_create(&collector, NULL, serve, NULL);
    struct sink_terms terms = {0};
    const bool is_open = sink_open(&hello, &texts, shared, 1000, &terms);
    pthread_join(collector, NULL);
    close(shared);
    return is_open;
}

/* No descriptor of ours is higher: the sink raises no limit beyond it. */
enum { HIGHEST_FD = 65536 };

static unsigned
n_descriptors(void)
{
    unsigned n = 0;
    for (int fd = 0; fd <= HIGHEST_FD; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static char batch[WIRE_BATCH_BYTES];

/* The write end, which the sink keeps up high. */
static int
write_end(void)
{
    int fd = HIGHEST_FD;
    while (fd >= 100 && fcntl(fd, F_GETFD) < 0)
        fd--;
    return fd < 100 ? -1 : fd;
}

/* ---- meeting ----------------------------------------------------------- */

Test(sink, a_hello_comes_with_its_texts_and_seven_descriptors)
{
    check_true(open_with(WIRE_WELCOME));
    check_eq(met.n_bytes, sizeof(met.hello) + 7);
    check_eq(met.hello.pid, 7);
    check_eq(memcmp(met.texts, "exeargv", 7), 0);
    check_eq(met.n_fds, WIRE_N_FDS);
    static const char *const names[] = {
        [WIRE_FD_MEM] = "mem",         [WIRE_FD_MAPS] = "maps",
        [WIRE_FD_SMAPS] = "smaps",     [WIRE_FD_ROLLUP] = "smaps_rollup",
        [WIRE_FD_PAGEMAP] = "pagemap",
    };
    for (unsigned i = WIRE_FD_MEM; i < WIRE_N_FDS; i++) {
        char link[64];
        char target[256];
        snprintf(link, sizeof(link), "/proc/self/fd/%d", met.fds[i]);
        const ssize_t n = readlink(link, target, sizeof(target) - 1);
        check_ge(n, 1);
        target[n] = '\0';
        check_text(strrchr(target, '/') + 1, names[i]);
        check_eq(fcntl(met.fds[i], F_GETFL) & O_ACCMODE, O_RDONLY);
    }
}

Test(sink, one_descriptor_is_kept_up_high_and_close_on_exec)
{
    const unsigned before = n_descriptors();
    check_true(open_with(WIRE_WELCOME));
    /* The other side's are in this process too: seven and the connection. */
    check_eq(n_descriptors(), before + 1 + WIRE_N_FDS + 1);
    check_ge(write_end(), 256);
    check_true((fcntl(write_end(), F_GETFD) & FD_CLOEXEC) != 0);
    sink_close();
    check_eq(write_end(), -1);
    check_eq(sink_write(batch, 1, true), SINK_GONE);
}

/* Where neither a loop that closes all nor one that looks at all gets to. */
Test(sink, where_there_is_room_the_number_is_beyond_the_programs_limit)
{
    struct rlimit limit;
    check_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = 300;
    check_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_max <= 300)
        cr_skip_test("there is no room above the limit");
    check_true(open_with(WIRE_WELCOME));
    check_eq(write_end(), 300);
    check_eq(sink_write(batch, 1, true), SINK_SENT);
    struct rlimit after;
    check_eq(getrlimit(RLIMIT_NOFILE, &after), 0);
    check_eq(after.rlim_cur, 300);
    check_eq(after.rlim_max, limit.rlim_max);
}

/* Fails while it stays where it was made, among the program's own. */
Test(sink, where_64_descriptors_are_all_it_is_the_last)
{
    const struct rlimit limit = {64, 64};
    check_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    check_true(open_with(WIRE_WELCOME));
    check_eq(fcntl(63, F_GETFD), FD_CLOEXEC);
    check_eq(sink_write(batch, 1, true), SINK_SENT);
    sink_close();
    check_eq(fcntl(63, F_GETFD), -1);
}

Test(sink, who_is_refused_leaves_nothing_open)
{
    const unsigned before = n_descriptors();
    check_false(open_with(WIRE_REFUSED_VERSION));
    for (unsigned i = 0; i < WIRE_N_FDS; i++)
        close(met.fds[i]);
    close(met.connection);
    check_eq(n_descriptors(), before);
    check_eq(sink_write(batch, 1, true), SINK_GONE);
}

Test(sink, a_collector_of_another_user_never_gets_our_memory)
{
    struct sink_terms terms = {0};
    const struct wire_hello hello = {0};
    const struct sink_texts texts = {"", 0, "", 0};
    if (seteuid(12345) != 0)
        cr_skip_test("becoming another user needs root");
    check_eq(listen(listener, 8), 0); /* whose credentials are shown */
    check_eq(seteuid(0), 0);
    check_false(sink_open(&hello, &texts, 0, 0, &terms));
}

Test(sink, without_a_collector_there_is_no_sink)
{
    struct sink_terms terms = {0};
    const struct wire_hello hello = {0};
    const struct sink_texts texts = {"", 0, "", 0};
    const unsigned before = n_descriptors();
    check_true(sink_address("/no/such/socket"));
    check_false(sink_open(&hello, &texts, 0, 100, &terms));
    check_eq(n_descriptors(), before);
}

Test(sink, a_silent_collector_is_waited_for_only_so_long)
{
    struct sink_terms terms = {0};
    const struct wire_hello hello = {0};
    const struct sink_texts texts = {"", 0, "", 0};
    check_false(sink_open(&hello, &texts, 0, 50, &terms)); /* nobody accepts */
    check_true(
        sink_open(&hello, &texts, 0, 0, &terms)); /* nor is it waited for */
    sink_close();
}

Test(sink, a_path_must_fit_into_an_address)
{
    char text[200];
    memset(text, 'x', sizeof(text));
    text[107] = '\0';
    check_true(sink_address(text));
    text[107] = 'x';
    text[108] = '\0';
    check_false(sink_address(text));
    check_false(sink_address(""));
}

Test(sink, a_process_that_is_not_dumpable_hands_its_files_over)
{
    check_eq(prctl(PR_SET_DUMPABLE, 0), 0);
    check_true(open_with(WIRE_WELCOME));
    check_eq(met.n_fds, WIRE_N_FDS);
    check_eq(prctl(PR_GET_DUMPABLE), 0);
    char byte;
    check_eq(pread(met.fds[WIRE_FD_MEM], &byte, 1, (off_t)(uintptr_t)batch), 1);
}

/* ---- writing ----------------------------------------------------------- */

Test(sink, a_batch_comes_out_as_it_went_in)
{
    char came[WIRE_BATCH_BYTES];
    check_true(open_with(WIRE_WELCOME));
    memset(batch, 0x5a, sizeof(batch));
    check_eq(sink_write(batch, 1, true), SINK_SENT);
    check_eq(read(met.fds[WIRE_FD_PIPE], came, sizeof(came)), sizeof(came));
    check_eq(memcmp(came, batch, sizeof(came)), 0);
}

Test(sink, a_full_pipe_is_waited_for_and_then_given_up)
{
    check_true(open_with(WIRE_WELCOME));
    unsigned n = 0;
    enum sink_result result;
    while ((result = sink_write(batch, 1, true)) == SINK_SENT && n < 1000)
        n++;
    check_eq(result, SINK_FULL);
    check_ge(n, 1);
    char came[WIRE_BATCH_BYTES];
    check_eq(read(met.fds[WIRE_FD_PIPE], came, sizeof(came)), sizeof(came));
    check_eq(sink_write(batch, 1, true), SINK_SENT);
}

Test(sink, a_pipe_that_stays_full_is_waited_for_once)
{
    struct timespec before;
    struct timespec after;
    check_true(open_with(WIRE_WELCOME));
    while (sink_write(batch, 1, true) == SINK_SENT)
        continue;
    clock_gettime(CLOCK_MONOTONIC, &before);
    for (unsigned i = 0; i < 50; i++)
        check_eq(sink_write(batch, 1, true), SINK_FULL);
    clock_gettime(CLOCK_MONOTONIC, &after);
    check_le((after.tv_sec - before.tv_sec) * 1000 +
                 (after.tv_nsec - before.tv_nsec) / 1000000,
             20 * 10); /* not 50 times what the collector allowed */
}

static uint64_t
now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void
fill(void)
{
    check_true(open_with(WIRE_WELCOME));
    while (sink_write(batch, 1, false) == SINK_SENT)
        continue;
}

static void
ignore(int number)
{
    (void)number;
}

/* Slice after slice, and whatever signals come: neither less nor more. */
Test(sink, a_write_waits_for_as_long_as_the_collector_allowed)
{
    full_wait_ms = 400;
    fill();
    const struct sigaction action = {.sa_handler = ignore};
    sigaction(SIGALRM, &action, NULL);
    const struct itimerval often = {
        {0, 3000},
        {0, 3000}
    };
    setitimer(ITIMER_REAL, &often, NULL);
    const uint64_t before_ms = now_ms();
    check_eq(sink_write(batch, 1, true), SINK_FULL);
    check_ge(now_ms() - before_ms, 400);
    check_le(now_ms() - before_ms, 8000);
}

/* What is written in pieces ends with a whole batch, and none is torn. */
Test(sink, where_nobody_waits_only_whole_batches_are_lost)
{
    static char five[5 * WIRE_BATCH_BYTES];
    char came[WIRE_BATCH_BYTES];
    full_wait_ms = 0;
    check_true(open_with(WIRE_WELCOME));
    check_eq(sink_write(batch, 1, true), SINK_SENT);
    check_eq(read(met.fds[WIRE_FD_PIPE], came, sizeof(came)), sizeof(came));
    unsigned n = 0;
    enum sink_result result;
    do {
        for (unsigned i = 0; i < 5; i++)
            memset(five + i * WIRE_BATCH_BYTES, (int)(n * 5 + i + 1),
                   WIRE_BATCH_BYTES);
        result = sink_write(five, 5, true);
    } while (result == SINK_SENT && ++n < 1000);
    check_eq(result, SINK_FULL);
    check_eq(sink_write(five, 5, true), SINK_FULL);
    unsigned n_came = 0;
    fcntl(met.fds[WIRE_FD_PIPE], F_SETFL, O_NONBLOCK);
    while (read(met.fds[WIRE_FD_PIPE], came, sizeof(came)) == sizeof(came)) {
        memset(batch, (int)++n_came, sizeof(batch));
        check_eq(memcmp(came, batch, sizeof(came)), 0);
    }
    check_ge(n_came, 5 * n);
    check_le(n_came, 5 * n + 4);
    check_eq(sink_write(batch, 1, true), SINK_SENT);
}

static void *
close_soon(void *fd)
{
    usleep(150000);
    close((int)(intptr_t)fd);
    return NULL;
}

/* The suite's time would be over long before the wait is. */
Test(sink, a_collector_that_dies_ends_a_wait)
{
    pthread_t closer;
    full_wait_ms = 600000;
    fill();
    const uint64_t before_ms = now_ms();
    pthread_create(&closer, NULL, close_soon,
                   (void *)(intptr_t)met.fds[WIRE_FD_PIPE]);
    check_eq(sink_write(batch, 1, true), SINK_GONE);
    check_ge(now_ms() - before_ms, 100); /* it did wait */
    pthread_join(closer, NULL);
}

static void *
replace_soon(void *theirs)
{
    usleep(150000);
    dup2((int)(intptr_t)theirs, write_end());
    return NULL;
}

Test(sink, another_file_in_its_place_ends_a_wait)
{
    pthread_t replacer;
    const int theirs = memfd_create("theirs", MFD_CLOEXEC);
    full_wait_ms = 600000;
    fill();
    pthread_create(&replacer, NULL, replace_soon, (void *)(intptr_t)theirs);
    check_eq(sink_write(batch, 1, true), SINK_GONE);
    pthread_join(replacer, NULL);
    struct stat is;
    check_eq(fstat(theirs, &is), 0);
    check_eq(is.st_size, 0);
}

static void *
take_soon(void *context)
{
    static char came[WIRE_BATCH_BYTES];
    usleep(150000);
    if (read(met.fds[WIRE_FD_PIPE], came, sizeof(came)) != sizeof(came))
        return NULL;
    return context;
}

Test(sink, room_ends_a_wait)
{
    pthread_t taker;
    full_wait_ms = 600000;
    fill();
    pthread_create(&taker, NULL, take_soon, NULL);
    check_eq(sink_write(batch, 1, true), SINK_SENT);
    pthread_join(taker, NULL);
}

static volatile sig_atomic_t n_signals;

static void
on_signal(int number)
{
    (void)number;
    n_signals++;
}

Test(sink, a_pipe_without_a_reader_raises_nothing)
{
    check_true(open_with(WIRE_WELCOME));
    signal(SIGPIPE, on_signal);
    close(met.fds[WIRE_FD_PIPE]);
    check_eq(sink_write(batch, 1, true), SINK_GONE);
    check_eq(n_signals, 0);
    sigset_t pending;
    sigpending(&pending);
    check_false(sigismember(&pending, SIGPIPE));
    sigset_t blocked;
    sigprocmask(SIG_SETMASK, NULL, &blocked);
    check_false(sigismember(&blocked, SIGPIPE));
}

Test(sink, a_signal_that_was_pending_before_stays_so)
{
    check_true(open_with(WIRE_WELCOME));
    sigset_t pipe_only;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    sigprocmask(SIG_BLOCK, &pipe_only, NULL);
    raise(SIGPIPE);
    close(met.fds[WIRE_FD_PIPE]);
    check_eq(sink_write(batch, 1, true), SINK_GONE);
    sigset_t pending;
    sigpending(&pending);
    check_true(sigismember(&pending, SIGPIPE));
    sigset_t blocked;
    sigprocmask(SIG_SETMASK, NULL, &blocked);
    check_true(sigismember(&blocked, SIGPIPE));
}

/* ---- a target that meddles --------------------------------------------- */

Test(sink, a_descriptor_that_was_closed_is_not_written_to)
{
    check_true(open_with(WIRE_WELCOME));
    close(write_end());
    check_eq(sink_write(batch, 1, true), SINK_GONE);
}

Test(sink, another_file_in_its_place_never_receives_our_bytes)
{
    char name[SCRATCH_PATH_BYTES];
    check_true(open_with(WIRE_WELCOME));
    scratch_file(&scratch, "theirs", "", 0, 0600, name);
    const int theirs = open(name, O_RDWR);
    const int place = write_end();
    check_eq(dup2(theirs, place), place);
    check_eq(sink_write(batch, 1, true), SINK_GONE);
    struct stat is;
    check_eq(fstat(theirs, &is), 0);
    check_eq(is.st_size, 0);
    sink_close();
    check_ge(fcntl(place, F_GETFD), 0); /* nor is it closed */
}

Test(sink, another_pipe_in_its_place_is_no_sink_either)
{
    int theirs[2];
    check_true(open_with(WIRE_WELCOME));
    check_eq(pipe2(theirs, O_NONBLOCK), 0);
    check_eq(dup2(theirs[1], write_end()), write_end());
    check_eq(sink_write(batch, 1, true), SINK_GONE);
    char byte;
    check_eq(read(theirs[0], &byte, 1), -1);
}
