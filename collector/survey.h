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

struct survey_job {
    enum survey_urgency urgency;
    struct memory *memory;
    struct source *source;
    uint32_t end_ticket; /* answered when the census is taken; 0: none */
    struct census_request request;
    struct census *census; /* the result */
    bool was_interrupted;  /* something more urgent came: ask again later */
    void *context;         /* the caller's */
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

/* CPU time of all censuses so far. */
uint64_t survey_cpu_us(struct survey *survey);

#endif
