/*
 * A process in a group of files, from its start to its end: who is told to have
 * been ended by the OOM killer, and what is known of whom is not.
 */
#include "collector/membership.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/check.h"
#include "tests/unit/scratch.h"

#define SECOND_US ((uint64_t)1000000)

static struct scratch scratch;
static struct membership_own own;
static struct membership membership;
static struct proc proc;

static void
file(const char *name, const char *content)
{
    char path[SCRATCH_PATH_BYTES];
    scratch_file(&scratch, name, content, strlen(content), 0600, path);
}

static void
directory(const char *name)
{
    char path[SCRATCH_PATH_BYTES];
    check_eq(mkdir(scratch_path(&scratch, name, path), 0700), 0);
}

/* This program stands for the target; the collector is in a group beside. */
static void
set_up(void)
{
    char line[2 * SCRATCH_PATH_BYTES];
    scratch = scratch_create();
    directory("self");
    directory("its");
    directory("ours");
    snprintf(line, sizeof(line), "1 2 0:4 / %s rw - cgroup2 c rw\n",
             scratch.path);
    file("self/mountinfo", line);
    file("its/memory.current", "500\n");
    file("its/memory.events", "oom_kill 7\n");
    file("its/memory.stat", "anon 1000000000000\n");
    file("ours/memory.current", "20\n");
    own.cgroups = cgroup_table_create(scratch.path);
    own.proc = proc_open(getppid());
    proc = proc_open(getpid());
    snprintf(line, sizeof(line), "%d", getpid());
    directory(line);
    strcat(line, "/cgroup");
    file(line, "0::/its\n");
    snprintf(line, sizeof(line), "%d", getppid());
    directory(line);
    strcat(line, "/cgroup");
    file(line, "0::/ours\n");
    membership_review(&membership, &own, &proc, SECOND_US);
}

static void
clean_up(void)
{
    membership_finish(&membership);
    membership_own_close(&own);
    proc_close(&proc);
    scratch_remove(&scratch);
}

TestSuite(membership, .init = set_up, .fini = clean_up, .timeout = 20);

Test(membership, a_census_hears_of_the_group_and_of_the_collector)
{
    struct recording_moment moment = {0};
    membership_look(&membership, &own, &proc, 2 * SECOND_US, &moment);
    check_eq(moment.cgroup.current, 500);
    check_eq(moment.cgroup.oom_kills, 7);
    check_eq(membership.oom_kills, 7);
    check_eq(membership.shares_cgroup, 0);
    check_ge(moment.collector_rss_bytes, 4096);
    check_ge(moment.cgroup_others, 1);
    check_le(moment.cgroup_others, 1000000000000 - 4096);
}

Test(membership, the_collector_may_be_in_the_same_group)
{
    char name[32];
    snprintf(name, sizeof(name), "%d/cgroup", getppid());
    file(name, "0::/its\n");
    membership_review(&membership, &own, &proc, 2 * SECOND_US);
    check_eq(membership.shares_cgroup, 1);
    snprintf(name, sizeof(name), "%d/cgroup", getpid());
    file(name, "0::/nowhere\n");
    membership_review(&membership, &own, &proc, 3 * SECOND_US);
    check_eq(membership.shares_cgroup, RECORDING_UNKNOWN);
    check_eq(membership_tick(&membership, 3 * SECOND_US), CGROUP_UNKNOWN);
    check_eq(membership.oom_kills, RECORDING_UNKNOWN);
}

Test(membership, who_was_killed_where_somebody_was_is_told_once)
{
    file("its/memory.events", "oom_kill 8\n");
    check_true(membership_settle(&membership, true, 2 * SECOND_US));
    check_eq(membership.oom_kills, 8);
    check_false(membership_settle(&membership, true, 2 * SECOND_US));
}

Test(membership, who_was_not_killed_is_not_told_of)
{
    file("its/memory.events", "oom_kill 8\n");
    check_false(membership_settle(&membership, false, 2 * SECOND_US));
    check_eq(membership.oom_kills, 8);
    check_false(membership_settle(&membership, true, 2 * SECOND_US));
}

Test(membership, without_a_kill_in_the_group_somebody_else_did_it)
{
    check_false(membership_settle(&membership, true, 2 * SECOND_US));
    check_eq(membership.oom_kills, 7);
}

static void
enter_another(struct membership *another)
{
    membership_review(another, &own, &proc, SECOND_US);
    file("its/memory.events", "oom_kill 8\n");
}

Test(membership, of_two_that_were_killed_it_was_who_ended_first)
{
    struct membership another = {0};
    enter_another(&another);
    membership_note_end(&another, 2 * SECOND_US);
    check_false(membership_settle(&membership, true, 3 * SECOND_US));
    check_true(membership_settle(&another, true, 4 * SECOND_US));
}

Test(membership, who_ended_first_but_was_not_killed_leaves_it_to_others)
{
    struct membership another = {0};
    enter_another(&another);
    membership_note_end(&another, 2 * SECOND_US);
    check_false(membership_settle(&another, false, 3 * SECOND_US));
    check_true(membership_settle(&membership, true, 4 * SECOND_US));
}

Test(membership, who_lives_on_leaves_it_to_others)
{
    struct membership another = {0};
    enter_another(&another);
    membership_note_end(&another, 2 * SECOND_US); /* it was an exec */
    membership_review(&another, &own, &proc, 3 * SECOND_US);
    check_true(membership_settle(&membership, true, 4 * SECOND_US));
    membership_finish(&another);
}

Test(membership, after_its_end_its_figures_stay)
{
    membership_settle(&membership, false, 2 * SECOND_US);
    file("its/memory.events", "oom_kill 9\n");
    membership_review(&membership, &own, &proc, 3 * SECOND_US);
    membership_tick(&membership, 3 * SECOND_US);
    check_eq(membership.oom_kills, 7);
    check_eq(membership.shares_cgroup, 0);
}

Test(membership, a_group_that_went_with_it_is_remembered)
{
    file("its/memory.events", "oom_kill 8\n");
    membership_note_end(&membership, 2 * SECOND_US);
    file("its/memory.events", "");
    file("its/memory.current", "");
    check_true(membership_settle(&membership, true, 4 * SECOND_US));
    check_eq(membership.oom_kills, 8);
}
