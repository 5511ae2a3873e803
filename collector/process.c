#include "collector/process.h"

#include <string.h>
#include <sys/wait.h>

#include "collector/image.h"
#include "collector/model/timeline.h"
#include "collector/proc.h"
#include "collector/registry.h"
#include "collector/schedule.h"
#include "include/attrs.h"
#include "include/text.h"
#include "include/xalloc.h"

enum { SILENCE_US = 300000 }; /* between two images of a process, at most */

struct process {
    struct process_world *world;
    int64_t id;
    int64_t parent_id;
    struct proc proc;
    struct image *image;
    int64_t n_execs;
    struct watch watch; /* of the image's pipe */
    char *exe;
    char *command;
    char *note;
    int64_t start_us;
    int64_t end_us;
    int64_t exit_status;
    int64_t vm_hwm_bytes;
    struct timeline timeline;
    struct recording_process row; /* as it was put last */
    struct schedule schedule;
    uint64_t rss_bytes;        /* at the last tick */
    uint64_t closed_us;        /* when the image's pipe closed */
    struct source_totals past; /* of images before this one */
    uint64_t census_cpu_us;
    uint64_t census_read_bytes;
};

/* What goes with a filed census and comes back with it. */
struct errand {
    struct process *process;
    struct image *image;
    char *label; /* of a mark, or NULL */
    void *mark;
    bool is_due;
    struct recording_moment moment;
};

static uint64_t
now_us(const struct process *process)
{
    return recording_now_us(process->world->recording);
}

/* ---- rows -------------------------------------------------------------- */

static struct wire_counters
add_counters(struct wire_counters a, const struct wire_counters *b)
{
    a.births += b->births;
    a.birth_bytes += b->birth_bytes;
    a.deaths += b->deaths;
    a.death_bytes += b->death_bytes;
    return a;
}

/* What the process did over all its images, and what lives in this one. */
static struct recording_moment
moment_of(const struct process *process)
{
    const struct image *image = process->image;
    const struct source_totals totals = image_totals(process->image);
    struct wire_counters all = {0};
    struct wire_counters own = {0};
    for (unsigned i = 0; i < WIRE_N_CALLERS; i++) {
        own = add_counters(own, &totals.counters[i]);
        all = add_counters(all, &totals.counters[i]);
        all = add_counters(all, &process->past.counters[i]);
        if (image->hello.reason == WIRE_REASON_FORK)
            own = add_counters(own, &image->hello.inherited[i]);
    }
    return (struct recording_moment){
        .process = process->id,
        .image = process->n_execs,
        .vm_hwm_bytes = process->vm_hwm_bytes,
        .births = (int64_t)all.births,
        .deaths = (int64_t)all.deaths,
        .live_blocks = (int64_t)(own.births - own.deaths),
        .live_bytes = (int64_t)(own.birth_bytes - own.death_bytes),
    };
}

static void
put_row(struct process *process)
{
    const struct image *image = process->image;
    const struct wire_hello *hello = &image->hello;
    const struct source_totals totals = image_totals(process->image);
    const struct source_totals *past = &process->past;
    const struct recording_moment moment = moment_of(process);
    const struct wire_counters python =
        add_counters(totals.counters[WIRE_CALLER_PYTHON],
                     &past->counters[WIRE_CALLER_PYTHON]);
    const struct recording_process row = {
        .id = process->id,
        .pid = process->proc.pid,
        .ns_pid = hello->pid,
        .ppid = hello->parent_pid,
        .parent = process->parent_id,
        .exe = process->exe,
        .command = process->command,
        .python =
            hello->python_version[0] == '\0' ? NULL : hello->python_version,
        .note = process->note,
        .start_us = process->start_us,
        .end_us = process->end_us,
        .exit_status = process->exit_status,
        .vm_hwm_bytes = process->vm_hwm_bytes,
        .births = moment.births,
        .deaths = moment.deaths,
        .live_blocks = moment.live_blocks,
        .live_bytes = moment.live_bytes,
        .python_births = (int64_t)python.births,
        .python_deaths = (int64_t)python.deaths,
        .lost_events = (int64_t)(past->lost_events + totals.lost_events),
        .lost_batches = (int64_t)(past->lost_batches + totals.lost_batches),
        .census_cpu_us = (int64_t)process->census_cpu_us,
        .census_read_bytes = (int64_t)process->census_read_bytes,
    };
    if (memcmp(&row, &process->row, sizeof(row)) == 0)
        return; /* nothing is new of it */
    process->row = row;
    recording_put_process(process->world->recording, &row);
}

static void
put_gc(const struct process *process)
{
    struct recording *recording = process->world->recording;
    const struct gc *gc = &process->image->gc;
    for (unsigned i = 0; i < GC_GENERATIONS && gc->is_known; i++) {
        const struct gc_generation *generation = &gc->generations[i];
        recording_put_gc(
            recording,
            &(struct recording_gc){
                .process = process->id,
                .generation = i,
                .collections = (int64_t)generation->collections,
                .collected = (int64_t)generation->collected,
                .uncollectable = (int64_t)generation->uncollectable,
                .pause_us_total = (int64_t)(generation->pause_ns_total / 1000),
                .pause_us_max = (int64_t)(generation->pause_ns_max / 1000),
                .pauses_since_us =
                    (int64_t)recording_us(recording, gc->since_ns),
            });
    }
}

static void
put_ticks(const struct process *process, const struct timeline_row *rows,
          const bool *is_done)
{
    for (unsigned tier = 0; tier < TIMELINE_TIERS; tier++) {
        const struct timeline_row *row = &rows[tier];
        if (!is_done[tier])
            continue;
        struct recording_tick tick = {
            .tier = tier,
            .process = process->id,
            .t_us = row->t_us,
            .n = row->n,
        };
        const struct timeline_values *const points[] = {
            &row->least, &row->greatest, &row->last};
        for (unsigned i = 0; i < countof(points); i++) {
            tick.rss[i] = points[i]->rss;
            tick.live[i] = points[i]->live;
            tick.arenas[i] = points[i]->arenas;
        }
        recording_put_tick(process->world->recording, &tick);
    }
}

/* ---- censuses ---------------------------------------------------------- */

/* Takes the errand. */
static void
file(struct process *process, enum recording_census_kind kind, bool wants_types,
     enum survey_urgency urgency, struct errand *errand, uint32_t ticket)
{
    struct image *image = process->image;
    const int64_t hwm = proc_vm_hwm(&process->proc);
    if (hwm >= 0)
        process->vm_hwm_bytes = hwm;
    errand->process = process;
    errand->image = image;
    errand->moment = moment_of(process);
    errand->moment.label = errand->label;

    struct survey_job *job = xcalloc(1, sizeof(*job));
    job->urgency = urgency;
    job->memory = image->memory;
    job->source = image->source;
    job->end_ticket = ticket;
    job->request = image_request(image, kind, wants_types, now_us(process));
    job->context = errand;
    image->n_jobs++;
    survey_file(process->world->survey, job);
}

static void
file_what_is_due(struct process *process)
{
    const struct schedule_due due =
        schedule_ask(&process->schedule, &process->world->budget,
                     process->rss_bytes, now_us(process));
    if (!due.is_due)
        return;
    struct errand *errand = xcalloc(1, sizeof(*errand));
    errand->is_due = true;
    file(process, due.kind, due.wants_types, SURVEY_DUE, errand, 0);
}

static void
file_end(struct process *process)
{
    const uint32_t ticket = process->image->end_ticket;
    if (ticket == 0)
        return;
    process->image->end_ticket = 0;
    schedule_end(&process->schedule, now_us(process));
    file(process, CENSUS_end, true, SURVEY_AWAITED_BY_TARGET,
         xcalloc(1, sizeof(struct errand)), ticket);
}

static void
drain(struct process *process)
{
    struct image *image = process->image;
    image_drain(image, now_us(process));
    if (process->exit_status < 0)
        process->exit_status = image->exit_status;
    file_end(process);
}

bool
process_mark(struct process *process, const char *label, void *mark)
{
    if (process->image->is_open)
        drain(process); /* what a thread has written but not sent */
    if (!process->image->is_open)
        return false;
    struct errand *errand = xcalloc(1, sizeof(*errand));
    errand->label = xstrdup(label);
    errand->mark = mark;
    file(process, CENSUS_mark, true, SURVEY_AWAITED_BY_USER, errand, 0);
    return true;
}

static void
learn(struct errand *errand, struct census *census)
{
    struct process *process = errand->process;
    struct recording *recording = process->world->recording;
    arenas_learn(errand->image->arenas, census,
                 recording_us(recording, census->started_us * 1000));
    process->census_cpu_us += census->cpu_us;
    process->census_read_bytes += census->read_bytes;
    if (errand->image == process->image)
        schedule_learn(&process->schedule, census);
    recording_put_census(recording, &errand->moment, census);
    put_row(process);
}

/* An image that another has replaced goes when its last census is back. */
static void
release(struct process *process, struct image *image)
{
    if (image != process->image && image->n_jobs == 0)
        image_destroy(image);
}

void
process_take_back(struct survey_job *job)
{
    struct errand *errand = job->context;
    struct process *process = errand->process;
    errand->image->n_jobs--;
    if (errand->is_due)
        schedule_came_back(&process->schedule);
    budget_charge(&process->world->budget, job->census->cpu_us);
    if (job->census->is_read && job->census->is_whole)
        learn(errand, job->census);
    else
        census_destroy(job->census);
    if (errand->mark != NULL)
        process->world->marked(process->world->context, errand->mark);
    release(process, errand->image);
    census_request_finish(&job->request);
    free(errand->label);
    free(errand);
    free(job);
}

/* ---- the stream -------------------------------------------------------- */

static void
on_collected(void *context, const struct wire_gc *collection)
{
    const struct process *process = context;
    struct recording *recording = process->world->recording;
    recording_put_collection(
        recording,
        &(struct recording_collection){
            .t_us = (int64_t)recording_us(recording, collection->started_ns),
            .process = process->id,
            .generation = collection->record.detail,
            .pause_us = (int64_t)(collection->pause_ns / 1000),
            .collected = (int64_t)collection->collected,
            .uncollectable = (int64_t)collection->uncollectable,
        });
}

static void
on_spawned(void *context, pid_t child)
{
    const struct process *process = context;
    process->world->expect(process->world->context, child);
}

/* The pipe has ended: the last word of this image. */
static void
close_stream(struct process *process)
{
    loop_remove(process->world->loop, &process->watch);
    process->image->is_open = false;
    process->closed_us = now_us(process);
    if (!image_is_sound(process->image))
        recording_put_event(process->world->recording, process->id, "malformed",
                            "its stream could not be understood from here on");
    put_gc(process);
    put_row(process);
}

static void
on_readable(void *context)
{
    struct process *process = context;
    drain(process);
    if (!process->image->is_open)
        close_stream(process);
}

static struct image *
begin_image(struct process *process, const struct introduction *introduction,
            const struct image *forked_from)
{
    const struct image_listener listener = {
        .collected = on_collected,
        .spawned = on_spawned,
        .context = process,
    };
    return image_create(introduction, forked_from, &listener);
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

/* The arguments as a JSON array. */
static char *
command_json(const char *command, size_t n_bytes)
{
    struct text text = {0};
    text_add(&text, "[");
    for (size_t at = 0; at < n_bytes;) {
        const size_t length = strnlen(command + at, n_bytes - at);
        if (at != 0)
            text_add(&text, ",");
        text_add_json(&text, command + at, length);
        at += length + 1;
    }
    text_add(&text, "]");
    return text_take(&text);
}

static char *
note_on(const struct image *image)
{
    const struct wire_hello *hello = &image->hello;
    if ((hello->flags & WIRE_FLAG_OWN_ALLOCATOR) != 0)
        return xstrdup("the program brings its own malloc, which no preload "
                       "can count");
    if (image->python_major == 0 && hello->python_version[0] != '\0')
        return xasprintf("Python %s is not known to this version: only its "
                         "native side is shown",
                         hello->python_version);
    return NULL;
}

static void
describe(struct process *process, const struct introduction *introduction)
{
    const struct wire_hello *hello = &introduction->hello;
    process->row = (struct recording_process){0}; /* its texts go */
    free(process->exe);
    free(process->command);
    free(process->note);
    process->exe = xstrndup(introduction->exe, hello->exe_bytes);
    process->command =
        command_json(introduction->command, hello->command_bytes);
    process->note = note_on(process->image);
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
    if (is_fork && parent != NULL && parent->image->is_open)
        drain(parent); /* what it mapped before the fork is the child's too */
    process->image =
        begin_image(process, introduction,
                    is_fork && parent != NULL ? parent->image : NULL);
    if (process->image == NULL) {
        process_destroy(process);
        return NULL;
    }
    watch_image(process);
    describe(process, introduction);
    put_row(process);
    registry_enter(introduction->pid);
    return process;
}

void
process_destroy(struct process *process)
{
    if (process == NULL)
        return;
    image_destroy(process->image);
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
        process->past.counters[i] =
            add_counters(process->past.counters[i], &totals.counters[i]);
    process->past.lost_events += totals.lost_events;
    process->past.lost_batches += totals.lost_batches;
}

bool
process_exec(struct process *process, const struct introduction *introduction)
{
    struct image *old = process->image;
    if (old->is_open) {
        drain(process);
        close_stream(process);
    }
    struct image *fresh = begin_image(process, introduction, NULL);
    if (fresh == NULL)
        return false;
    if (old->memory != NULL)
        memory_forget_pid(old->memory);
    remember_totals(process, old);
    process->image = fresh;
    process->n_execs++;
    schedule_restart(&process->schedule);
    release(process, old);
    watch_image(process);
    describe(process, introduction);
    put_row(process);
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

static void
note_tick(struct process *process)
{
    const struct timeline_values values = {
        .rss = (int64_t)process->rss_bytes,
        .live = moment_of(process).live_bytes,
        .arenas = (int64_t)arenas_count(process->image->arenas),
    };
    struct timeline_row done[TIMELINE_TIERS];
    bool is_done[TIMELINE_TIERS];
    timeline_add(&process->timeline, (int64_t)now_us(process), &values, done,
                 is_done);
    put_ticks(process, done, is_done);
}

/* It is dead: what was being filled is finished, what was held is let go. */
static void
note_death(struct process *process)
{
    bool is_done[TIMELINE_TIERS];
    for (unsigned tier = 0; tier < TIMELINE_TIERS; tier++)
        is_done[tier] = process->timeline.rows[tier].n != 0;
    put_ticks(process, process->timeline.rows, is_done);
    process->end_us = (int64_t)process->closed_us;
    registry_leave(process->proc.pid);
    proc_close(&process->proc);
    image_shed(process->image);
    put_row(process);
}

void
process_tick(struct process *process)
{
    struct image *image = process->image;
    if (!image->is_open) {
        if (process->end_us == RECORDING_UNKNOWN && image->n_jobs == 0 &&
            !proc_is_alive(&process->proc))
            note_death(process);
        return;
    }
    const bool is_dead =
        process->proc.pidfd >= 0 && !proc_is_alive(&process->proc);
    drain(process);
    /* A child that has told nothing yet may hold the pipe of the dead. */
    if (!image->is_open || is_dead) {
        close_stream(process);
        return;
    }
    process->rss_bytes = proc_rss(&process->proc);
    if (process->rss_bytes != 0)
        note_tick(process);
    put_gc(process);
    put_row(process);
    file_what_is_due(process);
}

/* ---- ends -------------------------------------------------------------- */

void
process_set_exit(struct process *process, int wait_status)
{
    process->exit_status = WIFSIGNALED(wait_status)
                               ? 128 + WTERMSIG(wait_status)
                               : WEXITSTATUS(wait_status);
    put_row(process);
}

void
process_finish(struct process *process)
{
    if (process->image->is_open) {
        drain(process);
        process->closed_us = now_us(process);
        loop_remove(process->world->loop, &process->watch);
    }
    put_gc(process);
    if (process->end_us == RECORDING_UNKNOWN && process->image->n_jobs == 0)
        note_death(process);
}

bool
process_is_over(const struct process *process)
{
    if (process->image->is_open || process->image->n_jobs != 0)
        return false;
    return process->end_us != RECORDING_UNKNOWN ||
           !proc_is_alive(&process->proc) ||
           now_us(process) - process->closed_us > SILENCE_US;
}
