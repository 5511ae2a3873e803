/*
 * replace.h - whether a file may be written over
 *
 * An option that says so covers what we wrote ourselves and nothing else: no
 * device, no recording that somebody is writing, nobody else's file.
 */
#ifndef REPORT_REPLACE_H
#define REPORT_REPLACE_H

#include <stdbool.h>

/*
 * NULL: path is free, or may be replaced. Else one sentence that says why not,
 * which the caller frees.
 */
char *replace_recording(const char *path, bool is_asked_to);
char *replace_page(const char *path, bool is_asked_to);

#endif
