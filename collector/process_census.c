#include "collector/process_census.h"

#include "collector/agreement.h"
#include "collector/occasion.h"
#include "collector/process_python.h"
#include "collector/process_rows.h"
#include "collector/process_state.h"
#include "include/xalloc.h"

enum {
    /* An end that was cut short is worth less than all of just before. */
    CUT_PART = 100, /* of RSS */
    JUST_BEFORE_US = 2000000,
};

/* What goes with a filed census and comes back with it. */
struct errand {
    struct process *process;
    struct image *image;
    char *label; /* of a mark, or NULL */
    void *mark;
    bool is_due;
    struct census_occasion occasion;
    struct recording_moment moment;
    struct recording_use *uses; /* that the moment points to, or NULL */
    struct livemap *heap;       /* as it was told, for a mark, or NULL */
};

static void
forget(void *context)
{
    struct errand *errand = context;
    free(errand->label);
    free(errand->uses);
    livemap_destroy(errand->heap);
    free(errand);
}

/* Takes the errand; the census is asked for once its view has come. */
static struct survey_job *
prepare(struct process *process, struct errand *errand,
        enum survey_urgency urgency)
{
    struct image *image = process->image;
    errand->process = process;
    errand->image = image;
    struct survey_job *job = xcalloc(1, sizeof(*job));
    job->urgency = urgency;
    job->memory = image->memory;
    job->source = image->source;
    job->forget = forget;
    job->context = errand;
    image->n_jobs++;
    return job;
}

/* What was told of objects. */
static void
note_objects(struct errand *errand)
{
    const struct image *image = errand->image;
    if (image->turns == NULL || !image->tells_objects)
        return;
    if (errand->occasion.kind == CENSUS_mark) {
        livemap_destroy(errand->heap);
        errand->heap = livemap_clone(turns_map(image->turns));
    }
    errand->moment.has_objects = true;
    errand->moment.objects = agreement_told(turns_map(image->turns));
}

/* What is known of the image now goes with the job. */
static void
ask(struct survey_job *job)
{
    struct errand *errand = job->context;
    struct process *process = errand->process;
    const int64_t hwm = proc_vm_hwm(&process->proc);
    if (hwm >= 0)
        process->vm_hwm_bytes = hwm;
    errand->moment = process_moment(process);
    note_objects(errand);
    errand->moment.label = errand->label;
    free(errand->uses);
    errand->uses = NULL;
    if (errand->occasion.kind != CENSUS_periodic)
        errand->uses =
            process_uses(process, errand->image, &errand->moment.n_uses);
    errand->moment.uses = errand->uses;
    errand->occasion.now_us = process_now_us(process);
    errand->occasion.seen_us =
        recording_us(process->world->recording, job->view->seen_ns);
    if (errand->image == process->image)
        process_find_python(process);
    census_request_finish(&job->request);
    job->request = occasion_request(errand->image, &errand->occasion);
}

/* After the filing: who waits for the census need not wait for this. */
static void
look_at_group(struct process *process, struct errand *errand)
{
    membership_look(&process->membership, &process->world->own, &process->proc,
                    process_now_us(process), &errand->moment);
}

static void
file(struct process *process, struct errand *errand,
     enum survey_urgency urgency)
{
    survey_file(process->world->survey, prepare(process, errand, urgency));
}

void
process_file_due(struct process *process)
{
    const struct schedule_due due =
        schedule_ask(&process->schedule, &process->world->budget,
                     process->rss_bytes, process_now_us(process));
    if (!due.is_due)
        return;
    struct errand *errand = xcalloc(1, sizeof(*errand));
    errand->is_due = true;
    errand->occasion.kind = due.kind;
    errand->occasion.wants_types = due.wants_types;
    errand->occasion.types_budget_us = due.types_budget_us;
    file(process, errand, SURVEY_DUE);
}

static void
file_end(struct process *process)
{
    const uint32_t ticket = process->image->end_ticket;
    if (ticket == 0)
        return;
    process->image->end_ticket = 0;
    schedule_end(&process->schedule, process_now_us(process));
    struct errand *errand = xcalloc(1, sizeof(*errand));
    errand->occasion.kind = CENSUS_end;
    errand->occasion.wants_types = true;
    struct survey_job *job = prepare(process, errand, SURVEY_AWAITED_BY_TARGET);
    job->end_ticket = ticket;
    job->view = view_take(job->memory); /* it waits: no second errand */
    ask(job);
    survey_file(process->world->survey, job);
    look_at_group(process, errand);
}

static void
heed_end(struct process *process)
{
    if (process->exit_status < 0)
        process->exit_status = process->image->exit_status;
    file_end(process);
}

void
process_drain(struct process *process)
{
    image_drain(process->image, process_now_us(process));
    heed_end(process);
}

void
process_settle(struct process *process)
{
    image_settle(process->image, process_now_us(process));
    heed_end(process);
}

bool
process_mark(struct process *process, const char *label, void *mark)
{
    if (process->image->is_open)
        process_drain(process); /* what a thread has written but not sent */
    if (!process->image->is_open)
        return false;
    struct errand *errand = xcalloc(1, sizeof(*errand));
    errand->label = xstrdup(label);
    errand->mark = mark;
    errand->occasion.kind = CENSUS_mark;
    errand->occasion.wants_types = true;
    file(process, errand, SURVEY_AWAITED_BY_USER);
    return true;
}

static void
learn(struct errand *errand, struct census *census)
{
    struct process *process = errand->process;
    struct recording *recording = process->world->recording;
    arenas_learn(errand->image->arenas, census,
                 recording_us(recording, census->started_us * 1000));
    if (errand->image == process->image) {
        process->unexplained_bytes = census->ledger[CAUSE_unexplained];
        process->census_us = process_now_us(process);
        schedule_learn(&process->schedule, census);
        process_judge_python(process, census);
    }
    if (errand->heap != NULL)
        agreement_find(&errand->moment.objects, errand->heap, census);
    livemap_destroy(errand->heap);
    errand->heap = NULL;
    recording_put_census(recording, &errand->moment, census);
    process_put_row(process);
}

void
process_release(struct process *process, struct image *image)
{
    if (image != process->image && image->n_jobs == 0)
        image_destroy(image);
}

/* The view has come: what the stream has told by now is newer. */
static void
go_on(struct survey_job *job)
{
    struct errand *errand = job->context;
    struct process *process = errand->process;
    if (errand->image == process->image && process->image->is_open) {
        if (errand->occasion.kind == CENSUS_mark &&
            errand->image->tells_objects)
            process_settle(process);
        else
            process_drain(process);
    }
    ask(job);
    survey_file(process->world->survey, job);
    look_at_group(process, errand);
}

/* An end that was cut short where a whole census is nearly as late. */
static bool
is_outdone(const struct process *process, const struct census *end)
{
    return end->is_cut && process->census_us != 0 &&
           process_now_us(process) - process->census_us < JUST_BEFORE_US &&
           end->ledger[CAUSE_unexplained] * CUT_PART > end->rss_bytes;
}

/* Takes the census. */
static void
judge(struct errand *errand, struct census *census)
{
    const struct process *process = errand->process;
    if (census->is_read && census->is_whole && !is_outdone(process, census)) {
        learn(errand, census);
        return;
    }
    if (census->kind == CENSUS_end)
        recording_put_event(process->world->recording, process->id,
                            "end-unread", "it did not wait until it was read");
    census_destroy(census);
}

void
process_take_back(struct survey_job *job)
{
    struct errand *errand = job->context;
    struct process *process = errand->process;
    if (job->census == NULL) {
        go_on(job);
        return;
    }
    process->census_cpu_us += job->census->cpu_us;
    process->census_read_bytes += job->census->read_bytes;
    budget_charge(&process->world->budget, job->census->cpu_us);
    if (survey_looks_again(process->world->survey, job,
                           process->unexplained_bytes))
        return;
    errand->image->n_jobs--;
    if (errand->is_due)
        schedule_came_back(&process->schedule);
    judge(errand, job->census);
    if (errand->mark != NULL)
        process->world->marked(process->world->context, errand->mark);
    process_release(process, errand->image);
    forget(errand);
    survey_drop(job);
}
