#include "report/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "include/attrs.h"
#include "include/rendezvous.h"
#include "include/xalloc.h"
#include "report/exit.h"

/* Everything that may be meant for the target and can be caught. */
static const int forwarded[] = {
    SIGHUP,    SIGINT,  SIGQUIT,  SIGUSR1, SIGUSR2, SIGALRM,
    SIGTERM,   SIGTSTP, SIGCONT,  SIGURG,  SIGXCPU, SIGXFSZ,
    SIGVTALRM, SIGPROF, SIGWINCH, SIGIO,   SIGPWR,  SIGPIPE,
};

static struct {
    sigset_t mask_before;
    struct sigaction child_before;
} launch;

static sigset_t
forwarded_set(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    for (size_t i = 0; i < countof(forwarded); i++)
        sigaddset(&set, forwarded[i]);
    return set;
}

/* ---- the target -------------------------------------------------------- */

/* Ours first: another preload may call what we hook. */
static void
set_environment(const char *preload, const char *socket)
{
    const char *others = getenv("LD_PRELOAD");
    char *list = others == NULL || others[0] == '\0'
                     ? xstrdup(preload)
                     : xasprintf("%s:%s", preload, others);
    setenv("LD_PRELOAD", list, 1);
    setenv(RENDEZVOUS_VARIABLE, socket, 1);
    free(list);
}

NORETURN static void
become_target(char *const argv[], const char *preload, const char *socket,
              int go, int failure)
{
    char word;
    set_environment(preload, socket);
    if (read(go, &word, 1) != 1)
        _exit(EXIT_RUN_FAILED); /* it is not to run */
    sigaction(SIGCHLD, &launch.child_before, NULL);
    sigprocmask(SIG_SETMASK, &launch.mask_before, NULL);
    execvp(argv[0], argv);
    const int error = errno;
    if (write(failure, &error, sizeof(error)) < 0)
        _exit(EXIT_RUN_FAILED);
    _exit(EXIT_NOT_FOUND);
}

bool
launch_target(struct target *target, char *const argv[], const char *preload,
              const char *socket)
{
    int go[2];
    int failure[2];
    if (pipe2(go, O_CLOEXEC) != 0 || pipe2(failure, O_CLOEXEC) != 0)
        return false;
    const sigset_t set = forwarded_set();
    const struct sigaction by_default = {.sa_handler = SIG_DFL};
    sigprocmask(SIG_BLOCK, &set, &launch.mask_before);
    sigaction(SIGCHLD, &by_default, &launch.child_before);

    const pid_t pid = fork();
    if (pid < 0)
        return false;
    if (pid == 0) {
        close(go[1]);
        close(failure[0]);
        become_target(argv, preload, socket, go[0], failure[1]);
    }
    close(go[0]);
    close(failure[1]);
    *target = (struct target){.pid = pid, .go = go[1], .failure = failure[0]};
    return true;
}

int
launch_go(struct target *target)
{
    int error = 0;
    ssize_t n = write(target->go, "g", 1);
    close(target->go);
    if (n == 1) {
        do {
            n = read(target->failure, &error, sizeof(error));
        } while (n < 0 && errno == EINTR);
    }
    close(target->failure);
    if (n != sizeof(error))
        return 0;
    waitpid(target->pid, NULL, 0);
    return error;
}

void
launch_cancel(struct target *target)
{
    close(target->go);
    close(target->failure);
    waitpid(target->pid, NULL, 0);
}

/* ---- waiting ----------------------------------------------------------- */

static bool
is_stopped(pid_t pid)
{
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)pid, &info, WSTOPPED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == pid;
}

/*
 * A signal from the terminal's keys goes to the whole group, the target
 * included; one that somebody sent is meant for whom they could see.
 */
static void
forward(pid_t target, const siginfo_t *info)
{
    if (info->si_code > 0)
        return;
    if (info->si_signo == SIGCONT) {
        /* The shell's goes to the group; one that was sent to us may not. */
        const struct timespec moment = {.tv_nsec = 20000000};
        nanosleep(&moment, NULL);
        if (!is_stopped(target))
            return;
    }
    kill(target, info->si_signo);
}

/* Reaps all that has changed. True: the target has ended. */
static bool
reap(pid_t target, int *status)
{
    pid_t pid;
    int changed;
    while ((pid = waitpid(-1, &changed, WNOHANG | WUNTRACED)) > 0) {
        if (pid != target)
            continue;
        if (!WIFSTOPPED(changed)) {
            *status = changed;
            return true;
        }
        /* The shell is to see that its job has stopped. */
        kill(getpid(), SIGSTOP);
    }
    return false;
}

int
launch_wait(pid_t target)
{
    const sigset_t set = forwarded_set();
    int status = 0;
    while (!reap(target, &status)) {
        siginfo_t info;
        const int number = sigwaitinfo(&set, &info);
        if (number > 0 && number != SIGCHLD)
            forward(target, &info);
    }
    sigprocmask(SIG_SETMASK, &launch.mask_before, NULL);
    return status;
}

/* ---- the collector ----------------------------------------------------- */

NORETURN static void
become_collector(const char *program, char *const argv[], int control, int log)
{
    const int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(nothing, STDIN_FILENO);
    dup2(nothing, STDOUT_FILENO);
    dup2(log >= 0 ? log : nothing, STDERR_FILENO);
    setsid();
    sigprocmask(SIG_SETMASK, &launch.mask_before, NULL);
    fcntl(control, F_SETFD, 0);
    execv(program, argv);
    _exit(EXIT_NOT_FOUND);
}

bool
launch_collector(struct collector *collector, const char *program,
                 const char *socket, const char *recording, char *const more[])
{
    enum { MOST_WORDS = 24 };
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return false;
    char *fd = xasprintf("%d", ends[1]);
    const char *words[MOST_WORDS] = {
        "residued", "--socket",      socket, "--output",
        recording,  "--launcher-fd", fd,
    };
    for (size_t i = 0, at = 7; more[i] != NULL && at + 1 < MOST_WORDS; i++)
        words[at++] = more[i];
    collector->control = ends[0];
    collector->log = memfd_create("log", MFD_CLOEXEC);
    collector->pid = fork();
    if (collector->pid == 0)
        become_collector(program, (char *const *)words, ends[1],
                         collector->log);
    close(ends[1]);
    free(fd);
    return collector->pid > 0;
}

char *
launch_log(const struct collector *collector)
{
    struct stat is;
    if (collector->log < 0 || fstat(collector->log, &is) != 0)
        return xstrdup("");
    char *text = xcalloc((size_t)is.st_size + 1, 1);
    const ssize_t n = pread(collector->log, text, (size_t)is.st_size, 0);
    text[n < 0 ? 0 : n] = '\0';
    return text;
}
