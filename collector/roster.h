/*
 * roster.h - every process that has introduced itself to this collector
 *
 * Numbers them in order of their start, finds parents, keeps time for all, and
 * knows when nobody is left.
 */
#ifndef COLLECTOR_ROSTER_H
#define COLLECTOR_ROSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "collector/process.h"

struct roster;

/* Never NULL. All three outlive it. */
struct roster *roster_create(struct loop *loop, struct survey *survey,
                             struct recording *recording);
void roster_destroy(struct roster *roster);

/* Takes the introduction's descriptors. False: they were not acceptable. */
bool roster_introduce(struct roster *roster,
                      const struct introduction *introduction);

/* Every 100 ms. */
void roster_tick(struct roster *roster);

/* A census has come back. */
void roster_fetch(struct roster *roster);

/*
 * Files a labelled census of process pid, or of all that live when pid is 0.
 * Returns how many were filed; `done` is called with mark for each that has
 * reached the recording.
 */
unsigned roster_mark(struct roster *roster, pid_t pid, const char *label,
                     void (*done)(void *mark), void *mark);

/* What its parent learned from waitpid. */
void roster_set_exit(struct roster *roster, pid_t pid, int wait_status);

/* How many still speak to us, or are expected to. */
unsigned roster_n_open(const struct roster *roster);

/* Whether all is told: nobody lives, nobody is expected, no census is out. */
bool roster_is_over(const struct roster *roster);

/* For tests: what each process has alive (process_write_lives). */
void roster_write_lives(const struct roster *roster, const char *directory);

/* The collector stops: the last rows of everybody. */
void roster_finish(struct roster *roster);

#endif
