/*
 * verb.h - what `residue VERB` means
 *
 * A verb gets its own arguments, argv[0] being its name, and returns an exit
 * code (DESIGN 8). Verbs may end the process by err(3) and errx(3): with what,
 * on what, and what to try.
 */
#ifndef REPORT_VERB_H
#define REPORT_VERB_H

#include "include/attrs.h"

enum exit_code {
    EXIT_FINE = 0,
    EXIT_CHECK_FAILED = 1,
    EXIT_BAD_USAGE = 2,
    EXIT_DAMAGED = 3, /* not a recording, or one that cannot be read */
    EXIT_INCOMPLETE = 4,
    EXIT_RUN_FAILED = 125, /* run: before CMD was executed */
    EXIT_NOT_EXECUTABLE = 126,
    EXIT_NOT_FOUND = 127,
    EXIT_SIGNALLED = 128, /* and the signal's number */
};

struct verb {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
};

int verb_run(int argc, char **argv);
int verb_why(int argc, char **argv);
int verb_stats(int argc, char **argv);
int verb_report(int argc, char **argv);
int verb_query(int argc, char **argv);
int verb_mark(int argc, char **argv);
int verb_doctor(int argc, char **argv);

#endif
