/*
 * reach.h - whether the memory of a process can be read from outside
 *
 * And if not, which right is missing, or why there is nothing to read; and what
 * the kernel tells anybody all the same.
 */
#ifndef REPORT_REACH_H
#define REPORT_REACH_H

#include <stdbool.h>
#include <sys/types.h>

struct reach {
    bool is_open;    /* it can be read */
    char *complaint; /* one sentence: why not; NULL where it can */
    char *rest;      /* lines of what can be told without; NULL: nothing */
    char *name;      /* of the program; NULL: not known */
};

/* collector is the path of residued, which is no target either. */
struct reach reach_of(pid_t pid, const char *collector);
void reach_finish(struct reach *reach);

#endif
