#include "collector/survey.h"

#include <pthread.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "collector/schedule.h"
#include "include/attrs.h"
#include "include/clock.h"
#include "include/xalloc.h"

struct survey {
    pthread_t thread;
    pthread_mutex_t mutex; /* all below but fd */
    pthread_cond_t filed;
    struct survey_job *waiting; /* most urgent first */
    struct survey_job *done;    /* oldest first */
    bool is_stopping;
    uint64_t cpu_us;
    int fd;
};

enum { FIRST_PAUSE_NS = 1000000 }; /* before a repetition; then it doubles */

/* Behind those that are as urgent; what has a view must not grow old. */
static void
enqueue(struct survey_job **list, struct survey_job *job)
{
    while (*list != NULL &&
           ((*list)->urgency < job->urgency ||
            ((*list)->urgency == job->urgency && job->view == NULL)))
        list = &(*list)->next;
    job->next = *list;
    *list = job;
}

static void
append(struct survey_job **list, struct survey_job *job)
{
    while (*list != NULL)
        list = &(*list)->next;
    job->next = NULL;
    *list = job;
}

/* Is there one whose time has come and that is more than due? */
static bool
somebody_waits(struct survey *survey)
{
    bool is_found = false;
    pthread_mutex_lock(&survey->mutex);
    for (const struct survey_job *job = survey->waiting;
         job != NULL && job->urgency < SURVEY_DUE && !is_found; job = job->next)
        is_found = job->not_before_ns <= clock_ns(CLOCK_MONOTONIC);
    pthread_mutex_unlock(&survey->mutex);
    return is_found;
}

struct patience {
    struct survey *survey;
    const struct survey_job *job;
};

/* A target that went on is no end any more; what is only due gives way. */
static bool
may_go_on(void *context)
{
    const struct patience *patience = context;
    const struct survey_job *job = patience->job;
    if (job->end_ticket != 0)
        return source_end_is_awaited(job->source, job->end_ticket);
    return job->urgency != SURVEY_DUE || !somebody_waits(patience->survey);
}

static void
take(struct survey *survey, struct survey_job *job)
{
    if (job->view == NULL) {
        job->view = view_take(job->memory);
        return;
    }
    struct patience patience = {.survey = survey, .job = job};
    const struct census_patience asked = {.may_go_on = may_go_on,
                                          .context = &patience};
    job->census = census_take(job->memory, job->view, &job->request, &asked);
    job->was_interrupted = !may_go_on(&patience);
    if (job->end_ticket != 0)
        source_end_is_done(job->source, job->end_ticket);
}

/* The most urgent one whose time has come, or NULL; then *until_ns is when. */
static struct survey_job *
dequeue(struct survey_job **list, uint64_t *until_ns)
{
    const uint64_t now = clock_ns(CLOCK_MONOTONIC);
    *until_ns = UINT64_MAX;
    for (; *list != NULL; list = &(*list)->next) {
        struct survey_job *job = *list;
        if (job->not_before_ns <= now) {
            *list = job->next;
            return job;
        }
        if (job->not_before_ns < *until_ns)
            *until_ns = job->not_before_ns;
    }
    return NULL;
}

static void
await(struct survey *survey, uint64_t until_ns)
{
    const struct timespec until = {
        .tv_sec = (time_t)(until_ns / 1000000000u),
        .tv_nsec = (long)(until_ns % 1000000000u),
    };
    if (until_ns == UINT64_MAX)
        pthread_cond_wait(&survey->filed, &survey->mutex);
    else
        pthread_cond_timedwait(&survey->filed, &survey->mutex, &until);
}

static void *
work(void *context)
{
    struct survey *survey = context;
    pthread_mutex_lock(&survey->mutex);
    while (!survey->is_stopping) {
        uint64_t until_ns;
        struct survey_job *job = dequeue(&survey->waiting, &until_ns);
        if (job == NULL) {
            await(survey, until_ns);
            continue;
        }
        pthread_mutex_unlock(&survey->mutex);

        take(survey, job);

        pthread_mutex_lock(&survey->mutex);
        survey->cpu_us += job->census == NULL ? 0 : job->census->cpu_us;
        append(&survey->done, job);
        eventfd_write(survey->fd, 1);
    }
    pthread_mutex_unlock(&survey->mutex);
    return NULL;
}

struct survey *
survey_create(void)
{
    struct survey *survey = xcalloc(1, sizeof(*survey));
    survey->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&survey->mutex, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&survey->filed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (survey->fd < 0 ||
        pthread_create(&survey->thread, NULL, work, survey) != 0) {
        close(survey->fd);
        free(survey);
        return NULL;
    }
    return survey;
}

void
survey_drop(struct survey_job *job)
{
    view_destroy(job->view);
    census_request_finish(&job->request);
    census_destroy(job->best);
    free(job);
}

static void
drop_all(struct survey_job *jobs)
{
    while (jobs != NULL) {
        struct survey_job *next = jobs->next;
        census_destroy(jobs->census);
        jobs->forget(jobs->context);
        survey_drop(jobs);
        jobs = next;
    }
}

void
survey_destroy(struct survey *survey)
{
    if (survey == NULL)
        return;
    pthread_mutex_lock(&survey->mutex);
    survey->is_stopping = true;
    pthread_cond_signal(&survey->filed);
    pthread_mutex_unlock(&survey->mutex);
    pthread_join(survey->thread, NULL);
    drop_all(survey->waiting);
    drop_all(survey->done);
    pthread_cond_destroy(&survey->filed);
    pthread_mutex_destroy(&survey->mutex);
    close(survey->fd);
    free(survey);
}

int
survey_fd(const struct survey *survey)
{
    return survey->fd;
}

void
survey_file(struct survey *survey, struct survey_job *job)
{
    pthread_mutex_lock(&survey->mutex);
    enqueue(&survey->waiting, job);
    pthread_cond_signal(&survey->filed);
    pthread_mutex_unlock(&survey->mutex);
}

struct survey_job *
survey_fetch(struct survey *survey)
{
    eventfd_t n;
    pthread_mutex_lock(&survey->mutex);
    struct survey_job *job = survey->done;
    if (job != NULL)
        survey->done = job->next;
    else
        eventfd_read(survey->fd, &n);
    pthread_mutex_unlock(&survey->mutex);
    return job;
}

bool
survey_looks_again(struct survey *survey, struct survey_job *job,
                   uint64_t usually_unexplained)
{
    const bool is_repeated = schedule_wants_another(
        job->census, usually_unexplained, job->n_repeats);
    struct census *best = census_better(job->census, job->best);
    job->best = is_repeated ? best : NULL;
    job->census = is_repeated ? NULL : best;
    if (!is_repeated)
        return false;
    job->not_before_ns = clock_ns(CLOCK_MONOTONIC) +
                         ((uint64_t)FIRST_PAUSE_NS << job->n_repeats++);
    view_destroy(job->view);
    job->view = NULL;
    survey_file(survey, job);
    return true;
}

uint64_t
survey_cpu_us(struct survey *survey)
{
    pthread_mutex_lock(&survey->mutex);
    const uint64_t cpu_us = survey->cpu_us;
    pthread_mutex_unlock(&survey->mutex);
    return cpu_us;
}
