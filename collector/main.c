/*
 * residued - receives what traced processes tell, models it, records it
 *
 * In two ways: for one run, started by `residue run`, whose end it waits for;
 * and by itself, for whatever processes of this user introduce themselves,
 * until it is told to stop.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "collector/inspection.h"
#include "collector/loop.h"
#include "collector/recording.h"
#include "collector/registry.h"
#include "collector/rendezvous.h"
#include "collector/roster.h"
#include "collector/survey.h"
#include "include/attrs.h"
#include "include/clock.h"
#include "include/recording.h"
#include "include/rendezvous.h"
#include "include/sampling.h"
#include "include/xalloc.h"

enum {
    EXIT_USAGE = 2,
    TICK_NS = RECORDING_TICK_US * 1000,
    /* How long `run` is kept waiting for processes that outlive its CMD. */
    LINGER_US = 400000,
    OOM_OFFER = 500, /* thousandths of the memory there is */
    OOM_MOST = 1000,
};

/* The preload stays out of programs that export this name. */
EXPORT extern const char residue_is_no_target;
const char residue_is_no_target = 1;

struct options {
    char socket[RENDEZVOUS_PATH_BYTES];
    const char *output;
    int launcher; /* descriptor of the one who started us; -1: nobody */
    struct inspection_plan inspection; /* pid 0: none */
    enum wire_level level;
    uint64_t sample_bytes;
    bool waits_on_full;
    const char *lives; /* a directory; NULL: they are not written */
};

/* A mark on its way: answered when its censuses are committed. */
struct mark {
    struct connection *connection; /* NULL: the launcher of an inspection */
    struct collector *collector;
    unsigned n_filed;
    unsigned n_left;
    uint64_t t_us;
};

struct collector {
    struct loop *loop;
    struct survey *survey;
    struct recording *recording;
    struct roster *roster;
    struct inspection *inspection; /* NULL: processes introduce themselves */
    unsigned n_untold; /* of its censuses, on their way to the file */
    struct rendezvous *rendezvous;
    struct watch timer;
    struct watch signals;
    struct watch surveyed;
    struct watch committed;
    int launcher;   /* -1: nobody */
    bool has_ended; /* the launcher's CMD, or the launcher */
    uint64_t ended_us;
    struct connection *ending; /* waits for the seal; NULL: nobody does */
};

/* ---- marks ------------------------------------------------------------- */

static void
mark_reached_recording(void *context)
{
    struct mark *mark = context;
    if (--mark->n_left == 0)
        recording_put_sync(mark->collector->recording, mark);
}

static void
tell_launcher(const struct collector *collector, uint64_t t_us)
{
    const struct control_reply reply = {
        .magic = CONTROL_MAGIC,
        .version = CONTROL_VERSION,
        .status = CONTROL_OK,
        .t_us = t_us,
        .pid = getpid(),
        .count = 1,
    };
    send(collector->launcher, &reply, sizeof(reply),
         MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void
answer_mark(struct mark *mark)
{
    if (mark->connection == NULL) {
        mark->collector->n_untold--;
        tell_launcher(mark->collector, mark->t_us);
    } else {
        rendezvous_reply(mark->connection, CONTROL_OK, "", mark->n_filed,
                         mark->t_us);
    }
    free(mark);
}

/* A census of an inspection: its launcher hears of it when it is committed. */
static void
on_taken(void *context)
{
    struct collector *collector = context;
    struct mark *mark = xcalloc(1, sizeof(*mark));
    mark->collector = collector;
    mark->t_us = recording_now_us(collector->recording);
    collector->n_untold++;
    recording_put_sync(collector->recording, mark);
}

static void
set_mark(struct collector *collector, struct connection *connection,
         const struct control_request *request)
{
    struct mark *mark = xcalloc(1, sizeof(*mark));
    mark->connection = connection;
    mark->collector = collector;
    mark->t_us = recording_now_us(collector->recording);
    mark->n_filed =
        collector->inspection != NULL
            ? inspection_mark(collector->inspection, request->pid,
                              request->text, mark_reached_recording, mark)
            : roster_mark(collector->roster, request->pid, request->text,
                          mark_reached_recording, mark);
    mark->n_left = mark->n_filed;
    if (mark->n_filed != 0) {
        recording_put_event(collector->recording, RECORDING_UNKNOWN, "mark",
                            request->text);
        return;
    }
    free(mark);
    rendezvous_reply(connection, CONTROL_NO_PROCESS,
                     request->pid == 0 ? "no process lives any more"
                                       : "no traced process has this pid",
                     0, 0);
}

static void
on_committed(void *context)
{
    struct collector *collector = context;
    struct mark *mark;
    while ((mark = recording_fetch(collector->recording)) != NULL)
        answer_mark(mark);
}

/* ---- the launcher ------------------------------------------------------ */

static void
note_end(struct collector *collector)
{
    collector->has_ended = true;
    collector->ended_us = recording_now_us(collector->recording);
}

static void
on_launcher_gone(void *context)
{
    note_end(context);
}

static void
on_asked(void *context, struct connection *connection,
         const struct control_request *request)
{
    struct collector *collector = context;
    const uint64_t now_us = recording_now_us(collector->recording);
    switch (request->kind) {
    case CONTROL_STATUS:
        rendezvous_reply(connection, CONTROL_OK, "",
                         roster_n_open(collector->roster), now_us);
        break;
    case CONTROL_MARK:
        set_mark(collector, connection, request);
        break;
    case CONTROL_ENDED:
        if (!rendezvous_is_adopted(connection)) {
            rendezvous_reply(connection, CONTROL_MALFORMED,
                             "only the launcher may say so", 0, now_us);
            break;
        }
        roster_set_exit(collector->roster, request->pid, request->status);
        note_end(collector);
        collector->ending = connection;
        break;
    default:
        rendezvous_reply(connection, CONTROL_MALFORMED, "no such request", 0,
                         now_us);
        break;
    }
}

/* Whether the run is over, and whether its launcher must be let go before. */
static void
after_round(void *context)
{
    struct collector *collector = context;
    if (collector->inspection != NULL) {
        if (collector->has_ended)
            inspection_stop(collector->inspection);
        if (inspection_is_over(collector->inspection) &&
            collector->n_untold == 0)
            loop_stop(collector->loop);
        return;
    }
    if (!collector->has_ended)
        return;
    if (roster_is_over(collector->roster)) {
        loop_stop(collector->loop);
        return;
    }
    const uint64_t now_us = recording_now_us(collector->recording);
    if (collector->ending != NULL && now_us - collector->ended_us > LINGER_US) {
        rendezvous_reply(collector->ending, CONTROL_STILL_LIVE, "",
                         roster_n_open(collector->roster), now_us);
        collector->ending = NULL;
    }
}

/* ---- watches ----------------------------------------------------------- */

static bool
on_introduced(void *context, const struct introduction *introduction)
{
    struct collector *collector = context;
    if (collector->inspection == NULL)
        return roster_introduce(collector->roster, introduction);
    for (size_t i = 0; i < countof(introduction->fds); i++)
        close(introduction->fds[i]);
    return false;
}

static void
on_tick(void *context)
{
    struct collector *collector = context;
    uint64_t n_ticks;
    if (read(collector->timer.fd, &n_ticks, sizeof(n_ticks)) < 0)
        return;
    if (collector->inspection != NULL)
        inspection_tick(collector->inspection);
    else
        roster_tick(collector->roster);
    rendezvous_tick(collector->rendezvous);
}

static void
on_surveyed(void *context)
{
    struct collector *collector = context;
    if (collector->inspection != NULL)
        inspection_fetch(collector->inspection);
    else
        roster_fetch(collector->roster);
}

static void
on_signal(void *context)
{
    struct collector *collector = context;
    struct signalfd_siginfo signal;
    if (read(collector->signals.fd, &signal, sizeof(signal)) == sizeof(signal))
        loop_stop(collector->loop);
}

static int
open_timer(void)
{
    const int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    const struct itimerspec period = {
        .it_interval = {.tv_nsec = TICK_NS},
        .it_value = {.tv_nsec = TICK_NS},
    };
    if (fd < 0 || timerfd_settime(fd, 0, &period, NULL) != 0)
        err(EXIT_FAILURE, "no timer is to be had");
    return fd;
}

static int
open_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* then it is a full disk */
    const int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        err(EXIT_FAILURE, "signals cannot be received");
    return fd;
}

static void
watch(struct collector *collector, struct watch *watch, int fd,
      void (*ready)(void *context))
{
    *watch = (struct watch){.fd = fd, .ready = ready, .context = collector};
    if (!loop_add(collector->loop, watch))
        err(EXIT_FAILURE, "a descriptor cannot be watched");
}

/* ---- start ------------------------------------------------------------- */

/* Seven descriptors a process: as many as may be had. */
static void
raise_limits(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/*
 * Who measures memory must not cost a program its life: where none is left, the
 * kernel counts this program as if it used half of it more. So it goes before
 * every program but one that uses more than half, whose end it is to record.
 * Where that cannot be offered nothing is lost.
 */
static void
offer_own_life(void)
{
    int inherited;
    FILE *file = fopen("/proc/self/oom_score_adj", "r+e");
    if (file == NULL)
        return;
    if (fscanf(file, "%d", &inherited) == 1) {
        const int offered = inherited + OOM_OFFER;
        rewind(file);
        fprintf(file, "%d", offered < OOM_MOST ? offered : OOM_MOST);
    }
    fclose(file);
}

/* Tells the launcher, or the user, that this collector cannot work. */
NORETURN static void
refuse(const struct options *options, const char *what, const char *why)
{
    if (options->launcher >= 0) {
        struct control_reply reply = {
            .magic = CONTROL_MAGIC,
            .version = CONTROL_VERSION,
            .status = CONTROL_FAILED,
        };
        snprintf(reply.text, sizeof(reply.text), "%s: %s", what, why);
        send(options->launcher, &reply, sizeof(reply), MSG_NOSIGNAL);
        exit(EXIT_FAILURE);
    }
    errx(EXIT_FAILURE, "%s: %s", what, why);
}

/*
 * Without a launcher the output is a directory, and the file gets a name: in a
 * container each collector has the same pid as the one before.
 */
static char *
recording_path(const struct options *options)
{
    if (options->launcher >= 0)
        return xstrdup(options->output);
    char *path = xasprintf("%s/residue.%d.rec", options->output, getpid());
    for (unsigned i = 1; access(path, F_OK) == 0; i++) {
        free(path);
        path = xasprintf("%s/residue.%d.%u.rec", options->output, getpid(), i);
    }
    return path;
}

static void
open_inspection(struct collector *collector, const struct options *options)
{
    char why[256];
    struct inspection_plan plan = options->inspection;
    plan.taken = on_taken;
    plan.context = collector;
    collector->inspection = inspection_create(
        &plan, collector->survey, collector->recording, why, sizeof(why));
    if (collector->inspection != NULL)
        return;
    rendezvous_close(collector->rendezvous);
    refuse(options, "it cannot be read", why);
}

static void
open_all(struct collector *collector, const struct options *options)
{
    char why[256];
    const struct rendezvous_listener listener = {
        .introduced = on_introduced,
        .asked = on_asked,
        .context = collector,
    };
    /* Before any thread is made, which would not have the signals blocked. */
    const int signals = open_signals();
    collector->loop = loop_create();
    if (collector->loop == NULL)
        err(EXIT_FAILURE, "no epoll is to be had");
    collector->rendezvous = rendezvous_open(collector->loop, options->socket,
                                            &listener, why, sizeof(why));
    if (collector->rendezvous == NULL)
        refuse(options, options->socket, why);
    rendezvous_set_level(collector->rendezvous, options->level);
    rendezvous_set_sample(collector->rendezvous, options->sample_bytes);
    rendezvous_set_on_full(collector->rendezvous, options->waits_on_full);
    char *path = recording_path(options);
    collector->recording =
        recording_open(path, options->socket, why, sizeof(why));
    if (collector->recording == NULL) {
        rendezvous_close(collector->rendezvous);
        refuse(options, path, why);
    }
    registry_open(path);
    free(path);
    collector->survey = survey_create();
    if (collector->survey == NULL)
        refuse(options, "residued", "no thread is to be had");
    collector->roster =
        roster_create(collector->loop, collector->survey, collector->recording);
    collector->launcher = options->launcher;
    if (options->inspection.pid != 0)
        open_inspection(collector, options);
    watch(collector, &collector->signals, signals, on_signal);
    watch(collector, &collector->timer, open_timer(), on_tick);
    watch(collector, &collector->surveyed, survey_fd(collector->survey),
          on_surveyed);
    watch(collector, &collector->committed, recording_fd(collector->recording),
          on_committed);
}

static void
greet_launcher(struct collector *collector, int fd)
{
    const struct control_reply reply = {
        .magic = CONTROL_MAGIC,
        .version = CONTROL_VERSION,
        .status = CONTROL_OK,
        .pid = getpid(),
    };
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    rendezvous_adopt(collector->rendezvous, fd, on_launcher_gone);
    send(fd, &reply, sizeof(reply), MSG_NOSIGNAL);
}

/* ---- end --------------------------------------------------------------- */

/* Everything is written before the launcher hears that it is. */
static bool
close_all(struct collector *collector, const struct options *options)
{
    roster_finish(collector->roster);
    if (options->lives != NULL)
        roster_write_lives(collector->roster, options->lives);
    if (collector->inspection != NULL)
        inspection_finish(collector->inspection);
    survey_destroy(collector->survey);
    recording_put_number(collector->recording, "collector_cpu_us",
                         (int64_t)clock_us(CLOCK_PROCESS_CPUTIME_ID));
    roster_destroy(collector->roster);
    inspection_destroy(collector->inspection);
    const uint64_t now_us = recording_now_us(collector->recording);
    const bool is_sealed = recording_seal(collector->recording);
    if (collector->ending != NULL)
        rendezvous_reply(
            collector->ending, is_sealed ? CONTROL_OK : CONTROL_FAILED,
            is_sealed ? "" : "the recording could not be sealed", 0, now_us);
    rendezvous_close(collector->rendezvous);
    loop_destroy(collector->loop);
    return is_sealed;
}

/* ---- options ----------------------------------------------------------- */

static const char help[] =
    "usage: residued [--socket PATH] [--output DIR] [--exact]\n"
    "                [--native-stacks] [--sample BYTES] [--on-full=wait|drop]\n"
    "\n"
    "Records every process of this user that is started with\n"
    "LD_PRELOAD=.../libresidue-preload.so, until it gets SIGTERM or SIGINT.\n"
    "\n"
    "  --socket PATH  where processes introduce themselves (default: `socket`\n"
    "                 in the user's directory; RESIDUE_SOCKET tells them)\n"
    "  --output DIR   where the recording goes (default: here)\n"
    "  --exact        every call of malloc and free, in order\n"
    "  --native-stacks\n"
    "                 the same, and of each block the stack that made it\n"
    "  --sample BYTES without --exact: how far apart on average the bytes are\n"
    "                 whose blocks tell their stack (default: 512K; 0: none)\n"
    "  --on-full=drop a program that is faster than we read goes on, and what\n"
    "                 it could not tell is lost, and counted (the default)\n"
    "  --on-full=wait it waits, but never longer than 10 s (0.1 s without\n"
    "                 --exact)\n"
    "  --help         this text\n";

static void
default_socket(char *path)
{
    if (!rendezvous_make_directory(path) ||
        !rendezvous_append(path, "/" RENDEZVOUS_SOCKET))
        errx(EXIT_FAILURE,
             "no private directory for the socket: set XDG_RUNTIME_DIR, or "
             "name one with --socket");
}

enum {
    SOCKET = 256,
    OUTPUT,
    EXACT,
    STACKS,
    SAMPLE,
    ON_FULL,
    LAUNCHER,
    INSPECT,
    EVERY,
    TIMES,
    LIVES,
    HELP,
};

static bool
is_wait(const char *word)
{
    const bool is_it = strcmp(word, "wait") == 0;
    if (!is_it && strcmp(word, "drop") != 0)
        errx(EXIT_USAGE, "--on-full=%s: it is wait or drop", word);
    return is_it;
}

static void
take_option(struct options *options, int option)
{
    switch (option) {
    case SOCKET:
        options->socket[0] = '\0';
        if (!rendezvous_append(options->socket, optarg))
            errx(EXIT_USAGE, "%s: longer than a socket's path may be", optarg);
        break;
    case OUTPUT:
        options->output = optarg;
        break;
    case EXACT:
        if (options->level < WIRE_LEVEL_EXACT)
            options->level = WIRE_LEVEL_EXACT;
        break;
    case STACKS:
        options->level = WIRE_LEVEL_STACKS;
        break;
    case SAMPLE:
        if (!sampling_parse(optarg, &options->sample_bytes))
            errx(EXIT_USAGE,
                 "--sample %s: it is a number of bytes, as 512K or 1M", optarg);
        break;
    case ON_FULL:
        options->waits_on_full = is_wait(optarg);
        break;
    case LAUNCHER:
        options->launcher = atoi(optarg);
        break;
    case INSPECT:
        options->inspection.pid = atoi(optarg);
        break;
    case EVERY:
        options->inspection.period_us = strtoull(optarg, NULL, 10);
        break;
    case TIMES:
        options->inspection.n_times = strtoull(optarg, NULL, 10);
        break;
    case LIVES:
        options->lives = optarg;
        break;
    case HELP:
        fputs(help, stdout);
        exit(EXIT_SUCCESS);
    default:
        fputs(help, stderr);
        exit(EXIT_USAGE);
    }
}

static struct options
parse(int argc, char **argv)
{
    static const struct option known[] = {
        {"socket",        required_argument, NULL, SOCKET  },
        {"output",        required_argument, NULL, OUTPUT  },
        {"exact",         no_argument,       NULL, EXACT   },
        {"native-stacks", no_argument,       NULL, STACKS  },
        {"sample",        required_argument, NULL, SAMPLE  },
        {"on-full",       required_argument, NULL, ON_FULL },
 /* Of `residue run` and `residue inspect`, as are the next three. */
        {"launcher-fd",   required_argument, NULL, LAUNCHER},
        {"inspect",       required_argument, NULL, INSPECT },
        {"every-us",      required_argument, NULL, EVERY   },
        {"times",         required_argument, NULL, TIMES   },
        {"lives",         required_argument, NULL, LIVES   }, /* of tests */
        {"help",          no_argument,       NULL, HELP    },
        {NULL,            0,                 NULL, 0       },
    };
    struct options options = {
        .output = ".",
        .launcher = -1,
        .sample_bytes = SAMPLING_DEFAULT_BYTES,
    };
    int option;
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1)
        take_option(&options, option);
    if (optind != argc)
        errx(EXIT_USAGE, "%s: no argument is expected; see residued --help",
             argv[optind]);
    if (options.socket[0] == '\0')
        default_socket(options.socket);
    return options;
}

int
main(int argc, char **argv)
{
    const struct options options = parse(argc, argv);
    struct collector collector = {0};
    raise_limits();
    offer_own_life();
    open_all(&collector, &options);
    if (options.launcher >= 0)
        greet_launcher(&collector, options.launcher);
    else
        printf("listening at %s\n", options.socket);
    fflush(stdout);
    loop_run(collector.loop, after_round, &collector);
    return close_all(&collector, &options) ? EXIT_SUCCESS : EXIT_FAILURE;
}
