/*
 * occasion.h - what a census is told of the image that it is taken of
 */
#ifndef COLLECTOR_OCCASION_H
#define COLLECTOR_OCCASION_H

#include <stdbool.h>
#include <stdint.h>

#include "collector/census/request.h"
#include "collector/image.h"
#include "include/recording.h"

/* Why and when a census is taken; times of the recording. */
struct census_occasion {
    enum recording_census_kind kind;
    bool wants_types;
    uint64_t types_budget_us; /* 0: as long as they take */
    uint64_t seen_us;         /* of its view */
    uint64_t now_us;
};

/* What a census needs to know; census_request_finish frees it. */
struct census_request occasion_request(const struct image *image,
                                       const struct census_occasion *occasion);

#endif
