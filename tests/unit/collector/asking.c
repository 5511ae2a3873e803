#include "tests/unit/collector/asking.h"

#include "tests/unit/check.h"

struct census_candidate
asking_candidate(const char *start, uint64_t n_bytes)
{
    return (struct census_candidate){
        .start = (uintptr_t)start,
        .n_bytes = n_bytes,
        .born_us = 7,
        .has_been_full = true,
        .was_low = true,
    };
}

struct census_request
asking_request(struct census_candidate *candidates, size_t n)
{
    return (struct census_request){
        .kind = CENSUS_periodic,
        .python_major = 3,
        .python_minor = 11,
        .candidates = candidates,
        .n_candidates = n,
    };
}

/* So many questions are answered with yes. */
bool
asking_go_on(void *context)
{
    int *left = context;
    return (*left)-- > 0;
}

struct census *
asking_all(struct memory *memory, const struct census_request *request,
           const struct census_patience *patience)
{
    struct view *view = view_take(memory);
    struct census *census = census_take(memory, view, request, patience);
    view_destroy(view);
    return census;
}

struct census *
asking_with_patience(const struct target *target,
                     const struct census_request *request, int questions)
{
    struct memory *memory = target_memory(target, target->pid);
    const struct census_patience patience = {.may_go_on = asking_go_on,
                                             .context = &questions};
    struct census *census = asking_all(memory, request, &patience);
    memory_destroy(memory);
    return census;
}

/* A census that must add up. */
struct census *
asking_take(const struct target *target, const struct census_request *request)
{
    struct census *census = asking_with_patience(target, request, 1 << 20);
    check_true(census->is_read);
    check_true(census->is_whole);
    check_eq(census->kind, request->kind);
    uint64_t sum = 0;
    for (unsigned cause = 0; cause < N_CAUSES; cause++)
        sum += census->ledger[cause];
    check_eq(sum, census->rss_bytes);
    check_eq(census->rss_bytes, target_says(target, "smaps_rollup", "\nRss:"));
    check_eq(census->skew_bytes, 0);
    return census;
}

/* What a census adds to the ledger of one that knows of no candidates. */
struct census *
asking_difference(const struct target *target,
                  const struct census_request *request, int64_t *difference)
{
    const struct census_request nothing = asking_request(NULL, 0);
    struct census *before = asking_take(target, &nothing);
    struct census *census = asking_take(target, request);
    for (unsigned cause = 0; cause < N_CAUSES; cause++)
        difference[cause] =
            (int64_t)(census->ledger[cause] - before->ledger[cause]);
    census_destroy(before);
    return census;
}
