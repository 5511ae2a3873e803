#include "collector/survey.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "include/attrs.h"
#include "include/xalloc.h"

struct survey {
    pthread_t thread;
    pthread_mutex_t mutex; /* all below, up to the atomics */
    pthread_cond_t filed;
    struct survey_job *waiting; /* most urgent first */
    struct survey_job *done;    /* oldest first */
    bool is_stopping;
    uint64_t cpu_us;
    _Atomic int most_urgent; /* of the waiting ones */
    int fd;
};

enum { NOTHING_WAITS = SURVEY_DUE + 1 };

/* Appends behind those that are as urgent. */
static void
enqueue(struct survey_job **list, struct survey_job *job)
{
    while (*list != NULL && (*list)->urgency <= job->urgency)
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

static void
note_most_urgent(struct survey *survey)
{
    atomic_store(&survey->most_urgent, survey->waiting == NULL
                                           ? NOTHING_WAITS
                                           : (int)survey->waiting->urgency);
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
    return job->urgency != SURVEY_DUE ||
           atomic_load(&patience->survey->most_urgent) >= SURVEY_DUE;
}

static void
take(struct survey *survey, struct survey_job *job)
{
    struct patience patience = {.survey = survey, .job = job};
    const struct census_patience asked = {.may_go_on = may_go_on,
                                          .context = &patience};
    job->census = census_take(job->memory, &job->request, &asked);
    job->was_interrupted = !may_go_on(&patience);
    if (job->end_ticket != 0)
        source_end_is_done(job->source, job->end_ticket);
}

static void *
work(void *context)
{
    struct survey *survey = context;
    pthread_mutex_lock(&survey->mutex);
    while (!survey->is_stopping) {
        if (survey->waiting == NULL) {
            pthread_cond_wait(&survey->filed, &survey->mutex);
            continue;
        }
        struct survey_job *job = survey->waiting;
        survey->waiting = job->next;
        note_most_urgent(survey);
        pthread_mutex_unlock(&survey->mutex);

        take(survey, job);

        pthread_mutex_lock(&survey->mutex);
        survey->cpu_us += job->census->cpu_us;
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
    pthread_cond_init(&survey->filed, NULL);
    atomic_store(&survey->most_urgent, NOTHING_WAITS);
    if (survey->fd < 0 ||
        pthread_create(&survey->thread, NULL, work, survey) != 0) {
        close(survey->fd);
        free(survey);
        return NULL;
    }
    return survey;
}

static void
drop(struct survey_job *jobs)
{
    while (jobs != NULL) {
        struct survey_job *next = jobs->next;
        census_destroy(jobs->census);
        census_request_finish(&jobs->request);
        free(jobs);
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
    drop(survey->waiting);
    drop(survey->done);
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
    note_most_urgent(survey);
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

uint64_t
survey_cpu_us(struct survey *survey)
{
    pthread_mutex_lock(&survey->mutex);
    const uint64_t cpu_us = survey->cpu_us;
    pthread_mutex_unlock(&survey->mutex);
    return cpu_us;
}
