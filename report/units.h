/*
 * units.h - numbers as people read them
 *
 * Each writes into a buffer of UNITS_BYTES that the caller brings, and returns
 * it, so that several fit into one printf. Unknown is "-".
 */
#ifndef REPORT_UNITS_H
#define REPORT_UNITS_H

#include <stdint.h>

enum { UNITS_BYTES = 40 };

/* "83.0 MiB"; binary units. */
char *units_bytes(char *text, int64_t n_bytes);

/* "1,384" */
char *units_count(char *text, int64_t n);

/*
 * "01:10.5", of microseconds; milliseconds in the first ten seconds, hours and
 * no fraction where there are any.
 */
char *units_clock(char *text, int64_t t_us);

/* "1.2 s", "340 ms", "12 us" */
char *units_duration(char *text, int64_t us);

/* "37 %" of whole; "-" where whole is nothing. */
char *units_share(char *text, int64_t part, int64_t whole);

#endif
