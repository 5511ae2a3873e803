/*
 * page_data.h - what a page shows, as the JSON that its script reads
 *
 * {"schema":"residue.page/1", ...}: the recording, the findings, and each
 * process with its censuses, ticks, collections and tables. Keys are those of
 * `residue stats --json` wherever both say the same.
 *
 * Tables are columns: an object with one array a column. A column that has its
 * name in "differences" holds each value as its difference to the one before;
 * null is unknown and is skipped over. Everything over time is decimated, and
 * says of how many rows it was made.
 *
 * report/web/src/data.js reads this; the two change together.
 */
#ifndef REPORT_PAGE_DATA_H
#define REPORT_PAGE_DATA_H

#include <stdbool.h>

#include "report/formats/json.h"
#include "report/query/query.h"

/* shows_names: the arguments of the target and whole paths, too. */
void page_data_put(struct json *json, struct query *query, bool shows_names);

#endif
