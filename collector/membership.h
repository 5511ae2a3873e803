/*
 * membership.h - one process in its memory cgroup
 *
 * What its row, its ticks and its censuses say of the group, and whether the
 * kernel's OOM killer ended it. The collector is a process like any other: it
 * may be in the same group, and then takes its share.
 */
#ifndef COLLECTOR_MEMBERSHIP_H
#define COLLECTOR_MEMBERSHIP_H

#include <stdbool.h>
#include <stdint.h>

#include "collector/cgroup.h"
#include "collector/proc.h"
#include "collector/rows.h"

/* Zeroed, it is nowhere yet. */
struct membership {
    struct cgroup_member member;
    int64_t oom_kills;     /* of its group, while it was there */
    int64_t shares_cgroup; /* whether the collector is in it */
    bool has_claim;        /* on one of the group's kills, if it was killed */
    bool is_settled;       /* how it ended: it has left */
};

/* The collector itself, which all memberships lean on. */
struct membership_own {
    struct cgroup_table *cgroups;
    struct proc proc;
    struct cgroup_member member;
};

struct membership_own membership_own_open(void);
void membership_own_close(struct membership_own *own);

/*
 * Of a child, zeroed, before its review: where its parent is. It may have been
 * killed before anybody could look where it was.
 */
void membership_follow(struct membership *membership,
                       const struct membership *parent, uint64_t since_us);

/* Finds the group that the process is in, which may be another than before. */
void membership_review(struct membership *membership,
                       struct membership_own *own, const struct proc *proc,
                       uint64_t now_us);

/* The same, and what a census says of it. */
void membership_look(struct membership *membership, struct membership_own *own,
                     const struct proc *proc, uint64_t now_us,
                     struct recording_moment *moment);

/* What the group uses now, or unknown. */
int64_t membership_tick(struct membership *membership, uint64_t now_us);

/*
 * It may be dead, or it executes something else. The group may soon be gone,
 * and another may die: if the OOM killer ended somebody, it was this one first.
 */
void membership_note_end(struct membership *membership, uint64_t now_us);

/*
 * It is dead, and leaves. True, once: it was killed, as far as is known, and by
 * the OOM killer.
 */
bool membership_settle(struct membership *membership, bool was_killed,
                       uint64_t now_us);

/* Without another word. */
void membership_finish(struct membership *membership);

#endif
