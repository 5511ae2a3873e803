/*
 * verb.h - what `residue VERB` means
 *
 * A verb gets its own arguments, argv[0] being its name, and returns an exit
 * code (DESIGN 8). Verbs may end the process by err(3) and errx(3): with what,
 * on what, and what to try.
 */
#ifndef REPORT_VERB_H
#define REPORT_VERB_H

#include "report/exit.h"

struct verb {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
};

int verb_run(int argc, char **argv);
int verb_inspect(int argc, char **argv);
int verb_why(int argc, char **argv);
int verb_stats(int argc, char **argv);
int verb_diff(int argc, char **argv);
int verb_report(int argc, char **argv);
int verb_query(int argc, char **argv);
int verb_mark(int argc, char **argv);
int verb_doctor(int argc, char **argv);

#endif
