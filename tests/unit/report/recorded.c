#include "tests/unit/report/recorded.h"

#include <err.h>
#include <poll.h>
#include <time.h>

#include "include/xalloc.h"

struct recorded
recorded_create(const struct scratch *scratch, const char *name)
{
    struct recorded recorded;
    struct timespec now;
    char why[256];
    clock_gettime(CLOCK_MONOTONIC, &now);
    recorded.started_us =
        (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
    scratch_path(scratch, name, recorded.path);
    recorded.recording =
        recording_open(recorded.path, "/a/socket", why, sizeof(why));
    if (recorded.recording == NULL)
        errx(1, "%s: %s", recorded.path, why);
    return recorded;
}

void
recorded_process(struct recorded *recorded, int64_t id, const char *exe)
{
    recording_put_process(recorded->recording,
                          &(struct recording_process){
                              .id = id,
                              .pid = 1000 + id,
                              .ns_pid = 1000 + id,
                              .ppid = 1,
                              .parent = RECORDING_UNKNOWN,
                              .exe = exe,
                              .command = "[\"a\",\"b\"]",
                              .python = "3.11.7",
                              .level = "watch",
                              .end_us = RECORDING_UNKNOWN,
                              .exit_status = RECORDING_UNKNOWN,
                              .vm_hwm_bytes = RECORDING_UNKNOWN,
                              .oom_kills = RECORDING_UNKNOWN,
                              .shares_cgroup = RECORDING_UNKNOWN,
                          });
}

static void
add_type(struct census *census, const char *name, uint64_t pinned_held)
{
    census->types = xcalloc(1, sizeof(census->types[0]));
    census->types[0] = (struct census_type){
        .name = xstrdup(name),
        .n_objects = 80,
        .n_bytes = 80 * 32,
        .held_exclusive = pinned_held,
        .exclusive_bytes = 80 * 32,
        .pinned_exclusive = pinned_held,
        .pinned_bytes = 80 * 32,
        .n_pinned = 80,
    };
    census->n_types = 1;
    census->has_types = true;
    census->has_low_types = true;
}

static void
add_arena(struct census *census, uint64_t pinned_held)
{
    census->arenas = xcalloc(1, sizeof(census->arenas[0]));
    census->arenas[0] = (struct census_arena){
        .address = 0x7f0000000000,
        .n_bytes = pinned_held + 4096,
        .resident_bytes = pinned_held + 4096,
        .live_bytes = 4096,
        .n_used_blocks = 80,
        .is_pinned = true,
    };
    census->n_arenas = 1;
}

static struct recording_moment
moment_of(const struct recorded_census *wanted)
{
    static const struct cgroup_usage unknown = {
        CGROUP_UNKNOWN, CGROUP_UNKNOWN, CGROUP_UNKNOWN, CGROUP_UNKNOWN,
        CGROUP_UNKNOWN, CGROUP_UNKNOWN, CGROUP_UNKNOWN,
    };
    return (struct recording_moment){
        .process = wanted->process,
        .vm_hwm_bytes = RECORDING_UNKNOWN,
        .label = wanted->label,
        .collector_rss_bytes = RECORDING_UNKNOWN,
        .cgroup = wanted->cgroup == NULL ? unknown : *wanted->cgroup,
        .cgroup_others = RECORDING_UNKNOWN,
    };
}

int64_t
recorded_census(struct recorded *recorded, const struct recorded_census *wanted)
{
    return recorded_census_with(recorded, wanted, NULL, 0);
}

int64_t
recorded_census_with(struct recorded *recorded,
                     const struct recorded_census *wanted,
                     const struct recording_use *uses, size_t n)
{
    struct census *census = xcalloc(1, sizeof(*census));
    uint64_t sum = 0;
    census->kind = wanted->kind;
    census->is_read = true;
    census->is_whole = true;
    census->rss_bytes = wanted->rss_bytes;
    census->started_us = recorded->started_us + wanted->after_ms * 1000 + 500;
    for (unsigned i = 0; i < N_CAUSES; i++) {
        census->ledger[i] = wanted->ledger[i];
        sum += wanted->ledger[i];
    }
    census->ledger[CAUSE_file] += wanted->rss_bytes - sum;
    if (wanted->type != NULL)
        add_type(census, wanted->type, wanted->pinned_held);
    if (wanted->pinned_held != 0)
        add_arena(census, wanted->pinned_held);
    const int64_t t_us =
        (int64_t)recording_us(recorded->recording, census->started_us * 1000);
    struct recording_moment moment = moment_of(wanted);
    moment.uses = uses;
    moment.n_uses = n;
    recording_put_census(recorded->recording, &moment, census);
    return t_us;
}

void
recorded_flush(struct recorded *recorded)
{
    static char token;
    struct pollfd ready = {.fd = recording_fd(recorded->recording),
                           .events = POLLIN};
    recording_put_sync(recorded->recording, &token);
    while (recording_fetch(recorded->recording) == NULL) {
        if (poll(&ready, 1, 20000) != 1)
            errx(1, "%s is not written", recorded->path);
    }
}

void
recorded_seal(struct recorded *recorded)
{
    if (!recording_seal(recorded->recording))
        errx(1, "%s was not sealed", recorded->path);
    recorded->recording = NULL;
}
