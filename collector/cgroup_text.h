/*
 * cgroup_text.h - what the kernel writes about memory cgroups, understood
 *
 * Pure: texts in, words and numbers out. Version 1 has a hierarchy for memory
 * alone, version 2 one for all; where both are mounted, memory is in one of
 * them. A number that is not there is CGROUP_UNKNOWN, never 0.
 */
#ifndef COLLECTOR_CGROUP_TEXT_H
#define COLLECTOR_CGROUP_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CGROUP_UNKNOWN = -1 };

enum cgroup_version {
    CGROUP_V1,
    CGROUP_V2,
    N_CGROUP_VERSIONS,
};

/* A process' place: which hierarchy, and the path in it. */
struct cgroup_place {
    enum cgroup_version version;
    char *path; /* the caller frees it */
};

/* Of /proc/PID/cgroup. False: it names no hierarchy that has memory. */
bool cgroup_text_place(const char *text, struct cgroup_place *place);

/*
 * The place's directory, by the mounts of /proc/PID/mountinfo; the caller frees
 * it. *n_top_bytes of it are the mount point, above which nothing is visible.
 * NULL: no mount shows it.
 */
char *cgroup_text_directory(const char *mountinfo,
                            const struct cgroup_place *place,
                            size_t *n_top_bytes);

/* A file that is one number. */
int64_t cgroup_text_number(const char *text);

/* A number that is a limit: what version 1 says for "max" is unknown too. */
int64_t cgroup_text_limit(int64_t number);

/* The number behind a word at the start of a line. */
int64_t cgroup_text_value(const char *text, const char *word);

#endif
