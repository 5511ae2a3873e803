/*
 * process_python.h - which interpreter a process has, and what is known of it
 *
 * Most tell with their hello. Of one that a program opens later nothing is
 * told: whoever maps what may be an arena is looked at from outside, before the
 * next census. That needs the right to read the process.
 */
#ifndef COLLECTOR_PROCESS_PYTHON_H
#define COLLECTOR_PROCESS_PYTHON_H

#include "collector/census/census.h"

struct process;

/* Why there is less to be seen of it than usual; NULL: there is not. Owned. */
char *process_note(const struct process *process);

void process_find_python(struct process *process);

/* A census of the process' image has come. */
void process_judge_python(struct process *process, const struct census *census);

#endif
