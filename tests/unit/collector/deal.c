#include "collector/census/deal.h"

#include <stdlib.h>

#include "tests/unit/check.h"

enum { PAGE = 4096 };

static struct census census;

static void
set_up(void)
{
    census.wants_proofs = true;
}

static void
clean_up(void)
{
    free(census.proofs);
}

TestSuite(deal, .init = set_up, .fini = clean_up, .timeout = 20);

static const struct census_proof some = {
    .start = 10 * PAGE,
    .end = 12 * PAGE,
    .n_bytes = 2 * PAGE,
    .address = 10 * PAGE,
    .cause = CAUSE_native_live,
    .proof = PROOF_chunk,
};

/* The piece that follows it, of the same thing. */
static struct census_proof
next(void)
{
    struct census_proof piece = some;
    piece.start = some.end;
    piece.end = some.end + PAGE;
    piece.n_bytes = PAGE;
    return piece;
}

Test(deal, each_piece_is_in_the_ledger_and_has_its_proof)
{
    struct census_proof piece = next();
    piece.cause = CAUSE_file;
    deal(&census, &some);
    deal(&census, &piece);
    deal(&census, &some);
    check_eq(census.ledger[CAUSE_native_live], 4 * PAGE);
    check_eq(census.ledger[CAUSE_file], PAGE);
    check_eq(census.n_proofs, 3);
    check_eq(census.proofs[1].cause, CAUSE_file);
}

Test(deal, without_a_wish_for_proofs_there_are_none)
{
    census.wants_proofs = false;
    deal(&census, &some);
    check_eq(census.ledger[CAUSE_native_live], 2 * PAGE);
    check_eq(census.n_proofs, 0);
    cr_assert_null(census.proofs);
}

Test(deal, a_piece_of_no_bytes_is_none)
{
    struct census_proof nothing = some;
    nothing.n_bytes = 0;
    deal(&census, &nothing);
    check_eq(census.n_proofs, 0);
    check_eq(census.ledger[CAUSE_native_live], 0);
}

Test(deal, neighbours_of_one_thing_are_one)
{
    const struct census_proof piece = next();
    deal(&census, &some);
    deal(&census, &piece);
    check_eq(census.n_proofs, 1);
    check_eq(census.proofs[0].start, some.start);
    check_eq(census.proofs[0].end, piece.end);
    check_eq(census.proofs[0].n_bytes, 3 * PAGE);
    check_eq(census.ledger[CAUSE_native_live], 3 * PAGE);
}

static void
check_apart(struct census_proof piece)
{
    census.n_proofs = 0;
    deal(&census, &some);
    deal(&census, &piece);
    check_eq(census.n_proofs, 2);
}

Test(deal, of_different_things_they_are_two)
{
    struct census_proof piece = next();
    piece.address = piece.start;
    check_apart(piece);
    piece = next();
    piece.proof = PROOF_heap;
    check_apart(piece);
    piece = next();
    piece.cause = CAUSE_native_overhead;
    check_apart(piece);
    piece = next();
    piece.n_bytes = 100; /* of its page */
    check_apart(piece);
    piece = next();
    piece.start += PAGE;
    piece.end += PAGE;
    check_apart(piece);
}

Test(deal, a_page_of_which_it_has_a_part_is_not_drawn_out)
{
    struct census_proof part = some;
    part.n_bytes = 100;
    deal(&census, &part);
    const struct census_proof piece = next();
    deal(&census, &piece);
    check_eq(census.n_proofs, 2);
}
