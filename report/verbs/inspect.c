/*
 * residue inspect - a census of a process that nobody prepared
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "include/rendezvous.h"
#include "include/text.h"
#include "include/xalloc.h"
#include "report/beside.h"
#include "report/control.h"
#include "report/formats/stats_format.h"
#include "report/launch.h"
#include "report/reach.h"
#include "report/replace.h"
#include "report/units.h"
#include "report/verb.h"
#include "report/verbs/arguments.h"
#include "report/verdict/verdict.h"

enum { LEAST_PERIOD_US = 100000 };

static const char help[] =
    "usage: residue inspect PID [-o REC] [-f] [--every TIME [-n N]] [--json]\n"
    "\n"
    "Reads the memory of a running program from outside, once: no preload, no\n"
    "stop, nothing of ours in it. Prints the tables and the verdict, and "
    "leaves\n"
    "a recording. Needs the rights of a debugger: the same user, or\n"
    "CAP_SYS_PTRACE.\n"
    "\n"
    "  -o REC        the recording (default: residue.PROGRAM.PID.rec)\n"
    "  -f            replace REC if it exists\n"
    "  --every TIME  again each 10s (500ms, 2m), until Ctrl-C or its end: "
    "only\n"
    "                from the second census on can a pin be told from an "
    "arena\n"
    "                that fills up\n"
    "  -n N          so many times and no more\n"
    "  --json        as `residue stats --json`\n";

struct options {
    const char *output;
    bool replaces;
    bool is_json;
    uint64_t period_us; /* 0: once */
    uint64_t n_times;   /* 0: without end */
    pid_t pid;
};

struct inspect {
    struct options options;
    struct reach reach;
    char *program; /* residued */
    char *recording;
    char socket[RENDEZVOUS_PATH_BYTES];
    struct collector collector;
    int signals;
};

/* ---- options ----------------------------------------------------------- */

NORETURN static void
refuse_usage(const char *complaint)
{
    if (complaint != NULL)
        fprintf(stderr, "residue inspect: %s\n", complaint);
    else
        fputs(help, stderr);
    exit(EXIT_BAD_USAGE);
}

static uint64_t
parse_period(const char *word)
{
    static const struct {
        const char *unit;
        double us;
    } units[] = {
        {"",   1e6   },
        {"s",  1e6   },
        {"ms", 1e3   },
        {"m",  60e6  },
        {"h",  3600e6},
    };
    char *unit;
    const double number = strtod(word, &unit);
    for (size_t i = 0; i < countof(units); i++) {
        if (unit != word && strcmp(unit, units[i].unit) == 0 && number > 0 &&
            number * units[i].us >= LEAST_PERIOD_US &&
            number * units[i].us < 1e15)
            return (uint64_t)(number * units[i].us);
    }
    refuse_usage("--every wants a time of 100ms at least, like 10s");
}

static uint64_t
parse_number(const char *word, uint64_t most, const char *complaint)
{
    char *end;
    errno = 0;
    const uint64_t number = strtoull(word, &end, 10);
    if (word[0] < '0' || word[0] > '9' || *end != '\0' || errno != 0 ||
        number == 0 || number > most)
        refuse_usage(complaint);
    return number;
}

static struct options
parse(int argc, char **argv)
{
    enum { EVERY = 256, JSON, HELP };
    static const struct option known[] = {
        {"every", required_argument, NULL, EVERY},
        {"json",  no_argument,       NULL, JSON },
        {"help",  no_argument,       NULL, HELP },
        {NULL,    0,                 NULL, 0    },
    };
    struct options options = {0};
    int option;
    while ((option = getopt_long(argc, argv, "o:fn:h", known, NULL)) != -1) {
        switch (option) {
        case 'o':
            options.output = optarg;
            break;
        case 'f':
            options.replaces = true;
            break;
        case 'n':
            options.n_times = parse_number(optarg, UINT32_MAX,
                                           "-n wants a number of censuses");
            break;
        case EVERY:
            options.period_us = parse_period(optarg);
            break;
        case JSON:
            options.is_json = true;
            break;
        case 'h':
        case HELP:
            fputs(help, stdout);
            exit(EXIT_FINE);
        default:
            refuse_usage(NULL);
        }
    }
    if (argc - optind != 1)
        refuse_usage(NULL);
    if (options.output != NULL && options.output[0] == '\0')
        refuse_usage("-o wants a file's name");
    if (options.n_times > 1 && options.period_us == 0)
        refuse_usage("-n wants --every: how long from one census to the next");
    options.pid = (pid_t)parse_number(argv[optind], INT32_MAX,
                                      "PID is a number; see --help");
    return options;
}

/* ---- before ------------------------------------------------------------ */

/* Ends here where there is nothing to read: why, and what is left to say. */
static void
look(struct inspect *inspect)
{
    inspect->program = beside_collector();
    if (inspect->program == NULL)
        errx(EXIT_RUN_FAILED, "residued is not where residue was installed or "
                              "built; install it again");
    inspect->reach = reach_of(inspect->options.pid, inspect->program);
    if (inspect->reach.is_open)
        return;
    struct text rest = {0};
    if (inspect->reach.rest != NULL)
        text_add(&rest, inspect->reach.rest);
    arguments_print(&rest, false);
    errx(EXIT_CHECK_FAILED, "%s", inspect->reach.complaint);
}

static void
choose_files(struct inspect *inspect)
{
    const struct options *options = &inspect->options;
    inspect->recording =
        options->output != NULL
            ? xstrdup(options->output)
            : replace_default_name(inspect->reach.name, options->pid);
    char *complaint = replace_recording(inspect->recording, options->replaces);
    if (complaint != NULL)
        errx(EXIT_RUN_FAILED, "%s", complaint);
    if (access(inspect->recording, F_OK) == 0)
        replace_remove(inspect->recording);
    if (!rendezvous_make_directory(inspect->socket) ||
        !rendezvous_append(inspect->socket, "/run.") ||
        !rendezvous_append_number(inspect->socket, (uint64_t)getpid()))
        errx(EXIT_RUN_FAILED, "no private directory for the socket; set "
                              "XDG_RUNTIME_DIR to one with a short path");
}

/* From here on Ctrl-C ends the inspection, not us. */
static void
catch_signals(struct inspect *inspect)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    inspect->signals = signalfd(-1, &set, SFD_CLOEXEC);
}

static void
start(struct inspect *inspect)
{
    char pid[24];
    char period[24];
    char times[24];
    snprintf(pid, sizeof(pid), "%d", inspect->options.pid);
    snprintf(period, sizeof(period), "%llu",
             (unsigned long long)inspect->options.period_us);
    snprintf(times, sizeof(times), "%llu",
             (unsigned long long)inspect->options.n_times);
    char option_pid[] = "--inspect";
    char option_period[] = "--every-us";
    char option_times[] = "--times";
    char *const more[] = {option_pid,   pid,   option_period, period,
                          option_times, times, NULL};
    struct control_reply reply;
    if (!launch_collector(&inspect->collector, inspect->program,
                          inspect->socket, inspect->recording, more))
        err(EXIT_RUN_FAILED, "%s", inspect->program);
    if (!control_hear(inspect->collector.control, &reply))
        errx(EXIT_RUN_FAILED, "%s: it did not start", inspect->program);
    if (reply.status == CONTROL_OK)
        return;
    waitpid(inspect->collector.pid, NULL, 0);
    replace_remove(inspect->recording);
    errx(EXIT_RUN_FAILED, "%s", reply.text);
}

/* ---- meanwhile --------------------------------------------------------- */

static void
end_early(const struct inspect *inspect)
{
    struct signalfd_siginfo signal;
    const struct control_request request = control_request_of(CONTROL_ENDED);
    if (read(inspect->signals, &signal, sizeof(signal)) != sizeof(signal) ||
        send(inspect->collector.control, &request, sizeof(request),
             MSG_NOSIGNAL) < 0)
        return; /* it is at its end anyway */
}

/* A line about the census that has just been committed. */
static void
say_census(const struct inspect *inspect)
{
    struct query *query = query_open(inspect->recording);
    const struct query_census census = query_census_at(query, 1, "end");
    char at[UNITS_BYTES];
    char rss[UNITS_BYTES];
    char held[UNITS_BYTES];
    char live[UNITS_BYTES];
    char arenas[UNITS_BYTES];
    char pinned[UNITS_BYTES];
    if (query_complaint(query) == NULL && census.id != 0)
        printf("%s  RSS %s, live in Python %s, free but held %s, arenas %s "
               "(%s pinned)\n",
               units_clock(at, census.t_us), units_bytes(rss, census.rss_bytes),
               units_bytes(live, census.ledger[CAUSE_python_live]),
               units_bytes(held, verdict_held(&census)),
               units_count(arenas, census.arenas),
               units_count(pinned, census.arenas_pinned));
    fflush(stdout);
    query_close(query);
}

/* Until the collector has sealed the recording. */
static void
wait_for_end(const struct inspect *inspect)
{
    const bool speaks =
        inspect->options.period_us != 0 && !inspect->options.is_json;
    struct pollfd ready[] = {
        {.fd = inspect->collector.control, .events = POLLIN},
        {.fd = inspect->signals,           .events = POLLIN},
    };
    for (;;) {
        struct control_reply reply;
        if (poll(ready, countof(ready), -1) < 0)
            continue;
        if (ready[1].revents != 0)
            end_early(inspect);
        if (ready[0].revents == 0)
            continue;
        if (!control_hear(inspect->collector.control, &reply))
            break;
        if (speaks && reply.status == CONTROL_OK && reply.count != 0)
            say_census(inspect);
    }
    waitpid(inspect->collector.pid, NULL, 0);
}

/* ---- after ------------------------------------------------------------- */

static void
put_all(struct text *text, const struct inspect *inspect, struct query *query,
        const struct verdict *verdict)
{
    if (inspect->options.is_json) {
        struct json json = {0};
        stats_json(&json, query, verdict);
        *text = json.text;
        text_add(text, "\n");
        return;
    }
    if (inspect->options.period_us != 0)
        text_add(text, "\n");
    stats_text(text, query, verdict);
    stats_findings_text(text, verdict);
}

static int
tell(const struct inspect *inspect)
{
    struct query *query = query_open(inspect->recording);
    arguments_check(query);
    const struct query_census census = query_census_at(query, 1, "end");
    if (census.id == 0) {
        query_close(query);
        replace_remove(inspect->recording);
        errx(EXIT_CHECK_FAILED, "pid %d ended before it could be read",
             inspect->options.pid);
    }
    struct verdict verdict = verdict_reach(query);
    struct query_finding *rows = verdict_rows(&verdict);
    struct text text = {0};
    query_seal(query, rows, verdict.n_findings);
    put_all(&text, inspect, query, &verdict);
    arguments_check(query);
    arguments_print(&text, inspect->options.is_json);
    fprintf(stderr, "residue: recorded in %s\n", inspect->recording);
    text_finish(&text);
    free(rows);
    verdict_finish(&verdict);
    query_close(query);
    return EXIT_FINE;
}

static void
say_log(const struct inspect *inspect)
{
    char *log = launch_log(&inspect->collector);
    fputs(log, stderr);
    free(log);
}

int
verb_inspect(int argc, char **argv)
{
    struct inspect inspect = {.options = parse(argc, argv)};
    look(&inspect);
    choose_files(&inspect);
    catch_signals(&inspect);
    start(&inspect);
    wait_for_end(&inspect);
    say_log(&inspect);
    const int status = tell(&inspect);
    reach_finish(&inspect.reach);
    free(inspect.recording);
    free(inspect.program);
    return status;
}
