/*
 * typerows.h - the table of types that a census keeps, in bounded space
 *
 * Types of one name are one row. A program may have any number of types, and a
 * recording some hundred censuses: of more than RECORDING_MOST_TYPES those that
 * take and hold least are added up to one row, RECORDING_TYPE_OTHER. So nothing
 * is lost of the sums, and those that a finding could be about stay.
 */
#ifndef COLLECTOR_CENSUS_TYPEROWS_H
#define COLLECTOR_CENSUS_TYPEROWS_H

#include <stddef.h>

#include "collector/census/result.h"

/* In place, most bytes first; returns how many are left. */
size_t typerows_settle(struct census_type *rows, size_t n);

#endif
