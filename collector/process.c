#include "collector/process.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "collector/lives.h"
#include "collector/process_census.h"
#include "collector/process_python.h"
#include "collector/process_rows.h"
#include "collector/process_state.h"
#include "collector/registry.h"
#include "include/attrs.h"
#include "include/text.h"
#include "include/xalloc.h"

enum {
    SILENCE_US = 300000, /* between two images of a process, at most */
    STATUS_US = 2000000, /* by then a parent has told how its child ended */
};

/* ---- how it ended ------------------------------------------------------ */

static void
settle(struct process *process, bool was_killed)
{
    if (process->membership.is_settled)
        return;
    if (membership_settle(&process->membership, was_killed,
                          process_now_us(process)))
        recording_put_event(process->world->recording, process->id, "oom-kill",
                            "the kernel's OOM killer ended it");
    process_put_row(process);
}

/* Nobody tells: who says nothing at its end was killed by something. */
static void
settle_untold(struct process *process)
{
    settle(process, process->image->exit_status < 0);
}

/* ---- the stream -------------------------------------------------------- */

static void
on_collected(void *context, const struct collection *collection)
{
    const struct process *process = context;
    struct recording *recording = process->world->recording;
    recording_put_collection(
        recording,
        &(struct recording_collection){
            .t_us = (int64_t)recording_us(recording, collection->started_ns),
            .process = process->id,
            .generation = collection->generation,
            .pause_us = (int64_t)(collection->pause_ns / 1000),
            .collected = (int64_t)collection->collected,
            .uncollectable = (int64_t)collection->uncollectable,
            .arenas_before = collection->arenas_before,
            .arenas_after = collection->arenas_after,
            .rss_before = collection->rss_before,
            .rss_after = collection->rss_after,
        });
}

static void
on_spawned(void *context, pid_t child)
{
    const struct process *process = context;
    process->world->expect(process->world->context, child);
}

static bool
is_watched(const struct process *process)
{
    return process->watch.fd >= 0;
}

static void
stop_watching(struct process *process)
{
    loop_remove(process->world->loop, &process->watch);
    process->watch.fd = -1;
    process->closed_us = process_now_us(process);
}

/*
 * The pipe has ended: the last word of this image. A census that drained it, or
 * a child that was born, may have found that before its watch.
 */
static void
close_stream(struct process *process)
{
    stop_watching(process);
    image_close(process->image);
    if (process->image->exit_status < 0) /* it was killed, or goes on */
        membership_note_end(&process->membership, process->closed_us);
    if (!image_is_sound(process->image))
        recording_put_event(process->world->recording, process->id, "malformed",
                            "its stream could not be understood from here on");
    process_put_gc(process);
    process_put_uses(process);
    process_put_row(process);
}

static void
on_readable(void *context)
{
    struct process *process = context;
    process_drain(process);
    if (!process->image->is_open)
        close_stream(process);
}

static void
on_mapped(void *context, const struct sites_image *told)
{
    const struct process *process = context;
    naming_hear(process->world->naming, process->proc.pid, told);
}

static struct image *
begin_image(struct process *process, const struct introduction *introduction,
            const struct image *forked_from)
{
    const struct image_listener listener = {
        .collected = on_collected,
        .spawned = on_spawned,
        .mapped = on_mapped,
        .context = process,
    };
    return image_create(introduction, forked_from, process->world->catalogue,
                        &listener);
}

static void
watch_image(struct process *process)
{
    process->watch = (struct watch){
        .fd = source_pipe(process->image->source),
        .ready = on_readable,
        .context = process,
    };
    if (!loop_add(process->world->loop, &process->watch))
        warn("process %d cannot be watched", process->proc.pid);
}

/* ---- life -------------------------------------------------------------- */

static void
describe(struct process *process, const struct introduction *introduction)
{
    const struct wire_hello *hello = &introduction->hello;
    process->row = (struct recording_process){0}; /* its texts go */
    free(process->exe);
    free(process->command);
    free(process->note);
    process->exe = xstrndup(introduction->exe, hello->exe_bytes);
    struct text command = {0};
    text_add_json_list(&command, introduction->command, hello->command_bytes);
    process->command = text_take(&command);
    process->note = process_note(process);
}

struct process *
process_create(struct process_world *world, int64_t id,
               const struct introduction *introduction, struct process *parent)
{
    struct process *process = xcalloc(1, sizeof(*process));
    process->world = world;
    process->id = id;
    process->parent_id = parent == NULL ? RECORDING_UNKNOWN : parent->id;
    process->end_us = RECORDING_UNKNOWN;
    process->exit_status = RECORDING_UNKNOWN;
    process->vm_hwm_bytes = RECORDING_UNKNOWN;
    process->start_us =
        (int64_t)recording_us(world->recording, introduction->hello.started_ns);
    process->proc = proc_open(introduction->pid);
    const bool is_fork = introduction->hello.reason == WIRE_REASON_FORK;
    if (is_fork && parent != NULL && parent->image->is_open) {
        /* What it had before the fork is the child's too. */
        process_settle(parent);
    }
    process->image =
        begin_image(process, introduction,
                    is_fork && parent != NULL ? parent->image : NULL);
    if (process->image == NULL) {
        process_destroy(process);
        return NULL;
    }
    if (parent != NULL)
        membership_follow(&process->membership, &parent->membership,
                          (uint64_t)process->start_us);
    membership_review(&process->membership, &world->own, &process->proc,
                      process_now_us(process));
    watch_image(process);
    describe(process, introduction);
    process_put_row(process);
    registry_enter(introduction->pid);
    return process;
}

void
process_destroy(struct process *process)
{
    if (process == NULL)
        return;
    image_destroy(process->image);
    membership_finish(&process->membership);
    proc_close(&process->proc);
    free(process->exe);
    free(process->command);
    free(process->note);
    free(process);
}

static void
remember_totals(struct process *process, struct image *old)
{
    const struct source_totals totals = image_totals(old);
    for (unsigned i = 0; i < WIRE_N_CALLERS; i++)
        process->past.counters[i] = process_add_counters(
            process->past.counters[i], &totals.counters[i]);
    process->past.lost_events += totals.lost_events;
    process->past.lost_batches += totals.lost_batches;
}

bool
process_exec(struct process *process, const struct introduction *introduction)
{
    struct image *old = process->image;
    if (old->is_open)
        process_drain(process);
    if (is_watched(process))
        close_stream(process);
    struct image *fresh = begin_image(process, introduction, NULL);
    if (fresh == NULL)
        return false;
    if (old->memory != NULL)
        memory_forget_pid(old->memory);
    remember_totals(process, old);
    process->image = fresh;
    process->n_execs++;
    schedule_restart(&process->schedule);
    process->census_us = 0;
    process->unexplained_bytes = 0;
    membership_review(&process->membership, &process->world->own,
                      &process->proc, process_now_us(process));
    process_release(process, old);
    watch_image(process);
    describe(process, introduction);
    process_put_row(process);
    process_put_uses(process); /* none yet: the old image's are over */
    return true;
}

int64_t
process_id(const struct process *process)
{
    return process->id;
}

pid_t
process_pid(const struct process *process)
{
    return process->proc.pid;
}

pid_t
process_ns_pid(const struct process *process)
{
    return process->image->hello.pid;
}

bool
process_is_same(const struct process *process)
{
    return proc_is_alive(&process->proc);
}

/* ---- time -------------------------------------------------------------- */

/* What was mapped before the interpreter was found may be anybody's: -1. */
static int64_t
count_arenas(const struct image *image)
{
    if (image->python_major == 0)
        return 0;
    return image->is_python_found ? -1 : (int64_t)arenas_count(image->arenas);
}

static void
note_tick(struct process *process)
{
    const struct timeline_values values = {
        .rss = (int64_t)process->rss_bytes,
        .live = process_moment(process).live_bytes,
        .arenas = count_arenas(process->image),
        .cgroup =
            membership_tick(&process->membership, process_now_us(process)),
    };
    struct timeline_row done[TIMELINE_TIERS];
    bool is_done[TIMELINE_TIERS];
    timeline_add(&process->timeline, (int64_t)process_now_us(process), &values,
                 done, is_done);
    process_put_ticks(process, done, is_done);
}

/* It is dead: what was being filled is finished, what was held is let go. */
static void
note_death(struct process *process)
{
    bool is_done[TIMELINE_TIERS];
    for (unsigned tier = 0; tier < TIMELINE_TIERS; tier++)
        is_done[tier] = process->timeline.rows[tier].n != 0;
    process_put_ticks(process, process->timeline.rows, is_done);
    process->end_us = (int64_t)process->closed_us;
    registry_leave(process->proc.pid);
    proc_close(&process->proc);
    image_shed(process->image);
    process_put_row(process);
}

void
process_tick(struct process *process)
{
    struct image *image = process->image;
    if (!image->is_open && is_watched(process)) {
        close_stream(process);
        return;
    }
    if (!image->is_open) {
        if (process->end_us == RECORDING_UNKNOWN && image->n_jobs == 0 &&
            !proc_is_alive(&process->proc))
            note_death(process);
        else if (process->end_us != RECORDING_UNKNOWN &&
                 process_now_us(process) - process->closed_us > STATUS_US)
            settle_untold(process);
        return;
    }
    const bool is_dead =
        process->proc.pidfd >= 0 && !proc_is_alive(&process->proc);
    process_drain(process);
    /* A child that has told nothing yet may hold the pipe of the dead. */
    if (!image->is_open || is_dead) {
        close_stream(process);
        return;
    }
    process->rss_bytes = proc_rss(&process->proc);
    if (process->rss_bytes != 0)
        note_tick(process);
    process_put_gc(process);
    process_put_row(process);
    process_file_due(process);
}

/* ---- ends -------------------------------------------------------------- */

void
process_set_exit(struct process *process, int wait_status)
{
    process->exit_status = WIFSIGNALED(wait_status)
                               ? 128 + WTERMSIG(wait_status)
                               : WEXITSTATUS(wait_status);
    process_put_row(process);
    settle(process,
           WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGKILL);
}

void
process_finish(struct process *process)
{
    const bool is_dead = !proc_is_alive(&process->proc);
    if (process->image->is_open)
        process_drain(process);
    if (is_watched(process)) {
        stop_watching(process);
        image_close(process->image);
        process_put_uses(process);
    }
    process_put_gc(process);
    if (process->end_us == RECORDING_UNKNOWN && process->image->n_jobs == 0)
        note_death(process);
    if (is_dead)
        settle_untold(process);
}

void
process_write_lives(const struct process *process, const char *directory)
{
    const struct turns *turns = process->image->turns;
    if (turns == NULL)
        return;
    char *path = xasprintf("%s/%d.live", directory, process_ns_pid(process));
    if (!lives_write(turns_map(turns), process->image->n_told, path))
        warn("%s", path);
    free(path);
}

bool
process_is_over(const struct process *process)
{
    if (is_watched(process) || process->image->n_jobs != 0)
        return false;
    return process->end_us != RECORDING_UNKNOWN ||
           !proc_is_alive(&process->proc) ||
           process_now_us(process) - process->closed_us > SILENCE_US;
}
