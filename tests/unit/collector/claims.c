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

static void
add(struct claims *claims, uint64_t start, uint64_t end, int cause)
{
    claims_add(claims, (struct claim){.start = start,
                                      .end = end,
                                      .cause = cause,
                                      .address = start});
}

/* ---- layers ------------------------------------------------------------ */

Test(claims, an_empty_range_is_no_claim)
{
    struct claims claims = {0};
    add(&claims, 5, 5, CAUSE_file);
    add(&claims, 6, 5, CAUSE_file);
    check_eq(claims.n_claims, 0);
    claims_sort(&claims);
    claims_finish(&claims);
}

Test(claims, a_layer_is_sorted_and_the_first_of_an_overlap_stays)
{
    struct claims layer = {0};
    add(&layer, 50, 60, CAUSE_stacks);
    add(&layer, 10, 30, CAUSE_file);
    add(&layer, 20, 40, CAUSE_shmem);
    add(&layer, 22, 28, CAUSE_profiler);
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
    add(&claims, 0, 100, CAUSE_unexplained);
    add(&claims, 100, 200, CAUSE_file);
    add(&layer, 20, 30, CAUSE_stacks);
    add(&layer, 90, 110, CAUSE_stacks);
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
    add(&claims, 0, 10, CAUSE_unexplained);
    add(&claims, 10, 20, CAUSE_file);
    add(&layer, 5, 15, CAUSE_profiler);
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
    add(&claims, 10, 20, CAUSE_unexplained);
    add(&layer, 0, 100, CAUSE_stacks);
    claims_cover(&claims, &layer, CAUSE_unexplained);
    check_eq(claims.n_claims, 1);
    check_claim(&claims, 0, 10, 20, CAUSE_stacks);
    claims_finish(&layer);
    claims_finish(&claims);
}

Test(claims, a_range_is_claimed_if_all_of_it_is)
{
    struct claims claims = {0};
    add(&claims, 10, 20, CAUSE_unexplained);
    add(&claims, 20, 30, CAUSE_unexplained);
    add(&claims, 30, 40, CAUSE_file);
    add(&claims, 50, 60, CAUSE_unexplained);
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

Test(claims, a_reach_ends_where_another_or_nobody_claims)
{
    struct claims claims = {0};
    add(&claims, 10, 20, CAUSE_unexplained);
    add(&claims, 20, 30, CAUSE_unexplained);
    add(&claims, 30, 40, CAUSE_file);
    add(&claims, 50, 60, CAUSE_unexplained);
    check_eq(claims_reach(&claims, 10, 100, CAUSE_unexplained), 30);
    check_eq(claims_reach(&claims, 15, 25, CAUSE_unexplained), 25);
    check_eq(claims_reach(&claims, 15, 15, CAUSE_unexplained), 15);
    check_eq(claims_reach(&claims, 9, 100, CAUSE_unexplained), 9);
    check_eq(claims_reach(&claims, 30, 100, CAUSE_unexplained), 30);
    check_eq(claims_reach(&claims, 30, 100, CAUSE_file), 40);
    check_eq(claims_reach(&claims, 50, 100, CAUSE_unexplained), 60);
    check_eq(claims_reach(&claims, 60, 100, CAUSE_unexplained), 60);
    claims_finish(&claims);
    check_eq(claims_reach(&claims, 5, 9, CAUSE_file), 5);
}

Test(claims, what_is_free_begins_behind_the_last_that_is_claimed)
{
    struct claims claims = {0};
    add(&claims, 10, 20, CLAIM_DEALT);
    add(&claims, 20, 40, CAUSE_unexplained);
    add(&claims, 40, 50, CAUSE_stacks);
    add(&claims, 50, 90, CAUSE_unexplained);
    check_eq(claims_free_from(&claims, 0, 100), 50);
    check_eq(claims_free_from(&claims, 0, 40), 20);
    check_eq(claims_free_from(&claims, 20, 40), 20);
    check_eq(claims_free_from(&claims, 25, 40), 25);
    check_eq(claims_free_from(&claims, 0, 45), 45);
    check_eq(claims_free_from(&claims, 15, 18), 18);
    check_eq(claims_free_from(&claims, 60, 100), 60);
    check_eq(claims_free_from(&claims, 7, 7), 7);
    claims_finish(&claims);
}

/* ---- dealing ----------------------------------------------------------- */

static void
check_proof(const struct census_proof *proof, uint64_t start, uint64_t end,
            int cause, int kind, uint64_t address)
{
    check_eq(proof->start, start);
    check_eq(proof->end, end);
    check_eq(proof->n_bytes, end - start);
    check_eq(proof->cause, cause);
    check_eq(proof->proof, kind);
    check_eq(proof->address, address);
}

Test(claims, what_is_dealt_is_proved_by_its_claim)
{
    struct claims claims = {0};
    claims_add(&claims,
               (struct claim){PAGE, 3 * PAGE, CLAIM_IMAGE, PROOF_file, 77});
    claims_add(&claims, (struct claim){3 * PAGE, 4 * PAGE, CLAIM_DEALT, 0, 0});
    claims_add(&claims, (struct claim){4 * PAGE, 5 * PAGE, CAUSE_stacks,
                                       PROOF_stack, 88});
    claims_add(&claims, (struct claim){5 * PAGE, 6 * PAGE, CAUSE_unexplained,
                                       PROOF_file, 99});
    struct memory_run items[] = {
        {.start = 0, .end = 2 * PAGE, .is_file = true},
        {.start = 2 * PAGE,          .end = 7 * PAGE        },
    };
    const struct memory_runs runs = {.runs = items, .n_runs = countof(items)};
    struct census census = {.wants_proofs = true};
    check_eq(claims_deal(&claims, &runs, &census), PAGE);
    check_eq(census.n_proofs, 5);
    const struct census_proof *proofs = census.proofs;
    check_proof(&proofs[0], 0, PAGE, CAUSE_unexplained, N_PROOFS, 0);
    check_proof(&proofs[1], PAGE, 2 * PAGE, CAUSE_file, PROOF_file, 77);
    check_proof(&proofs[2], 2 * PAGE, 3 * PAGE, CAUSE_image_private,
                PROOF_image, 77);
    check_proof(&proofs[3], 4 * PAGE, 5 * PAGE, CAUSE_stacks, PROOF_stack, 88);
    check_proof(&proofs[4], 5 * PAGE, 7 * PAGE, CAUSE_unexplained, N_PROOFS, 0);
    free(census.proofs);
    claims_finish(&claims);
}

Test(claims, an_images_pages_are_dealt_by_whether_they_were_copied)
{
    struct claims claims = {0};
    add(&claims, 0, 10 * PAGE, CLAIM_IMAGE);
    struct memory_run items[] = {
        {.start = 0,        .end = 2 * PAGE},
        {.start = 2 * PAGE, .end = 5 * PAGE},
        {.start = 5 * PAGE, .end = 9 * PAGE},
    };
    items[0].is_file = true;
    items[2].is_swapped = true;
    const struct memory_runs runs = {.runs = items, .n_runs = countof(items)};
    struct census census = {0};
    check_eq(claims_deal(&claims, &runs, &census), 0);
    check_eq(census.ledger[CAUSE_file], 2 * PAGE);
    check_eq(census.ledger[CAUSE_image_private], 3 * PAGE);
    check_eq(census.ledger[CAUSE_unexplained], 0);
    claims_finish(&claims);
}

Test(claims, arenas_are_left_to_their_pools)
{
    struct claims claims = {0};
    add(&claims, 0, 4 * PAGE, CLAIM_DEALT);
    struct memory_run run = {.start = PAGE, .end = 6 * PAGE};
    const struct memory_runs runs = {.runs = &run, .n_runs = 1};
    struct census census = {0};
    check_eq(claims_deal(&claims, &runs, &census), 3 * PAGE);
    check_eq(census.ledger[CAUSE_unexplained], 2 * PAGE);
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
    CAUSE_profiler,    CLAIM_DEALT, CLAIM_IMAGE,
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
        add(&layer, (uint64_t)at * PAGE, (uint64_t)end * PAGE, cause);
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
        case CLAIM_DEALT:
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
        struct census census = {0};
        uint64_t wanted[N_CAUSES] = {0};
        const uint64_t arena_bytes = claims_deal(&claims, &runs, &census);
        check_eq(arena_bytes, deal_model(&model, wanted));
        for (unsigned cause = 0; cause < N_CAUSES; cause++)
            check_eq(census.ledger[cause], wanted[cause]);

        uint64_t resident = 0;
        for (size_t i = 0; i < runs.n_runs; i++)
            resident += runs.runs[i].is_swapped
                            ? 0
                            : runs.runs[i].end - runs.runs[i].start;
        check_eq(sum_of(census.ledger) + arena_bytes, resident);
        memory_runs_finish(&runs);
        claims_finish(&claims);
    }
}
