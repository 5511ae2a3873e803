/*
 * exit.h - what the exit status of residue means (DESIGN 8)
 */
#ifndef REPORT_EXIT_H
#define REPORT_EXIT_H

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

#endif
