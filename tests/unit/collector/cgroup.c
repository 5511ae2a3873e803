/*
 * Groups in a tree of files that looks like the kernel's: what a group says,
 * who shares it, who was killed in it, and what becomes of it when it goes.
 */
#include "collector/cgroup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "include/attrs.h"
#include "tests/unit/check.h"
#include "tests/unit/scratch.h"

#define SECOND_US ((uint64_t)1000000)

static struct scratch scratch;
static struct cgroup_table *table;
static struct cgroup_member members[3];

/* ---- the tree ---------------------------------------------------------- */

static void
directory(const char *name)
{
    char path[SCRATCH_PATH_BYTES];
    check_eq(mkdir(scratch_path(&scratch, name, path), 0700), 0);
}

static void
file(const char *name, const char *content)
{
    char path[SCRATCH_PATH_BYTES];
    scratch_file(&scratch, name, content, strlen(content), 0600, path);
}

/* Both versions are mounted; memory is in the one that a process names. */
static void
set_up(void)
{
    char mounts[2 * SCRATCH_PATH_BYTES + 200];
    scratch = scratch_create();
    static const char *const directories[] = {"self", "1",  "2",
                                              "3",    "v1", "v2"};
    for (size_t i = 0; i < countof(directories); i++)
        directory(directories[i]);
    snprintf(mounts, sizeof(mounts),
             "1 2 0:3 / %s/v1 rw - cgroup cgroup rw,memory\n"
             "1 2 0:4 / %s/v2 rw - cgroup2 cgroup2 rw\n",
             scratch.path, scratch.path);
    file("self/mountinfo", mounts);
    table = cgroup_table_create(scratch.path);
}

static void
clean_up(void)
{
    for (size_t i = 0; i < countof(members); i++)
        cgroup_leave(&members[i]);
    cgroup_table_destroy(table);
    scratch_remove(&scratch);
}

TestSuite(cgroup, .init = set_up, .fini = clean_up, .timeout = 20);

static void
make_v2(void)
{
    directory("v2/a");
    directory("v2/a/b");
    file("v2/a/memory.current", "900\n");
    file("v2/a/memory.max", "1000\n");
    file("v2/a/b/memory.current", "500\n");
    file("v2/a/b/memory.max", "max\n");
    file("v2/a/b/memory.events", "low 0\noom 2\noom_kill 7\n");
    file("v2/a/b/memory.stat",
         "anon 300\nfile 150\nkernel 40\nshmem 50\nfile_mapped 1\n");
    file("1/cgroup", "0::/a/b\n");
    file("2/cgroup", "0::/a/b\n");
}

static void
make_v1(void)
{
    directory("v1/a");
    file("v1/memory.limit_in_bytes", "9223372036854771712\n");
    file("v1/a/memory.usage_in_bytes", "500\n");
    file("v1/a/memory.limit_in_bytes", "700\n");
    file("v1/a/memory.oom_control",
         "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n");
    file("v1/a/memory.kmem.usage_in_bytes", "40\n");
    file("v1/a/memory.stat", "cache 1\nrss 2\nhierarchical_memory_limit 600\n"
                             "total_cache 150\ntotal_rss 300\n"
                             "total_shmem 50\n");
    file("1/cgroup", "5:cpu:/c\n4:memory:/a\n0::/\n");
}

static struct cgroup_usage
usage_of(int32_t pid)
{
    cgroup_review(table, pid, SECOND_US, &members[pid - 1]);
    return cgroup_usage(members[pid - 1].group, SECOND_US);
}

/* ---- figures ----------------------------------------------------------- */

Test(cgroup, version_2_is_read)
{
    make_v2();
    const struct cgroup_usage usage = usage_of(1);
    check_eq(usage.current, 500);
    check_eq(usage.max, 1000); /* the parent's */
    check_eq(usage.oom_kills, 7);
    check_eq(usage.anon, 300);
    check_eq(usage.file, 100);
    check_eq(usage.shmem, 50);
    check_eq(usage.kernel, 40);
}

Test(cgroup, version_1_is_read)
{
    make_v1();
    const struct cgroup_usage usage = usage_of(1);
    check_eq(usage.current, 500);
    check_eq(usage.max, 600); /* the kernel's own sum, unseen ones included */
    check_eq(usage.oom_kills, 3);
    check_eq(usage.anon, 300);
    check_eq(usage.file, 100);
    check_eq(usage.shmem, 50);
    check_eq(usage.kernel, 40);
}

Test(cgroup, the_least_limit_on_the_way_up_counts)
{
    make_v2();
    file("v2/a/b/memory.max", "999\n");
    check_eq(usage_of(1).max, 999);
    file("v2/a/b/memory.max", "1001\n");
    check_eq(usage_of(1).max, 1000);
    file("v2/a/memory.max", "max\n");
    check_eq(usage_of(1).max, 1001);
    file("v2/a/b/memory.max", "max\n");
    check_eq(usage_of(1).max, CGROUP_UNKNOWN);
    check_eq(usage_of(1).current, 500);
    make_v1();
    file("v1/a/memory.stat", "total_rss 300\n");
    cgroup_leave(&members[0]);
    check_eq(usage_of(1).max, 700);
    file("v1/memory.limit_in_bytes", "650\n");
    check_eq(usage_of(1).max, 650);
}

Test(cgroup, what_a_kernel_does_not_tell_is_unknown_and_never_zero)
{
    make_v2();
    file("v2/a/b/memory.events", "oom 2\n");
    file("v2/a/b/memory.stat", "file 150\n");
    struct cgroup_usage usage = usage_of(1);
    check_eq(usage.current, 500);
    check_eq(usage.oom_kills, CGROUP_UNKNOWN);
    check_eq(usage.anon, CGROUP_UNKNOWN);
    check_eq(usage.file, CGROUP_UNKNOWN); /* it may all be shared memory */
    check_eq(usage.shmem, CGROUP_UNKNOWN);
    check_eq(usage.kernel, CGROUP_UNKNOWN);

    usage = usage_of(3); /* it has no such file: dead, or hidden */
    cr_assert_null(members[2].group);
    check_eq(usage.current, CGROUP_UNKNOWN);
    check_eq(usage.max, CGROUP_UNKNOWN);
    check_eq(usage.oom_kills, CGROUP_UNKNOWN);
    check_eq(cgroup_pulse(NULL, 0).current, CGROUP_UNKNOWN);
    check_eq(cgroup_pulse(NULL, 0).oom_kills, CGROUP_UNKNOWN);
}

Test(cgroup, others_have_what_is_not_its_own)
{
    const struct cgroup_usage usage = {.anon = 800};
    check_eq(cgroup_others(&usage, 300), 500);
    check_eq(cgroup_others(&usage, 800), 0);
    check_eq(cgroup_others(&usage, 810), 0); /* the kernel lags behind */
    check_eq(cgroup_others(&usage, 1600), CGROUP_UNKNOWN); /* moved here */
    check_eq(cgroup_others(&usage, -1), CGROUP_UNKNOWN);
    const struct cgroup_usage unknown = {.anon = CGROUP_UNKNOWN};
    check_eq(cgroup_others(&unknown, 300), CGROUP_UNKNOWN);
}

/* ---- which group ------------------------------------------------------- */

Test(cgroup, the_nearest_group_up_that_counts_is_the_one)
{
    make_v2();
    directory("v2/a/b/c");
    directory("v2/none");
    file("1/cgroup", "0::/a/b/c\n");
    check_eq(usage_of(1).current, 500);
    check_eq(usage_of(2).current, 500);
    cr_assert_eq(members[0].group, members[1].group);
    file("3/cgroup", "0::/none\n");
    check_eq(usage_of(3).current, CGROUP_UNKNOWN);
}

Test(cgroup, a_process_that_is_moved_is_followed)
{
    make_v2();
    check_eq(usage_of(1).current, 500);
    file("1/cgroup", "0::/a\n");
    check_eq(usage_of(1).current, 900);
    /* What cannot be read any more stays where it was. */
    char path[SCRATCH_PATH_BYTES];
    check_eq(remove(scratch_path(&scratch, "1/cgroup", path)), 0);
    check_eq(usage_of(1).current, 900);
}

Test(cgroup, a_process_that_exits_is_shown_at_the_root_and_is_not_there)
{
    make_v1();
    file("v1/memory.usage_in_bytes", "123456\n");
    check_eq(usage_of(1).current, 500);
    file("1/cgroup", "5:cpu:/\n4:memory:/\n0::/\n");
    check_eq(usage_of(1).current, 500);
    file("3/cgroup", "4:memory:/\n");
    check_eq(usage_of(3).current, 123456);
}

Test(cgroup, a_group_of_the_same_name_is_another_one)
{
    make_v2();
    check_eq(usage_of(1).current, 500);
    /* Removed (its open files say nothing) and made again. */
    file("v2/a/b/memory.current", "");
    char path[SCRATCH_PATH_BYTES];
    check_eq(remove(scratch_path(&scratch, "v2/a/b/memory.current", path)), 0);
    file("v2/a/b/memory.current", "70\n");
    check_eq(usage_of(2).current, 70);
    cr_assert_neq(members[0].group, members[1].group);
    const struct cgroup_usage old = usage_of(1);
    check_eq(old.current, CGROUP_UNKNOWN);
    check_eq(old.oom_kills, 7); /* the last word */
}

Test(cgroup, processes_of_a_tick_share_one_reading)
{
    make_v2();
    usage_of(1);
    file("v2/a/b/memory.current", "501\n");
    check_eq(cgroup_pulse(members[0].group, SECOND_US + 1000).current, 500);
    check_eq(cgroup_pulse(members[0].group, SECOND_US + 100000).current, 501);
}

/* ---- kills ------------------------------------------------------------- */

static void
kills(unsigned n)
{
    char text[32];
    snprintf(text, sizeof(text), "oom_kill %u\n", n);
    file("v2/a/b/memory.events", text);
}

static void
all_enter_at(uint64_t now_us)
{
    file("3/cgroup", "0::/a/b\n");
    for (int32_t pid = 1; pid <= 3; pid++)
        cgroup_review(table, pid, now_us, &members[pid - 1]);
}

Test(cgroup, each_kill_is_answered_for_once)
{
    make_v2();
    all_enter_at(SECOND_US);
    check_false(cgroup_claim_kill(&members[0], 2 * SECOND_US));
    kills(9);
    check_true(cgroup_claim_kill(&members[0], 3 * SECOND_US));
    check_true(cgroup_claim_kill(&members[1], 3 * SECOND_US));
    check_false(cgroup_claim_kill(&members[2], 3 * SECOND_US));
    kills(10);
    check_true(cgroup_claim_kill(&members[2], 4 * SECOND_US));
}

Test(cgroup, a_kill_before_its_time_is_not_its_own)
{
    make_v2();
    cgroup_review(table, 1, SECOND_US, &members[0]);
    kills(8);
    cgroup_review(table, 2, 2 * SECOND_US, &members[1]);
    check_false(cgroup_claim_kill(&members[1], 3 * SECOND_US));
    check_true(cgroup_claim_kill(&members[0], 3 * SECOND_US));
}

Test(cgroup, a_kill_long_ago_is_nobodys)
{
    make_v2();
    all_enter_at(SECOND_US);
    kills(8);
    cgroup_pulse(members[0].group, 2 * SECOND_US);
    check_false(cgroup_claim_kill(&members[0], 40 * SECOND_US));
    kills(9); /* the old one is not kept for a second claim */
    check_true(cgroup_claim_kill(&members[0], 41 * SECOND_US));
    check_false(cgroup_claim_kill(&members[1], 41 * SECOND_US));
}

Test(cgroup, a_kill_outlives_its_group)
{
    make_v2();
    all_enter_at(SECOND_US);
    kills(8);
    cgroup_pulse(members[0].group, 2 * SECOND_US);
    file("v2/a/b/memory.events", "");
    file("v2/a/b/memory.current", "");
    check_true(cgroup_claim_kill(&members[0], 3 * SECOND_US));
    check_eq(usage_of(1).oom_kills, 8);
}

Test(cgroup, nobody_was_killed_in_a_group_that_is_unknown)
{
    struct cgroup_member nowhere = {0};
    check_false(cgroup_claim_kill(&nowhere, SECOND_US));
    make_v2();
    file("v2/a/b/memory.events", "");
    all_enter_at(SECOND_US);
    kills(8); /* whether it grew is not known */
    check_false(cgroup_claim_kill(&members[0], 2 * SECOND_US));
}
