/*
 * launch.h - the process tree of a run
 *
 * residue is the parent of both. The target stays in its process group, so that
 * the terminal's Ctrl-C and Ctrl-Z reach it as if we were not there; residued
 * gets a session of its own, so that they do not reach it.
 */
#ifndef REPORT_LAUNCH_H
#define REPORT_LAUNCH_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* ---- the target -------------------------------------------------------- */

struct target {
    pid_t pid;
    int go;      /* what is written here lets it execute */
    int failure; /* errno of an exec that failed; closed when it worked */
};

/*
 * Forks the target, which waits to be let go. Blocks in this process the
 * signals that launch_wait forwards; the target has the mask it would have had.
 * False: errno says why.
 */
bool launch_target(struct target *target, char *const argv[],
                   const char *preload, const char *socket);

/* Lets it execute. Returns 0, or the errno of an exec that failed. */
int launch_go(struct target *target);

/* It is not to run after all. */
void launch_cancel(struct target *target);

/*
 * Until the target has ended: forwards what is sent to us, stops and goes on
 * with it, reaps whatever else dies. Returns its wait status.
 */
int launch_wait(pid_t target);

/* ---- the collector ----------------------------------------------------- */

struct collector {
    pid_t pid;
    int control; /* its end of the conversation, -1: it could not be started */
    int log;     /* what it said on standard error */
};

/* more: further arguments, up to a NULL. False: errno says why. */
bool launch_collector(struct collector *collector, const char *program,
                      const char *socket, const char *recording,
                      char *const more[]);

/* Its warnings, a line each; the caller frees it. "" where there are none. */
char *launch_log(const struct collector *collector);

#endif
