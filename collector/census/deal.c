#include "collector/census/deal.h"

#include <stdlib.h>

#include "include/xalloc.h"

/* Two pieces of one thing, side by side, are one. */
static bool
goes_on(const struct census_proof *last, const struct census_proof *piece)
{
    return last->end == piece->start && last->cause == piece->cause &&
           last->proof == piece->proof && last->address == piece->address &&
           last->n_bytes == last->end - last->start &&
           piece->n_bytes == piece->end - piece->start;
}

void
deal(struct census *census, const struct census_proof *piece)
{
    census->ledger[piece->cause] += piece->n_bytes;
    if (!census->wants_proofs || piece->n_bytes == 0)
        return;
    struct census_proof *last =
        census->n_proofs == 0 ? NULL : &census->proofs[census->n_proofs - 1];
    if (last != NULL && goes_on(last, piece)) {
        last->end = piece->end;
        last->n_bytes += piece->n_bytes;
        return;
    }
    XGROW(census->proofs, census->proof_capacity, census->n_proofs);
    census->proofs[census->n_proofs++] = *piece;
}

void
deal_again(struct census *census, size_t piece, uint64_t n_bytes,
           enum recording_cause cause)
{
    struct census_proof *whole = &census->proofs[piece];
    struct census_proof part = *whole;
    part.cause = cause;
    part.n_bytes = n_bytes < whole->n_bytes ? n_bytes : whole->n_bytes;
    if (part.n_bytes == 0)
        return;
    whole->n_bytes -= part.n_bytes;
    census->ledger[whole->cause] -= part.n_bytes;
    census->ledger[cause] += part.n_bytes;
    XGROW(census->proofs, census->proof_capacity, census->n_proofs);
    census->proofs[census->n_proofs++] = part;
}
