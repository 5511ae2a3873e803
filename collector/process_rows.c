#include "collector/process_rows.h"

#include <stdlib.h>
#include <string.h>

#include "collector/uses.h"
#include "include/attrs.h"

struct wire_counters
process_add_counters(struct wire_counters a, const struct wire_counters *b)
{
    a.births += b->births;
    a.birth_bytes += b->birth_bytes;
    a.deaths += b->deaths;
    a.death_bytes += b->death_bytes;
    return a;
}

/* As if nothing of it had died. */
static struct wire_counters
living(const struct livemap *heap)
{
    const struct livemap_totals totals = livemap_totals(heap);
    return (struct wire_counters){
        .births = totals.live_blocks,
        .birth_bytes = totals.live_bytes,
    };
}

/* What the process did over all its images, and what lives in this one. */
struct recording_moment
process_moment(const struct process *process)
{
    const struct image *image = process->image;
    const struct source_totals totals = image_totals(process->image);
    struct wire_counters all = {0};
    struct wire_counters own = {0};
    for (unsigned i = 0; i < WIRE_N_CALLERS; i++) {
        own = process_add_counters(own, &totals.counters[i]);
        all = process_add_counters(all, &totals.counters[i]);
        all = process_add_counters(all, &process->past.counters[i]);
        if (image->hello.reason == WIRE_REASON_FORK)
            own = process_add_counters(own, &image->hello.inherited[i]);
    }
    if (image->turns != NULL)
        own = living(turns_map(image->turns));
    return (struct recording_moment){
        .process = process->id,
        .image = process->n_execs,
        .vm_hwm_bytes = process->vm_hwm_bytes,
        .births = (int64_t)all.births,
        .deaths = (int64_t)all.deaths,
        .live_blocks = (int64_t)(own.births - own.deaths),
        .live_bytes = (int64_t)(own.birth_bytes - own.death_bytes),
    };
}

/* ---- sites ------------------------------------------------------------- */

struct recording_use *
process_uses(const struct process *process, const struct image *image,
             size_t *n)
{
    struct process_world *world = process->world;
    size_t n_known;
    struct sites_use *known = image_uses(image, &n_known);
    *n = 0;
    if (known == NULL)
        return NULL;
    struct site_news *news = site_news_take(world->catalogue, &world->known);
    if (news != NULL)
        recording_put_sites(world->recording, news);
    struct recording_use *uses = uses_of(known, n_known, n);
    free(known);
    return uses;
}

void
process_put_uses(const struct process *process)
{
    size_t n;
    struct recording_use *uses = process_uses(process, process->image, &n);
    if (uses != NULL)
        recording_put_uses(process->world->recording, process->id, uses, n);
    free(uses);
}

/* ---- other rows -------------------------------------------------------- */

void
process_put_row(struct process *process)
{
    const struct image *image = process->image;
    const struct wire_hello *hello = &image->hello;
    const struct source_totals totals = image_totals(process->image);
    const struct source_totals *past = &process->past;
    const struct recording_moment moment = process_moment(process);
    const struct wire_counters python =
        process_add_counters(totals.counters[WIRE_CALLER_PYTHON],
                             &past->counters[WIRE_CALLER_PYTHON]);
    const struct recording_process row = {
        .id = process->id,
        .pid = process->proc.pid,
        .ns_pid = hello->pid,
        .ppid = hello->parent_pid,
        .parent = process->parent_id,
        .exe = process->exe,
        .command = process->command,
        .python =
            hello->python_version[0] == '\0' ? NULL : hello->python_version,
        .note = process->note,
        .level = image->turns == NULL ? "watch" : "exact",
        .start_us = process->start_us,
        .end_us = process->end_us,
        .exit_status = process->exit_status,
        .vm_hwm_bytes = process->vm_hwm_bytes,
        .births = moment.births,
        .deaths = moment.deaths,
        .live_blocks = moment.live_blocks,
        .live_bytes = moment.live_bytes,
        .python_births =
            image->is_python_found ? RECORDING_UNKNOWN : (int64_t)python.births,
        .python_deaths =
            image->is_python_found ? RECORDING_UNKNOWN : (int64_t)python.deaths,
        .lost_events = (int64_t)(past->lost_events + totals.lost_events),
        .lost_batches = (int64_t)(past->lost_batches + totals.lost_batches),
        .census_cpu_us = (int64_t)process->census_cpu_us,
        .census_read_bytes = (int64_t)process->census_read_bytes,
        .oom_kills = process->membership.oom_kills,
        .shares_cgroup = process->membership.shares_cgroup,
    };
    if (memcmp(&row, &process->row, sizeof(row)) == 0)
        return; /* nothing is new of it */
    process->row = row;
    recording_put_process(process->world->recording, &row);
}

void
process_put_gc(const struct process *process)
{
    struct recording *recording = process->world->recording;
    const struct gc *gc = &process->image->gc;
    for (unsigned i = 0; i < GC_GENERATIONS && gc->is_known; i++) {
        const struct gc_generation *generation = &gc->generations[i];
        recording_put_gc(
            recording,
            &(struct recording_gc){
                .process = process->id,
                .generation = i,
                .collections = (int64_t)generation->collections,
                .collected = (int64_t)generation->collected,
                .uncollectable = (int64_t)generation->uncollectable,
                .pause_us_total = (int64_t)(generation->pause_ns_total / 1000),
                .pause_us_max = (int64_t)(generation->pause_ns_max / 1000),
                .pauses_since_us =
                    (int64_t)recording_us(recording, gc->since_ns),
            });
    }
}

void
process_put_ticks(const struct process *process,
                  const struct timeline_row *rows, const bool *is_done)
{
    for (unsigned tier = 0; tier < TIMELINE_TIERS; tier++) {
        const struct timeline_row *row = &rows[tier];
        if (!is_done[tier])
            continue;
        struct recording_tick tick = {
            .tier = tier,
            .process = process->id,
            .t_us = row->t_us,
            .n = row->n,
        };
        const struct timeline_values *const points[] = {
            &row->least, &row->greatest, &row->last};
        for (unsigned i = 0; i < countof(points); i++) {
            tick.rss[i] = points[i]->rss;
            tick.live[i] = points[i]->live;
            tick.arenas[i] = points[i]->arenas;
            tick.cgroup[i] = points[i]->cgroup;
        }
        recording_put_tick(process->world->recording, &tick);
    }
}
