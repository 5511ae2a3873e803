/*
 * program.h - a command that is to be run, and whether we can see into it
 */
#ifndef REPORT_PROGRAM_H
#define REPORT_PROGRAM_H

#include <stdbool.h>

#include "include/image.h"

/*
 * The file that execvp would run for name; the caller frees it. NULL: there is
 * none, or none that may be executed (errno tells: ENOENT, EACCES).
 */
char *program_find(const char *name);

enum program_obstacle {
    PROGRAM_VISIBLE,
    PROGRAM_STATIC,
    PROGRAM_PRIVILEGED,
    PROGRAM_MUSL,
    PROGRAM_OTHER_ABI,
    PROGRAM_OTHER_LINKER,
    PROGRAM_SANITIZED,
};

/* What keeps a preload out of the file at path, if anything does. */
enum program_obstacle program_inspect(const char *path);

/* What it is, and what to try; for PROGRAM_VISIBLE both are "". */
const char *program_obstacle_is(enum program_obstacle obstacle);
const char *program_obstacle_cure(enum program_obstacle obstacle);

#endif
