/*
 * uses.h - what a process' sites add up to, as rows of the recording
 */
#ifndef COLLECTOR_USES_H
#define COLLECTOR_USES_H

#include <stddef.h>

#include "collector/model/sites.h"
#include "collector/rows.h"

/*
 * At most RECORDING_MOST_USES rows, which the caller frees: where there are
 * more, those that hold least, and then had least, are one.
 */
struct recording_use *uses_of(const struct sites_use *known, size_t n_known,
                              size_t *n);

#endif
