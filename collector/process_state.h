/*
 * process_state.h - what is known of a process; process*.c's own
 */
#ifndef COLLECTOR_PROCESS_STATE_H
#define COLLECTOR_PROCESS_STATE_H

#include <stdint.h>

#include "collector/image.h"
#include "collector/loop.h"
#include "collector/membership.h"
#include "collector/model/timeline.h"
#include "collector/proc.h"
#include "collector/recording.h"
#include "collector/rows.h"
#include "collector/schedule.h"
#include "collector/world.h"

struct process {
    struct process_world *world;
    int64_t id;
    int64_t parent_id;
    struct proc proc;
    struct image *image;
    int64_t n_execs;
    struct watch watch; /* of the image's pipe */
    char *exe;
    char *command;
    char *note;
    int64_t start_us;
    int64_t end_us;
    int64_t exit_status;
    int64_t vm_hwm_bytes;
    struct membership membership; /* of its cgroup */
    struct timeline timeline;
    struct recording_process row; /* as it was put last */
    struct schedule schedule;
    uint64_t rss_bytes;         /* at the last tick */
    uint64_t closed_us;         /* when the image's pipe closed */
    struct source_totals past;  /* of images before this one */
    uint64_t unexplained_bytes; /* at the last census */
    uint64_t census_us;         /* when that of this image came; 0: none */
    uint64_t census_cpu_us;
    uint64_t census_read_bytes;
};

static inline uint64_t
process_now_us(const struct process *process)
{
    return recording_now_us(process->world->recording);
}

#endif
