#include "collector/census/generations.h"

#include <string.h>

#include "collector/census/peek.h"
#include "include/cpython_lists.h"

enum {
    MOST_ROUNDS = 4,
    MOST_INTERPRETERS = 256,
    WORD = sizeof(uint64_t),
    FLAGS = 3, /* of a link back */
};

struct reading {
    struct peek *peek;
    const struct census_request *request;
    struct cpython_collector layout;
};

/* ---- where it is ------------------------------------------------------- */

/* The last in the list is the first one made. */
static bool
walk_interpreters(const struct reading *reading, uint64_t first, uint64_t next,
                  uint64_t *interpreter)
{
    uint64_t addr = first;
    for (unsigned i = 0; i < MOST_INTERPRETERS && addr != 0; i++) {
        *interpreter = addr;
        if (addr % WORD != 0 ||
            !peek_read_zeroed(reading->peek, addr + next, &addr, sizeof(addr)))
            return false;
    }
    return addr == 0 && first != 0;
}

/* From 3.13 the runtime says itself where all is. */
static bool
find_published(const struct reading *reading, uint64_t *state)
{
    const uint64_t runtime = reading->request->python_runtime;
    uint64_t offsets[CPYTHON_COLLECTOR_DEBUG_BYTES / WORD];
    uint64_t first;
    uint64_t interpreter;
    if (!peek_read(reading->peek, runtime, offsets, sizeof(offsets)) ||
        memcmp(offsets, CPYTHON_DEBUG_COOKIE, WORD) != 0 ||
        offsets[CPYTHON_DEBUG_FREE_THREADED_AT / WORD] != 0 ||
        !peek_word(reading->peek,
                   runtime + offsets[CPYTHON_DEBUG_INTERPRETERS_AT / WORD],
                   &first) ||
        !walk_interpreters(reading, first,
                           offsets[CPYTHON_DEBUG_NEXT_AT / WORD], &interpreter))
        return false;
    *state = interpreter + offsets[reading->layout.published_at / WORD];
    return true;
}

static bool
find_state(const struct reading *reading, uint64_t *state)
{
    const uint64_t runtime = reading->request->python_runtime;
    const struct cpython_collector *layout = &reading->layout;
    uint64_t first;
    uint64_t interpreter = runtime;
    if (layout->published_at != 0)
        return find_published(reading, state);
    if (layout->interpreters_at != 0 &&
        (!peek_word(reading->peek, runtime + layout->interpreters_at, &first) ||
         !walk_interpreters(reading, first, 0, &interpreter)))
        return false;
    *state = interpreter + layout->state_at;
    return true;
}

/* ---- what it says ------------------------------------------------------ */

/* Whether the first object of a list, or the empty list, leads back to it. */
static bool
is_list(const struct reading *reading, uint64_t head)
{
    uint64_t first;
    uint64_t back;
    return peek_word(reading->peek, head, &first) && first % WORD == 0 &&
           peek_word(reading->peek, first + WORD, &back) &&
           (back & ~(uint64_t)FLAGS) == head;
}

static bool
read_generation(const struct reading *reading, uint64_t at,
                struct census_generation *generation)
{
    int32_t numbers[2];
    if (at % WORD != 0 || !is_list(reading, at) ||
        !peek_read(reading->peek, at + reading->layout.threshold_at, numbers,
                   sizeof(numbers)) ||
        numbers[0] < 0 || numbers[1] < 0)
        return false;
    *generation = (struct census_generation){numbers[0], numbers[1]};
    return true;
}

static bool
read_collector(const struct reading *reading, struct census_collector *found)
{
    const struct cpython_collector *layout = &reading->layout;
    uint64_t state;
    int64_t survivors[2] = {-1, -1};
    if (!find_state(reading, &state))
        return false;
    for (unsigned i = 0; i < CENSUS_GENERATIONS; i++) {
        if (!read_generation(reading,
                             state + layout->generations_at +
                                 i * (uint64_t)layout->generation_bytes,
                             &found->generations[i]))
            return false;
    }
    if (layout->survivors_at != 0 &&
        !peek_read(reading->peek, state + layout->survivors_at, survivors,
                   sizeof(survivors)))
        return false;
    found->n_survivors = survivors[0];
    found->n_promoted = survivors[1];
    return true;
}

void
generations_read(struct memory *memory, const struct census_request *request,
                 const struct memory_runs *runs, struct census *census)
{
    struct reading reading = {
        .request = request,
        .layout =
            cpython_collector(request->python_major, request->python_minor),
    };
    if (reading.layout.generation_bytes == 0 || request->python_runtime == 0)
        return;
    reading.peek = peek_create(memory, runs);
    struct census_collector *collector = &census->collector;
    for (unsigned i = 0; i < MOST_ROUNDS && !collector->is_known; i++) {
        peek_forget(reading.peek);
        collector->is_known = read_collector(&reading, collector);
    }
    peek_destroy(reading.peek);
}
