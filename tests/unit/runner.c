/*
 * The runner of sanitized builds.
 *
 * Criterion's own starts its workers on memory at fixed addresses, which a
 * thread sanitizer's shadow covers, and ends them without the exit handlers
 * that look for leaks. This one takes the same tests (the macros put them into
 * the sections cr_tst and cr_sts) and runs each in a fork that exits as any
 * program does. What the tests call of Criterion is defined here too, and an
 * executable's definition comes before a library's.
 *
 * It knows what our tests use: init, fini, signal, exit_code, timeout, disabled
 * and skipping. Arguments are ignored but for one: a text that the names of the
 * tests to run contain.
 */
#include <criterion/criterion.h>
#include <err.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    FAILED = 101,
    SKIPPED = 102,
    REASON_BYTES = 512,
    SLOWNESS = 4, /* of a sanitized test, for its timeout */
};

extern struct criterion_test *__start_cr_tst[];
extern struct criterion_test *__stop_cr_tst[];
extern struct criterion_suite *__start_cr_sts[] __attribute__((weak));
extern struct criterion_suite *__stop_cr_sts[] __attribute__((weak));

static struct {
    const struct criterion_test *test;
    char *reason; /* why it was skipped; shared with the forks */
    bool has_failed;
} runner;

/* ---- what tests call --------------------------------------------------- */

void
criterion_send_assert(struct criterion_assert_stats *stats)
{
    if (!stats->passed)
        printf("# %s:%u: %s\n", stats->file, stats->line, stats->message);
    fflush(stdout);
}

void
criterion_abort_test(void)
{
    _exit(FAILED);
}

void
criterion_continue_test(void)
{
    runner.has_failed = true;
}

void
criterion_skip_test(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(runner.reason, REASON_BYTES, format, args);
    va_end(args);
    _exit(SKIPPED);
}

void
criterion_test_die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("# ");
    vprintf(format, args);
    printf("\n");
    va_end(args);
    fflush(stdout);
    _exit(FAILED);
}

void
cri_asserts_passed_incr(void)
{
}

/* ---- one test ---------------------------------------------------------- */

static const struct criterion_test_extra_data *
suite_of(const struct criterion_test *test)
{
    static const struct criterion_test_extra_data none;
    for (struct criterion_suite **at = __start_cr_sts; at < __stop_cr_sts;
         at++) {
        if (*at != NULL && strcmp((*at)->name, test->category) == 0)
            return (*at)->data;
    }
    return &none;
}

void
criterion_internal_test_setup(void)
{
    const struct criterion_test_extra_data *suite = suite_of(runner.test);
    if (suite->init != NULL)
        suite->init();
    if (runner.test->data->init != NULL)
        runner.test->data->init();
}

void
criterion_internal_test_main(void (*function)(void))
{
    function();
}

void
criterion_internal_test_teardown(void)
{
    const struct criterion_test_extra_data *suite = suite_of(runner.test);
    if (runner.test->data->fini != NULL)
        runner.test->data->fini();
    if (suite->fini != NULL)
        suite->fini();
}

static int
run(const struct criterion_test *test)
{
    fflush(stdout);
    const pid_t pid = fork();
    if (pid < 0)
        err(1, "no process is to be had");
    if (pid == 0) {
        runner.test = test;
        const double own = test->data->timeout;
        const double seconds = own > 0 ? own : suite_of(test)->timeout;
        alarm((unsigned)ceil(seconds) * SLOWNESS);
        test->test();
        exit(runner.has_failed ? FAILED : 0);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    return status;
}

static bool
is_as_wanted(const struct criterion_test *test, int status)
{
    if (test->data->signal != 0)
        return WIFSIGNALED(status) && WTERMSIG(status) == test->data->signal;
    return WIFEXITED(status) && WEXITSTATUS(status) == test->data->exit_code;
}

/* ---- all --------------------------------------------------------------- */

/* True: it did not fail. */
static bool
run_and_tell(const struct criterion_test *test)
{
    runner.reason[0] = '\0';
    const bool is_disabled = test->data->disabled || suite_of(test)->disabled;
    const int status = is_disabled ? 0 : run(test);
    const bool is_skipped =
        is_disabled || (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED);
    if (is_skipped) {
        printf("ok - %s::%s # SKIP %s\n", test->category, test->name,
               is_disabled ? "disabled" : runner.reason);
        return true;
    }
    const bool is_fine = is_as_wanted(test, status);
    printf("%sok - %s::%s\n", is_fine ? "" : "not ", test->category,
           test->name);
    if (!is_fine)
        printf("# ended with %s %d\n",
               WIFSIGNALED(status) ? "signal" : "status",
               WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    return is_fine;
}

static bool
is_chosen(const struct criterion_test *test, int argc, char **argv)
{
    char name[256];
    snprintf(name, sizeof(name), "%s::%s", test->category, test->name);
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] != '-' && strstr(name, argv[i]) == NULL)
            return false;
    }
    return true;
}

int
main(int argc, char **argv)
{
    int n_chosen = 0;
    int n_failed = 0;
    runner.reason = mmap(NULL, REASON_BYTES, PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (runner.reason == MAP_FAILED)
        err(1, "no memory is to be had");
    printf("TAP version 13\n");
    for (struct criterion_test **at = __start_cr_tst; at < __stop_cr_tst;
         at++) {
        if (*at == NULL || !is_chosen(*at, argc, argv))
            continue;
        n_chosen++;
        n_failed += !run_and_tell(*at);
    }
    printf("1..%d\n", n_chosen);
    return n_failed != 0;
}
