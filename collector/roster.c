#include "collector/roster.h"

#include <unistd.h>

#include "collector/proc.h"
#include "collector/process_census.h"
#include "include/xalloc.h"

enum {
    EXPECTED_US = 500000, /* a spawned child introduces itself by then */
    MOST_EXPECTED = 4096,
};

/* A child that its parent spoke of. */
struct expected {
    struct proc proc;
    uint64_t since_us;
};

/* Who is told when a mark's census has come back. */
struct mark {
    void (*done)(void *mark);
    void *mark;
    unsigned n_left;
};

struct roster {
    struct process_world world;
    struct process **processes; /* in order of their start */
    size_t n_processes;
    size_t capacity;
    struct expected *expected;
    size_t n_expected;
    size_t expected_capacity;
};

static uint64_t
now_us(const struct roster *roster)
{
    return recording_now_us(roster->world.recording);
}

/* ---- children to come -------------------------------------------------- */

static void
expect(void *context, pid_t pid)
{
    struct roster *roster = context;
    if (roster->n_expected == MOST_EXPECTED)
        return; /* a target that floods us with children only delays itself */
    XGROW(roster->expected, roster->expected_capacity, roster->n_expected);
    roster->expected[roster->n_expected++] = (struct expected){
        .proc = proc_open(pid),
        .since_us = now_us(roster),
    };
}

static void
forget_expected(struct roster *roster, size_t i)
{
    proc_close(&roster->expected[i].proc);
    roster->expected[i] = roster->expected[--roster->n_expected];
}

/* The one that came, and those that never will. */
static void
review_expected(struct roster *roster, pid_t came)
{
    for (size_t i = roster->n_expected; i-- > 0;) {
        const struct expected *expected = &roster->expected[i];
        if (expected->proc.pid == came || !proc_is_alive(&expected->proc) ||
            now_us(roster) - expected->since_us > EXPECTED_US)
            forget_expected(roster, i);
    }
}

/* ---- life -------------------------------------------------------------- */

static void
marked(void *context, void *mark)
{
    (void)context;
    struct mark *waiting = mark;
    waiting->done(waiting->mark);
    if (--waiting->n_left == 0)
        free(waiting);
}

struct roster *
roster_create(struct loop *loop, struct survey *survey,
              struct recording *recording)
{
    struct roster *roster = xcalloc(1, sizeof(*roster));
    roster->world = (struct process_world){
        .loop = loop,
        .survey = survey,
        .recording = recording,
        .catalogue = catalogue_create(),
        .expect = expect,
        .marked = marked,
        .context = roster,
    };
    roster->world.naming = naming_create(roster->world.catalogue);
    budget_start(&roster->world.budget, now_us(roster));
    roster->world.own = membership_own_open();
    return roster;
}

void
roster_destroy(struct roster *roster)
{
    if (roster == NULL)
        return;
    for (size_t i = 0; i < roster->n_processes; i++)
        process_destroy(roster->processes[i]);
    while (roster->n_expected != 0)
        forget_expected(roster, roster->n_expected - 1);
    membership_own_close(&roster->world.own);
    naming_destroy(roster->world.naming);
    catalogue_destroy(roster->world.catalogue);
    free(roster->processes);
    free(roster->expected);
    free(roster);
}

/* The latest process of that pid that may still be alive, or NULL. */
static struct process *
find(const struct roster *roster, pid_t pid)
{
    for (size_t i = roster->n_processes; i-- > 0;) {
        struct process *process = roster->processes[i];
        if (process_pid(process) == pid)
            return process;
    }
    return NULL;
}

/*
 * Who forked this child: the latest of that pid, as it saw itself, for a child
 * knows nothing else. It may have died since.
 */
static struct process *
find_parent(const struct roster *roster, const struct wire_hello *hello)
{
    for (size_t i = roster->n_processes; i-- > 0;) {
        struct process *process = roster->processes[i];
        if (process_ns_pid(process) == hello->parent_pid)
            return process;
    }
    return NULL;
}

bool
roster_introduce(struct roster *roster, const struct introduction *introduction)
{
    review_expected(roster, introduction->pid);
    struct process *known = find(roster, introduction->pid);
    if (known != NULL && introduction->hello.reason == WIRE_REASON_START &&
        process_is_same(known))
        return process_exec(known, introduction);

    struct process *process =
        process_create(&roster->world, (int64_t)roster->n_processes + 1,
                       introduction, find_parent(roster, &introduction->hello));
    if (process == NULL)
        return false;
    XGROW(roster->processes, roster->capacity, roster->n_processes);
    roster->processes[roster->n_processes++] = process;
    return true;
}

void
roster_tick(struct roster *roster)
{
    for (size_t i = 0; i < roster->n_processes; i++)
        process_tick(roster->processes[i]);
    review_expected(roster, -1);
    recording_put_number(roster->world.recording, "survey_cpu_us",
                         (int64_t)survey_cpu_us(roster->world.survey));
}

void
roster_fetch(struct roster *roster)
{
    struct survey_job *job;
    while ((job = survey_fetch(roster->world.survey)) != NULL)
        process_take_back(job);
}

unsigned
roster_mark(struct roster *roster, pid_t pid, const char *label,
            void (*done)(void *mark), void *mark)
{
    struct mark *waiting = xcalloc(1, sizeof(*waiting));
    waiting->done = done;
    waiting->mark = mark;
    for (size_t i = 0; i < roster->n_processes; i++) {
        struct process *process = roster->processes[i];
        if ((pid == 0 || process_pid(process) == pid ||
             process_ns_pid(process) == pid) &&
            process_mark(process, label, waiting))
            waiting->n_left++;
    }
    const unsigned n_filed = waiting->n_left;
    if (n_filed == 0)
        free(waiting);
    return n_filed;
}

void
roster_set_exit(struct roster *roster, pid_t pid, int wait_status)
{
    struct process *process = find(roster, pid);
    if (process != NULL)
        process_set_exit(process, wait_status);
}

unsigned
roster_n_open(const struct roster *roster)
{
    unsigned n_open = (unsigned)roster->n_expected;
    for (size_t i = 0; i < roster->n_processes; i++)
        n_open += !process_is_over(roster->processes[i]);
    return n_open;
}

bool
roster_is_over(const struct roster *roster)
{
    return roster_n_open(roster) == 0;
}

void
roster_write_lives(const struct roster *roster, const char *directory)
{
    for (size_t i = 0; i < roster->n_processes; i++)
        process_write_lives(roster->processes[i], directory);
}

/* All frames are known: what they are called goes to the recording. */
static void
name_frames(struct roster *roster)
{
    struct process_world *world = &roster->world;
    if (catalogue_n_frames(world->catalogue) == 0)
        return;
    struct site_news *news = site_news_take(world->catalogue, &world->known);
    if (news == NULL)
        news = site_news_create();
    const size_t n_lost = naming_say(world->naming, news);
    recording_put_sites(world->recording, news);
    recording_put_number(world->recording, "frames_not_named", (int64_t)n_lost);
}

void
roster_finish(struct roster *roster)
{
    for (size_t i = 0; i < roster->n_processes; i++)
        process_finish(roster->processes[i]);
    name_frames(roster);
    recording_put_number(roster->world.recording, "collector_vm_hwm_bytes",
                         proc_vm_hwm(&roster->world.own.proc));
}
