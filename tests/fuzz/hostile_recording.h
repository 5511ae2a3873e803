/*
 * hostile_recording.h - a recording that somebody else made up
 *
 * From a small one with a row or more in each table, one step after another:
 *
 *   ROW    table, n, n times column and value: the table's first row with these
 *          values put into it, beside it or, if the key is the same, for it
 *   SQL    n (2 bytes), n bytes: a statement, which may change the schema
 *   PATCH  place (3 bytes), n, n bytes: written over the file, at the end
 *   CUT    n (2 bytes): as many times 16 bytes are left of the file
 *
 * each of them chosen by a byte, as are table, column and value:
 *
 *   null · a byte · 8 bytes · an extreme number · n, n bytes of text · the same
 *   as a blob · a real number of 8 bytes · a word that means something
 */
#ifndef TESTS_FUZZ_HOSTILE_RECORDING_H
#define TESTS_FUZZ_HOSTILE_RECORDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The file's path, the same each time: what was there before is replaced.
 * is_watched: from now on a sanitizer sees SQLite's own memory, which is slow.
 */
const char *hostile_recording_write(const uint8_t *bytes, size_t n_bytes,
                                    bool is_watched);

/* Whether SQLite has got back all that it gave for it. */
bool hostile_recording_is_over(void);

#endif
