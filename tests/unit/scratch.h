/*
 * scratch.h - a directory for one test, and files in it
 *
 * The directory lies in TMPDIR and is removed with all that is in it.
 */
#ifndef TESTS_UNIT_SCRATCH_H
#define TESTS_UNIT_SCRATCH_H

#include <stddef.h>
#include <sys/types.h>

enum { SCRATCH_PATH_BYTES = 256 };

struct scratch {
    char path[SCRATCH_PATH_BYTES];
};

struct scratch scratch_create(void);
void scratch_remove(const struct scratch *scratch);

/* "DIRECTORY/name", in where, which it returns. */
char *scratch_path(const struct scratch *scratch, const char *name,
                   char where[SCRATCH_PATH_BYTES]);

/* The same, and the file is there with this content. */
char *scratch_file(const struct scratch *scratch, const char *name,
                   const void *bytes, size_t n_bytes, mode_t mode,
                   char where[SCRATCH_PATH_BYTES]);

#endif
