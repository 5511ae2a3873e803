/*
 * cgroup.h - the memory cgroups that processes are in
 *
 * What a group uses, what it may use, and how many processes the kernel's OOM
 * killer has ended in it. Its files stay open, so that a tick costs two small
 * reads, for all its processes together. Unknown is CGROUP_UNKNOWN: the group
 * is not visible, its kernel does not count that, or somebody removed it.
 *
 * The loop's thread alone.
 */
#ifndef COLLECTOR_CGROUP_H
#define COLLECTOR_CGROUP_H

#include <stdbool.h>
#include <stdint.h>

#include "collector/cgroup_text.h"

/* Descendants included, as the kernel counts; bytes but for the kills. */
struct cgroup_usage {
    int64_t current;
    int64_t max; /* the least on the way up; unknown: none is visible */
    int64_t oom_kills;
    int64_t anon;   /* programs' own memory, shared memory apart */
    int64_t file;   /* page cache, shared memory apart */
    int64_t shmem;  /* tmpfs and shared memory */
    int64_t kernel; /* the kernel's own, page tables among it */
};

/* What is cheap enough for every tick. */
struct cgroup_pulse {
    int64_t current;
    int64_t oom_kills;
};

struct cgroup_table;
struct cgroup;

/* Never NULL. proc is where the kernel's files are: "/proc". */
struct cgroup_table *cgroup_table_create(const char *proc);

/* After the last member has left. */
void cgroup_table_destroy(struct cgroup_table *table);

/* A process' stay in a group, if its group is visible. */
struct cgroup_member {
    struct cgroup *group; /* NULL: unknown */
    uint64_t since_us;    /* as far as we know */
    char *place;          /* its /proc/PID/cgroup */
};

/*
 * Finds the group that the process is in now: the nearest one up that counts
 * memory. For a new member, zeroed, and for one that may have been moved.
 */
void cgroup_review(struct cgroup_table *table, int32_t pid, uint64_t now_us,
                   struct cgroup_member *member);
void cgroup_leave(struct cgroup_member *member);

/* Of a child, zeroed: it is where its parent was, since it began. */
void cgroup_follow(const struct cgroup_member *parent, uint64_t since_us,
                   struct cgroup_member *member);

/* Read anew unless that was done a moment ago. NULL: all is unknown. */
struct cgroup_pulse cgroup_pulse(struct cgroup *group, uint64_t now_us);

/* Read anew. NULL: all is unknown. */
struct cgroup_usage cgroup_usage(struct cgroup *group, uint64_t now_us);

/*
 * Programs' own memory in the group that is not this process', which has so
 * much of it. Unknown where it has more than its group: it was moved here.
 */
int64_t cgroup_others(const struct cgroup_usage *usage, int64_t own_bytes);

/*
 * Whether a member that was killed is one of those that the OOM killer ended:
 * each kill in its group is answered for once, if it came during the stay and
 * not long ago.
 */
bool cgroup_claim_kill(const struct cgroup_member *member, uint64_t now_us);

/* It was another's after all. */
void cgroup_return_kill(struct cgroup *group);

#endif
