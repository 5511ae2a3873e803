/*
 * registry.h - which recording a pid is in, for tools that are given a pid
 *
 * One symbolic link a process, pid.N -> the recording, in the directory of the
 * rendezvous (include/rendezvous.h). Links of the dead are taken away; what a
 * killed collector left behind is replaced by the next one of that pid.
 */
#ifndef COLLECTOR_REGISTRY_H
#define COLLECTOR_REGISTRY_H

#include <stdbool.h>
#include <sys/types.h>

/* The recording's path; without a call, or a directory, nothing is entered. */
void registry_open(const char *recording);

void registry_enter(pid_t pid);

/* The same, unless another recording that is there has it: then false. */
bool registry_enter_new(pid_t pid);
void registry_leave(pid_t pid);

#endif
