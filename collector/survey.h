/*
 * survey.h - the thread that takes censuses
 *
 * A census of a large heap takes long; the loop must answer newcomers and drain
 * pipes meanwhile. So it files jobs here and fetches results when the survey's
 * descriptor becomes readable. Jobs are done by urgency; one that somebody
 * waits for interrupts one that is only due.
 *
 * A job owns what it reads with while it is filed: the loop does not touch the
 * memory, nor let the source go, until the job has come back.
 */
#ifndef COLLECTOR_SURVEY_H
#define COLLECTOR_SURVEY_H

#include <stdbool.h>
#include <stdint.h>

#include "collector/census/census.h"
#include "collector/source.h"

struct survey;

/* In order of urgency. */
enum survey_urgency {
    SURVEY_AWAITED_BY_TARGET,
    SURVEY_AWAITED_BY_USER,
    SURVEY_DUE,
};

/*
 * A job goes twice: without a view it comes back with one, and is filed again
 * with what its owner knows by then; with a view it comes back with its census.
 */
struct survey_job {
    enum survey_urgency urgency;
    struct memory *memory;
    struct source *source;
    uint32_t end_ticket; /* answered when the census is taken; 0: none */
    struct view *view;   /* NULL: to be taken first; owned */
    struct census_request request;
    struct census *census; /* the result */
    struct census *best;   /* of those that were repeated; owned */
    unsigned n_repeats;
    uint64_t not_before_ns;
    bool was_interrupted; /* something more urgent came: ask again later */
    void (*forget)(void *context); /* of a job that never comes back */
    void *context;                 /* the caller's */
    struct survey_job *next;
};

/* NULL: no thread or descriptor is to be had. Destroying waits for the job. */
struct survey *survey_create(void);
void survey_destroy(struct survey *survey);

/* Readable when a job has come back. */
int survey_fd(const struct survey *survey);

/* Takes the job. */
void survey_file(struct survey *survey, struct survey_job *job);

/* The next job that is done, which is the caller's again, or NULL. */
struct survey_job *survey_fetch(struct survey *survey);

/*
 * Of a job that came back with a census. True: it left more unexplained than
 * usual, and the job is filed again, from a new view on, a moment later: the
 * target may be within a call of malloc, and have to wait for a CPU. False: its
 * census is the best of all that were taken, and the caller's.
 */
bool survey_looks_again(struct survey *survey, struct survey_job *job,
                        uint64_t usually_unexplained);

/* Of a job that came back; its census is somebody else's by now. */
void survey_drop(struct survey_job *job);

/* CPU time of all censuses so far. */
uint64_t survey_cpu_us(struct survey *survey);

#endif
