/*
 * process_census.h - the censuses of a process: filed, asked for, taken back
 */
#ifndef COLLECTOR_PROCESS_CENSUS_H
#define COLLECTOR_PROCESS_CENSUS_H

#include <stdbool.h>

#include "collector/image.h"
#include "collector/survey.h"

struct process;

/* Takes what its image has told, and files the census that it waits for. */
void process_drain(struct process *process);

/* The same, until nothing of it is held back for the sake of its order. */
void process_settle(struct process *process);

/* The census that the schedule asks for, if any. */
void process_file_due(struct process *process);

/* Files a complete census under a label; world->marked gets mark afterwards. */
bool process_mark(struct process *process, const char *label, void *mark);

/* A view or a census came back; the job is gone afterwards, or filed again. */
void process_take_back(struct survey_job *job);

/* An image that another has replaced goes when its last census is back. */
void process_release(struct process *process, struct image *image);

#endif
