#include "collector/census/claims.h"

#include <stdlib.h>

#include "include/attrs.h"
#include "tests/unit/check.h"

enum { PAGE = MEMORY_PAGE };

static void
check_claim(const struct claims *claims, size_t i, uint64_t start, uint64_t end,
            int cause)
{
    cr_assert(i < claims->n_claims, "there are %zu claims", claims->n_claims);
    check_eq(claims->claims[i].start, start);
    check_eq(claims->claims[i].end, end);
    check_eq(claims->claims[i].cause, cause);
}

/* ---- layers ------------------------------------------------------------ */

Test(claims, an_empty_range_is_no_claim)
{
    struct claims claims = {0};
    claims_add(&claims, 5, 5, CAUSE_file);
    claims_add(&claims, 6, 5, CAUSE_file);
    check_eq(claims.n_claims, 0);
    claims_sort(&claims);
    claims_finish(&claims);
}

Test(claims, a_layer_is_sorted_and_the_first_of_an_overlap_stays)
{
    struct claims layer = {0};
    claims_add(&layer, 50, 60, CAUSE_stacks);
    claims_add(&layer, 10, 30, CAUSE_file);
    claims_add(&layer, 20, 40, CAUSE_shmem);
    claims_add(&layer, 22, 28, CAUSE_profiler);
    claims_sort(&layer);
    check_eq(layer.n_claims, 3);
    check_claim(&layer, 0, 10, 30, CAUSE_file);
    check_claim(&layer, 1, 30, 40, CAUSE_shmem);
    check_claim(&layer, 2, 50, 60, CAUSE_stacks);
    claims_finish(&layer);
}

Test(claims, a_higher_layer_shows_over_the_cause_it_may_cover)
{
    struct claims claims = {0};
    struct claims layer = {0};
    claims_add(&claims, 0, 100, CAUSE_unexplained);
    claims_add(&claims, 100, 200, CAUSE_file);
    claims_add(&layer, 20, 30, CAUSE_stacks);
    claims_add(&layer, 90, 110, CAUSE_stacks);
    claims_cover(&claims, &layer, CAUSE_unexplained);
    check_eq(claims.n_claims, 5);
    check_claim(&claims, 0, 0, 20, CAUSE_unexplained);
    check_claim(&claims, 1, 20, 30, CAUSE_stacks);
    check_claim(&claims, 2, 30, 90, CAUSE_unexplained);
    check_claim(&claims, 3, 90, 100, CAUSE_stacks);
    check_claim(&claims, 4, 100, 200, CAUSE_file);
    claims_finish(&layer);
    claims_finish(&claims);
}

Test(claims, minus_one_covers_everything)
{
    struct claims claims = {0};
    struct claims layer = {0};
    claims_add(&claims, 0, 10, CAUSE_unexplained);
    claims_add(&claims, 10, 20, CAUSE_file);
    claims_add(&layer, 5, 15, CAUSE_profiler);
    claims_cover(&claims, &layer, -1);
    check_eq(claims.n_claims, 4);
    check_claim(&claims, 1, 5, 10, CAUSE_profiler);
    check_claim(&claims, 2, 10, 15, CAUSE_profiler);
    claims_finish(&layer);
    claims_finish(&claims);
}

Test(claims, where_nothing_is_mapped_a_layer_claims_nothing)
{
    struct claims claims = {0};
    struct claims layer = {0};
    claims_add(&claims, 10, 20, CAUSE_unexplained);
    claims_add(&layer, 0, 100, CAUSE_stacks);
    claims_cover(&claims, &layer, CAUSE_unexplained);
    check_eq(claims.n_claims, 1);
    check_claim(&claims, 0, 10, 20, CAUSE_stacks);
    claims_finish(&layer);
    claims_finish(&claims);
}

Test(claims, a_range_is_claimed_if_all_of_it_is)
{
    struct claims claims = {0};
    claims_add(&claims, 10, 20, CAUSE_unexplained);
    claims_add(&claims, 20, 30, CAUSE_unexplained);
    claims_add(&claims, 30, 40, CAUSE_file);
    claims_add(&claims, 50, 60, CAUSE_unexplained);
    check_true(claims_are(&claims, 10, 30, CAUSE_unexplained));
    check_true(claims_are(&claims, 15, 16, CAUSE_unexplained));
    check_false(claims_are(&claims, 10, 31, CAUSE_unexplained));
    check_false(claims_are(&claims, 9, 11, CAUSE_unexplained));
    check_false(claims_are(&claims, 40, 50, CAUSE_unexplained));
    check_false(claims_are(&claims, 45, 55, CAUSE_unexplained));
    check_false(claims_are(&claims, 55, 61, CAUSE_unexplained));
    check_true(claims_are(&claims, 30, 40, CAUSE_file));
    claims_finish(&claims);
}

/* ---- dealing ----------------------------------------------------------- */

Test(claims, an_images_pages_are_dealt_by_whether_they_were_copied)
{
    struct claims claims = {0};
    claims_add(&claims, 0, 10 * PAGE, CLAIM_IMAGE);
    struct memory_run items[] = {
        {.start = 0,        .end = 2 * PAGE},
        {.start = 2 * PAGE, .end = 5 * PAGE},
        {.start = 5 * PAGE, .end = 9 * PAGE},
    };
    items[0].is_file = true;
    items[2].is_swapped = true;
    const struct memory_runs runs = {.runs = items, .n_runs = countof(items)};
    uint64_t ledger[N_CAUSES] = {0};
    check_eq(claims_deal(&claims, &runs, ledger), 0);
    check_eq(ledger[CAUSE_file], 2 * PAGE);
    check_eq(ledger[CAUSE_image_private], 3 * PAGE);
    check_eq(ledger[CAUSE_unexplained], 0);
    claims_finish(&claims);
}

Test(claims, arenas_are_left_to_their_pools)
{
    struct claims claims = {0};
    claims_add(&claims, 0, 4 * PAGE, CLAIM_ARENA);
    struct memory_run run = {.start = PAGE, .end = 6 * PAGE};
    const struct memory_runs runs = {.runs = &run, .n_runs = 1};
    uint64_t ledger[N_CAUSES] = {0};
    check_eq(claims_deal(&claims, &runs, ledger), 3 * PAGE);
    check_eq(ledger[CAUSE_unexplained], 2 * PAGE);
    claims_finish(&claims);
}

/* ---- against a model of single pages ----------------------------------- */

enum { PAGES = 64, NOTHING = -2 };

/* What each page is: claimed by whom, and resident or not. */
struct model {
    int causes[PAGES];
    enum { ABSENT, COPIED, FROM_FILE, SWAPPED } states[PAGES];
};

static const int some_causes[] = {
    CAUSE_unexplained, CAUSE_file,  CAUSE_shmem, CAUSE_stacks,
    CAUSE_profiler,    CLAIM_ARENA, CLAIM_IMAGE,
};

/* A layer of ranges that do not overlap, page by page into causes too. */
static struct claims
random_layer(uint64_t *state, int *causes)
{
    struct claims layer = {0};
    for (unsigned page = 0; page < PAGES; page++)
        causes[page] = NOTHING;
    for (unsigned at = (unsigned)check_random(state) % 8; at < PAGES;) {
        const unsigned n = 1 + (unsigned)check_random(state) % 10;
        const unsigned end = at + n < PAGES ? at + n : PAGES;
        const int cause =
            some_causes[check_random(state) % countof(some_causes)];
        claims_add(&layer, (uint64_t)at * PAGE, (uint64_t)end * PAGE, cause);
        for (; at < end; at++)
            causes[at] = cause;
        at += (unsigned)check_random(state) % 4;
    }
    return layer;
}

static struct memory_runs
random_runs(uint64_t *state, struct model *model)
{
    struct memory_runs runs = {
        .runs = calloc(PAGES, sizeof(struct memory_run)),
    };
    for (unsigned at = 0; at < PAGES;) {
        const unsigned n = 1 + (unsigned)check_random(state) % 6;
        const unsigned end = at + n < PAGES ? at + n : PAGES;
        const unsigned kind = (unsigned)check_random(state) % 4;
        if (kind != ABSENT)
            runs.runs[runs.n_runs++] = (struct memory_run){
                .start = (uint64_t)at * PAGE,
                .end = (uint64_t)end * PAGE,
                .is_file = kind == FROM_FILE,
                .is_swapped = kind == SWAPPED,
            };
        for (; at < end; at++)
            model->states[at] = kind;
    }
    return runs;
}

static void
cover_model(struct model *model, const int *layer, int over)
{
    for (unsigned page = 0; page < PAGES; page++) {
        const int below = model->causes[page];
        if (layer[page] != NOTHING && below != NOTHING &&
            (over == -1 || below == over))
            model->causes[page] = layer[page];
    }
}

static uint64_t
deal_model(const struct model *model, uint64_t ledger[N_CAUSES])
{
    uint64_t arena_bytes = 0;
    for (unsigned page = 0; page < PAGES; page++) {
        if (model->states[page] == ABSENT || model->states[page] == SWAPPED)
            continue;
        switch (model->causes[page]) {
        case NOTHING:
            ledger[CAUSE_unexplained] += PAGE;
            break;
        case CLAIM_ARENA:
            arena_bytes += PAGE;
            break;
        case CLAIM_IMAGE:
            ledger[model->states[page] == FROM_FILE ? CAUSE_file
                                                    : CAUSE_image_private] +=
                PAGE;
            break;
        default:
            ledger[model->causes[page]] += PAGE;
            break;
        }
    }
    return arena_bytes;
}

static uint64_t
sum_of(const uint64_t ledger[N_CAUSES])
{
    uint64_t sum = 0;
    for (unsigned cause = 0; cause < N_CAUSES; cause++)
        sum += ledger[cause];
    return sum;
}

Test(claims, any_layers_deal_every_page_out_once)
{
    uint64_t state = 42;
    for (unsigned round = 0; round < 5000; round++) {
        struct model model;
        struct claims claims = random_layer(&state, model.causes);
        const unsigned n_layers = (unsigned)check_random(&state) % 5;
        for (unsigned i = 0; i < n_layers; i++) {
            int causes[PAGES];
            struct claims layer = random_layer(&state, causes);
            const int over =
                check_random(&state) % 3 == 0 ? -1 : CAUSE_unexplained;
            claims_sort(&layer);
            claims_cover(&claims, &layer, over);
            cover_model(&model, causes, over);
            claims_finish(&layer);
        }
        struct memory_runs runs = random_runs(&state, &model);
        uint64_t ledger[N_CAUSES] = {0};
        uint64_t wanted[N_CAUSES] = {0};
        const uint64_t arena_bytes = claims_deal(&claims, &runs, ledger);
        check_eq(arena_bytes, deal_model(&model, wanted));
        for (unsigned cause = 0; cause < N_CAUSES; cause++)
            check_eq(ledger[cause], wanted[cause]);

        uint64_t resident = 0;
        for (size_t i = 0; i < runs.n_runs; i++)
            resident += runs.runs[i].is_swapped
                            ? 0
                            : runs.runs[i].end - runs.runs[i].start;
        check_eq(sum_of(ledger) + arena_bytes, resident);
        memory_runs_finish(&runs);
        claims_finish(&claims);
    }
}
