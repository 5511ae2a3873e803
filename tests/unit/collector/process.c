#include "collector/process.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "collector/process_census.h"
#include "tests/unit/check.h"
#include "tests/unit/collector/stream.h"
#include "tests/unit/scratch.h"

static struct scratch scratch;
static struct process_world world;
static struct stream stream;
static struct process *process;
static pid_t child;
static int bell; /* readable before the process' pipe is */
static unsigned n_rounds;

static void
be_born(void)
{
    child = fork();
    if (child == 0) {
        for (;;)
            pause();
    }
    stream = stream_create(STREAM_BUFFERS, F_SEAL_SHRINK);
    struct introduction introduction = {
        .hello = {.pid = child},
        .exe = "",
        .command = "",
        .fds = { -1, -1, -1, -1, -1, -1, -1},
        .pid = child,
        .level = WIRE_LEVEL_EXACT,
    };
    introduction.fds[WIRE_FD_PIPE] = stream.pipe_read;
    introduction.fds[WIRE_FD_SHARED] = stream.shared;
    process = process_create(&world, 1, &introduction, NULL);
    cr_assert_not_null(process);
}

static void
die(void)
{
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    stream_hang_up(&stream);
}

static void
set_up(void)
{
    char path[SCRATCH_PATH_BYTES];
    char why[256];
    scratch = scratch_create();
    world = (struct process_world){
        .loop = loop_create(),
        .survey = survey_create(),
        .recording = recording_open(scratch_path(&scratch, "a.rec", path),
                                    "/a/socket", why, sizeof(why)),
        .own = membership_own_open(),
    };
    bell = eventfd(1, EFD_CLOEXEC);
}

static void
clean_up(void)
{
    process_destroy(process);
    stream_destroy(&stream);
    survey_destroy(world.survey);
    membership_own_close(&world.own);
    recording_seal(world.recording);
    loop_destroy(world.loop);
    close(bell);
    scratch_remove(&scratch);
}

TestSuite(process, .init = set_up, .fini = clean_up, .timeout = 20);

/* A census comes back and drains; then two ticks see that it is dead. */
static void
drain_and_tick(void *unused)
{
    (void)unused;
    process_drain(process);
    process_tick(process);
    process_tick(process);
}

static void
end_round(void *unused)
{
    (void)unused;
    n_rounds++;
    loop_stop(world.loop);
}

/*
 * Fails, by a read of what is gone, while only the pipe's own watch takes leave
 * of the loop: in the same round its turn is still to come.
 */
Test(process, an_end_that_others_found_is_the_watchs_too)
{
    struct watch first = {.fd = bell, .ready = drain_and_tick};
    check_true(loop_add(world.loop, &first));
    be_born();
    die();
    loop_run(world.loop, end_round, NULL);
    check_eq(n_rounds, 1);
    check_true(process_is_over(process));
}

/* Fails while its end is a moment that nobody noted. */
Test(process, whose_end_others_found_is_not_over_before_it_is_noted)
{
    be_born();
    die();
    process_drain(process);
    check_false(process_is_over(process));
    process_tick(process);
    process_tick(process);
    check_true(process_is_over(process));
}
