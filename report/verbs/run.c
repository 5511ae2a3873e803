/*
 * residue run - runs a program and says why its memory stays high
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "include/rendezvous.h"
#include "include/sampling.h"
#include "include/text.h"
#include "include/xalloc.h"
#include "report/beside.h"
#include "report/control.h"
#include "report/launch.h"
#include "report/page.h"
#include "report/program.h"
#include "report/query/query.h"
#include "report/replace.h"
#include "report/verb.h"
#include "report/verdict/verdict.h"
#include "report/words.h"

enum { READY_MS = 10000 };

static const char help[] =
    "usage: residue run [-o REC] [-f] [-q] [--exact] [--native-stacks]\n"
    "                   [--sample BYTES] [--on-full=wait|drop]\n"
    "                   [--report[=F.html]] [--] CMD ...\n"
    "\n"
    "Runs CMD as if residue were not there, and afterwards says on standard\n"
    "error what keeps its memory, in which file everything is, and what to\n"
    "type next. The exit status is CMD's; 125 where residue itself failed.\n"
    "\n"
    "  -o REC           the recording (default: residue.CMD.PID.rec)\n"
    "  -f               replace REC if it exists\n"
    "  -q               say nothing\n"
    "  --exact          record every call of malloc and free, in order\n"
    "  --native-stacks  the same, and of each block the stack that made it\n"
    "  --sample BYTES   without --exact: how far apart on average the bytes "
    "are\n"
    "                   whose blocks tell their stack (default: 512K; 0: "
    "none)\n"
    "  --on-full=wait   where CMD is faster than it can be recorded it waits,\n"
    "                   but never longer than 10 s, and 0.1 s without --exact\n"
    "                   (the default)\n"
    "  --on-full=drop   it never waits; what is lost is counted and said\n"
    "  --report[=F]     write the page too (default: REC.html)\n";

struct options {
    const char *output;
    const char *page; /* NULL: none; "": by default name */
    bool replaces;
    bool is_quiet;
    bool is_exact;
    bool has_stacks;
    const char *sample; /* BYTES; NULL: as many as the collector thinks */
    bool drops;         /* rather than wait, when the pipe is full */
    char **command;
};

struct run {
    struct options options;
    char *recording;
    char *page; /* NULL: none is wanted */
    char *collector_program;
    char *preload;
    char socket[RENDEZVOUS_PATH_BYTES];
    struct target target;
    struct collector collector;
    bool is_sealed;  /* the collector said so */
    bool has_failed; /* or that it could not; its log says why */
    unsigned n_live; /* processes that outlive CMD */
};

/* ---- options ----------------------------------------------------------- */

static bool
is_drop(const char *word)
{
    const bool is_it = strcmp(word, "drop") == 0;
    if (!is_it && strcmp(word, "wait") != 0)
        errx(EXIT_BAD_USAGE, "--on-full=%s: it is wait or drop", word);
    return is_it;
}

static const char *
checked_sample(const char *word)
{
    uint64_t n_bytes;
    if (!sampling_parse(word, &n_bytes))
        errx(EXIT_BAD_USAGE,
             "--sample %s: it is a number of bytes, as 512K or 1M", word);
    return word;
}

static void
check_options(const struct options *options, bool has_command)
{
    if (options->sample != NULL && (options->is_exact || options->has_stacks))
        errx(EXIT_BAD_USAGE, "--sample goes without --exact, by which every "
                             "block is told");
    if (options->output != NULL && options->output[0] == '\0')
        errx(EXIT_BAD_USAGE, "-o wants a file's name");
    if (!has_command) {
        fputs(help, stderr);
        exit(EXIT_BAD_USAGE);
    }
}

static struct options
parse(int argc, char **argv)
{
    enum { REPORT = 256, EXACT, STACKS, SAMPLE, ON_FULL, HELP };
    static const struct option known[] = {
        {"report",        optional_argument, NULL, REPORT },
        {"exact",         no_argument,       NULL, EXACT  },
        {"native-stacks", no_argument,       NULL, STACKS },
        {"sample",        required_argument, NULL, SAMPLE },
        {"on-full",       required_argument, NULL, ON_FULL},
        {"help",          no_argument,       NULL, HELP   },
        {NULL,            0,                 NULL, 0      },
    };
    struct options options = {0};
    int option;
    /* '+': what follows CMD is CMD's. */
    while ((option = getopt_long(argc, argv, "+o:fqh", known, NULL)) != -1) {
        switch (option) {
        case 'o':
            options.output = optarg;
            break;
        case 'f':
            options.replaces = true;
            break;
        case 'q':
            options.is_quiet = true;
            break;
        case EXACT:
            options.is_exact = true;
            break;
        case STACKS:
            options.has_stacks = true;
            break;
        case SAMPLE:
            options.sample = checked_sample(optarg);
            break;
        case ON_FULL:
            options.drops = is_drop(optarg);
            break;
        case REPORT:
            options.page = optarg == NULL ? "" : optarg;
            break;
        case 'h':
        case HELP:
            fputs(help, stdout);
            exit(EXIT_FINE);
        default:
            fputs(help, stderr);
            exit(EXIT_BAD_USAGE);
        }
    }
    check_options(&options, optind != argc);
    options.command = argv + optind;
    return options;
}

/* ---- before ------------------------------------------------------------ */

static void
check_command(const char *name)
{
    char *path = program_find(name);
    if (path == NULL && errno == EACCES)
        errx(EXIT_NOT_EXECUTABLE, "%s: it may not be executed", name);
    if (path == NULL)
        errx(EXIT_NOT_FOUND, "%s: there is no such program", name);
    const enum program_obstacle obstacle = program_inspect(path);
    if (obstacle != PROGRAM_VISIBLE)
        errx(EXIT_RUN_FAILED, "%s %s: nothing was run; %s", path,
             program_obstacle_is(obstacle), program_obstacle_cure(obstacle));
    free(path);
}

static void
find_others(struct run *run)
{
    run->collector_program = beside_collector();
    run->preload = beside_preload();
    if (run->collector_program == NULL || run->preload == NULL)
        errx(EXIT_RUN_FAILED,
             "%s is not where residue was installed or built; install it again",
             run->preload == NULL ? "libresidue-preload.so" : "residued");
    if (strpbrk(run->preload, ": ") != NULL)
        errx(EXIT_RUN_FAILED,
             "%s: the dynamic linker cannot preload a file whose path has a "
             "blank or a colon in it; move residue",
             run->preload);
    if (!rendezvous_make_directory(run->socket) ||
        !rendezvous_append(run->socket, "/run.") ||
        !rendezvous_append_number(run->socket, (uint64_t)getpid()))
        errx(EXIT_RUN_FAILED,
             "no private directory for the socket; set XDG_RUNTIME_DIR to one "
             "with a short path");
}

/* The target is forked, and goes with us if this fails. */
NORETURN static void
fail(struct run *run, const char *complaint)
{
    launch_cancel(&run->target);
    errx(EXIT_RUN_FAILED, "%s", complaint);
}

static void
choose_recording(struct run *run)
{
    run->recording =
        run->options.output != NULL
            ? xstrdup(run->options.output)
            : replace_default_name(run->options.command[0], run->target.pid);
    char *complaint = replace_recording(run->recording, run->options.replaces);
    if (complaint != NULL)
        fail(run, complaint);
    if (access(run->recording, F_OK) == 0)
        replace_remove(run->recording);
}

static void
choose_page(struct run *run)
{
    if (run->options.page == NULL)
        return;
    run->page = run->options.page[0] == '\0'
                    ? xasprintf("%s.html", run->recording)
                    : xstrdup(run->options.page);
    char *complaint = replace_page(run->page, run->options.replaces);
    if (complaint != NULL)
        fail(run, complaint);
}

static void
start_collector(struct run *run)
{
    char wait[] = "--on-full=wait";
    char drop[] = "--on-full=drop";
    char exact[] = "--exact";
    char stacks[] = "--native-stacks";
    char sample[] = "--sample";
    char *more[6] = {run->options.drops ? drop : wait};
    size_t n = 1;
    if (run->options.has_stacks || run->options.is_exact)
        more[n++] = run->options.has_stacks ? stacks : exact;
    if (run->options.sample != NULL) {
        more[n++] = sample;
        more[n++] = (char *)(uintptr_t)run->options.sample;
    }
    struct control_reply reply = {0};
    if (!launch_collector(&run->collector, run->collector_program, run->socket,
                          run->recording, more))
        fail(run, xasprintf("%s: %s", run->collector_program, strerror(errno)));
    struct pollfd ready = {.fd = run->collector.control, .events = POLLIN};
    if (poll(&ready, 1, READY_MS) != 1 ||
        !control_hear(run->collector.control, &reply))
        fail(run, xasprintf("%s: it did not start", run->collector_program));
    if (reply.status != CONTROL_OK)
        fail(run, reply.text);
}

/* ---- after ------------------------------------------------------------- */

/* Tells the collector how CMD ended and waits until the recording is whole. */
static void
end_collector(struct run *run, int wait_status)
{
    struct control_request request = control_request_of(CONTROL_ENDED);
    struct control_reply reply;
    request.pid = run->target.pid;
    request.status = wait_status;
    if (!control_ask(run->collector.control, &request, &reply))
        return; /* it was killed: what it committed is there */
    run->is_sealed = reply.status == CONTROL_OK;
    run->has_failed = reply.status == CONTROL_FAILED;
    if (reply.status == CONTROL_STILL_LIVE)
        run->n_live = reply.count;
    else
        waitpid(run->collector.pid, NULL, 0);
}

static void
say(const struct run *run, const char *format, ...)
{
    if (run->options.is_quiet)
        return;
    char *line = NULL;
    va_list args;
    va_start(args, format);
    if (vasprintf(&line, format, args) >= 0) {
        words_tame(line); /* types and programs are strangers' words */
        fprintf(stderr, "residue: %s\n", line);
        free(line);
    }
    va_end(args);
}

static void
say_log(const struct run *run)
{
    char *log = launch_log(&run->collector);
    char *rest = log;
    char *line;
    while ((line = strsep(&rest, "\n")) != NULL) {
        if (line[0] != '\0')
            say(run, "%s", line);
    }
    free(log);
}

/* A recording without its last word: its collector is gone. */
static void
say_incomplete(const struct run *run)
{
    if (run->n_live != 0)
        say(run, "%u process%s on; the recording goes on until the end of %s",
            run->n_live, run->n_live == 1 ? " lives" : "es live",
            run->n_live == 1 ? "it" : "them");
    else if (!run->is_sealed && !run->has_failed)
        say(run, "the collector ended early: the recording holds what it had "
                 "committed");
}

static void
say_verdict(const struct run *run)
{
    struct query *query = query_open(run->recording);
    struct verdict verdict = {0};
    if (query_complaint(query) == NULL)
        verdict = verdict_reach(query);
    /* Where the collector cannot write we cannot: it has said so. */
    if (query_complaint(query) == NULL && run->n_live == 0 &&
        !run->has_failed) {
        struct query_finding *rows = verdict_rows(&verdict);
        query_seal(query, rows, verdict.n_findings);
        free(rows);
    }
    if (verdict.n_findings != 0)
        say(run, "%s%s%s", verdict.findings[0].sentence,
            verdict.caveat == NULL ? "" : " ",
            verdict.caveat == NULL ? "" : verdict.caveat);
    else
        say(run, "%s",
            query_complaint(query) == NULL ? verdict.headline
                                           : query_complaint(query));
    verdict_finish(&verdict);
    query_close(query);
    say(run, "recorded in %s", run->recording);
    say(run, "next: residue why %s", run->recording);
}

static void
write_page(const struct run *run)
{
    if (run->page == NULL)
        return;
    struct query *query = query_open(run->recording);
    char *complaint = page_write(query, run->page);
    if (complaint != NULL)
        say(run, "%s", complaint);
    else
        say(run, "the page is %s", run->page);
    free(complaint);
    query_close(query);
}

static int
exit_code(int wait_status)
{
    return WIFSIGNALED(wait_status) ? EXIT_SIGNALLED + WTERMSIG(wait_status)
                                    : WEXITSTATUS(wait_status);
}

/* ---- the verb ---------------------------------------------------------- */

static void
go(struct run *run)
{
    const int error = launch_go(&run->target);
    if (error == 0)
        return;
    end_collector(run, 0);
    replace_remove(run->recording);
    errx(error == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE, "%s: %s",
         run->options.command[0], strerror(error));
}

int
verb_run(int argc, char **argv)
{
    struct run run = {.options = parse(argc, argv)};
    check_command(run.options.command[0]);
    find_others(&run);
    if (!launch_target(&run.target, run.options.command, run.preload,
                       run.socket))
        err(EXIT_RUN_FAILED, "%s: no process is to be had for it",
            run.options.command[0]);
    choose_recording(&run);
    choose_page(&run);
    start_collector(&run);
    go(&run);

    const int wait_status = launch_wait(run.target.pid);
    signal(SIGXFSZ, SIG_IGN); /* what we may not write is no end of ours */
    end_collector(&run, wait_status);
    say_log(&run);
    say_incomplete(&run);
    say_verdict(&run);
    write_page(&run);
    free(run.page);
    free(run.recording);
    free(run.collector_program);
    free(run.preload);
    return exit_code(wait_status);
}
