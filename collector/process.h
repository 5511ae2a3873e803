/*
 * process.h - one traced process: its models, its censuses, its row
 *
 * A process lives through one image after another (exec keeps its row); each
 * image has a source, the memory it was read from and the models of what it
 * maps. All of it belongs to the loop's thread, save the memory and the source
 * of an image for which a census is filed.
 */
#ifndef COLLECTOR_PROCESS_H
#define COLLECTOR_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "collector/image.h"
#include "collector/world.h"

struct process;

/*
 * Takes the introduction's descriptors. parent may be NULL; a fork's models are
 * clones of its parent's. NULL: the descriptors are not what they should be.
 */
struct process *process_create(struct process_world *world, int64_t id,
                               const struct introduction *introduction,
                               struct process *parent);
void process_destroy(struct process *process);

/* A new image of the same process. False: as above, the old one stays. */
bool process_exec(struct process *process,
                  const struct introduction *introduction);

int64_t process_id(const struct process *process);
pid_t process_pid(const struct process *process);

/* Its own idea of its pid. */
pid_t process_ns_pid(const struct process *process);

/* Whether its pid still means this process. */
bool process_is_same(const struct process *process);

/* Every 100 ms. */
void process_tick(struct process *process);

void process_set_exit(struct process *process, int wait_status);

/* The collector stops: whatever the process still does is not recorded. */
void process_finish(struct process *process);

/* Its live blocks into directory/PID.live, where they are known one by one. */
void process_write_lives(const struct process *process, const char *directory);

/*
 * Nothing more will come: it is dead, or runs an image that does not speak to
 * us and has been silent for a while.
 */
bool process_is_over(const struct process *process);

#endif
