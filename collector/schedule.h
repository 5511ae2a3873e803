/*
 * schedule.h - when the next census of a process is due, and what it may cost
 *
 * The first one at once, then one a second and one at each new maximum of RSS:
 * with all types where the budget allows it, else with a sample of them, else
 * not at all. One that costs more than the budget ever holds is due when that
 * is full, and leaves it in debt: so they come the seldomer the larger a heap.
 * What is awaited (a mark, an end) is not scheduled but filed. Times are
 * microseconds of one clock, whichever.
 */
#ifndef COLLECTOR_SCHEDULE_H
#define COLLECTOR_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "collector/budget.h"
#include "collector/census/result.h"

struct schedule {
    uint64_t next_us;        /* of the periodic ones */
    uint64_t quiet_until_us; /* after an end none is due */
    uint64_t peak_bytes;     /* RSS of the highest census of this image */
    uint64_t typed_cost_us;  /* of the last census with types; 0: none yet */
    uint64_t plain_cost_us;  /* of the last one, up to its types */
    bool has_started;
    bool is_filed; /* one that was due is not back yet */
};

struct schedule_due {
    bool is_due;
    enum recording_census_kind kind;
    bool wants_types;
    uint64_t types_budget_us; /* beyond it they are sampled; 0: as it takes */
};

/* What is due is to be filed: until schedule_came_back nothing more is. */
struct schedule_due schedule_ask(struct schedule *schedule,
                                 struct budget *budget, uint64_t rss_bytes,
                                 uint64_t now_us);
void schedule_came_back(struct schedule *schedule);

/* What a census, due or not, has cost and seen. */
void schedule_learn(struct schedule *schedule, const struct census *census);

/*
 * What a running target does under the census' eyes (it moves a heap's chunks,
 * or is within a call of malloc that no event tells yet) leaves more
 * unexplained than there was before. Another look is worth while where it costs
 * little; a target that waits for its end has none to give.
 */
bool schedule_wants_another(const struct census *census,
                            uint64_t usually_unexplained, unsigned n_repeats);

/* The process is at its end; if it outlives that, censuses go on later. */
void schedule_end(struct schedule *schedule, uint64_t now_us);

/* Another image: nothing that was learnt is true of it. */
void schedule_restart(struct schedule *schedule);

#endif
