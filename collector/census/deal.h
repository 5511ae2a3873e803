/*
 * deal.h - the ledger, piece by piece
 *
 * Every byte of every resident page is dealt once, to one cause, by whoever
 * claims it; with the proof where proofs are wanted.
 */
#ifndef COLLECTOR_CENSUS_DEAL_H
#define COLLECTOR_CENSUS_DEAL_H

#include "collector/census/result.h"

/* A piece of no bytes is none. */
void deal(struct census *census, const struct census_proof *piece);

/* Gives n_bytes of the piece with that index another cause. */
void deal_again(struct census *census, size_t piece, uint64_t n_bytes,
                enum recording_cause cause);

#endif
