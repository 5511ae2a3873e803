/*
 * replace.h - whether a file may be written over
 *
 * An option that says so covers what we wrote ourselves and nothing else: no
 * device, no recording that somebody is writing, nobody else's file.
 */
#ifndef REPORT_REPLACE_H
#define REPORT_REPLACE_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * NULL: path is free, or may be replaced. Else one sentence that says why not,
 * which the caller frees.
 */
char *replace_recording(const char *path, bool is_asked_to);
char *replace_page(const char *path, bool is_asked_to);

/*
 * "residue.PROGRAM.PID.rec" in the working directory, of the letters and digits
 * of the program's name; the caller frees it.
 */
char *replace_default_name(const char *program, pid_t pid);

/* Unlinks a recording and what SQLite keeps beside it. */
void replace_remove(const char *path);

#endif
