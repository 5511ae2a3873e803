#include "collector/membership.h"

#include <unistd.h>

/* ---- the collector ----------------------------------------------------- */

struct membership_own
membership_own_open(void)
{
    return (struct membership_own){
        .cgroups = cgroup_table_create("/proc"),
        .proc = proc_open(getpid()),
    };
}

void
membership_own_close(struct membership_own *own)
{
    cgroup_leave(&own->member);
    cgroup_table_destroy(own->cgroups);
    proc_close(&own->proc);
}

/* ---- a process --------------------------------------------------------- */

static void
give_back(struct membership *membership)
{
    if (membership->has_claim)
        cgroup_return_kill(membership->member.group);
    membership->has_claim = false;
}

void
membership_follow(struct membership *membership,
                  const struct membership *parent, uint64_t since_us)
{
    cgroup_follow(&parent->member, since_us, &membership->member);
}

void
membership_review(struct membership *membership, struct membership_own *own,
                  const struct proc *proc, uint64_t now_us)
{
    struct cgroup_member *member = &membership->member;
    if (membership->is_settled)
        return;            /* what its pid means now is somebody else */
    give_back(membership); /* it lives */
    cgroup_review(own->cgroups, proc->pid, now_us, member);
    cgroup_review(own->cgroups, own->proc.pid, now_us, &own->member);
    membership->oom_kills = cgroup_pulse(member->group, now_us).oom_kills;
    membership->shares_cgroup = member->group == NULL
                                    ? RECORDING_UNKNOWN
                                    : member->group == own->member.group;
}

void
membership_look(struct membership *membership, struct membership_own *own,
                const struct proc *proc, uint64_t now_us,
                struct recording_moment *moment)
{
    membership_review(membership, own, proc, now_us);
    moment->cgroup = cgroup_usage(membership->member.group, now_us);
    moment->cgroup_others = cgroup_others(&moment->cgroup, proc_anon(proc));
    moment->collector_rss_bytes = (int64_t)proc_rss(&own->proc);
}

int64_t
membership_tick(struct membership *membership, uint64_t now_us)
{
    const struct cgroup_pulse pulse =
        cgroup_pulse(membership->member.group, now_us);
    if (!membership->is_settled)
        membership->oom_kills = pulse.oom_kills;
    return pulse.current;
}

void
membership_note_end(struct membership *membership, uint64_t now_us)
{
    if (!membership->has_claim)
        membership->has_claim = cgroup_claim_kill(&membership->member, now_us);
}

bool
membership_settle(struct membership *membership, bool was_killed,
                  uint64_t now_us)
{
    struct cgroup_member *member = &membership->member;
    if (membership->is_settled)
        return false;
    membership_note_end(membership, now_us);
    membership->oom_kills = cgroup_pulse(member->group, now_us).oom_kills;
    if (!was_killed)
        give_back(membership);
    membership->is_settled = true;
    cgroup_leave(member);
    return membership->has_claim;
}

void
membership_finish(struct membership *membership)
{
    cgroup_leave(&membership->member);
}
