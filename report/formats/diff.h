/*
 * diff.h - two moments beside each other, as JSON or as tables
 *
 * Keys of the JSON: {"schema":"residue.diff/1", "before":{"recording":...,
 * "moment":...}, "after":{...}, "processes":[{"before":{"pid":..., "t_us":...},
 * "after":{...}, "exe":..., "rss_bytes":[before, after], "ledger":{cause:
 * [before, after], ...}, "arenas":{...}, "malloc":{...}, "types":[{"name":...,
 * "count":[...], "bytes":[...], "count_error":..., "bytes_error":...}],
 * "sites":
 * [...], "never_returned":[...]}]}. Tables list what changed, most bytes first;
 * null: one side does not know. Errors are one standard error of the change.
 */
#ifndef REPORT_FORMATS_DIFF_H
#define REPORT_FORMATS_DIFF_H

#include "include/text.h"
#include "report/difference.h"
#include "report/formats/json.h"

/* A process at both moments. */
struct diff_process {
    struct difference_side before;
    struct difference_side after;
};

void diff_json(struct json *json, struct query *before, struct query *after,
               const struct diff_process *processes, size_t n);
void diff_text(struct text *text, struct query *before, struct query *after,
               const struct diff_process *processes, size_t n);

#endif
