/*
 * names_file.h - the file of an image that somebody else has mapped
 *
 * Found where its process would find it and proved by its build id, so that a
 * file which was replaced, or which means another in a container, names
 * nothing. What lies at a path is a stranger's choice: nothing but a regular
 * file is ever opened, and nothing of it is read but headers and notes.
 */
#ifndef COLLECTOR_NAMES_FILE_H
#define COLLECTOR_NAMES_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "include/wire.h"

/* GNU's, of the linker; a longer one is cut. */
struct build_id {
    uint8_t bytes[WIRE_BUILD_ID_BYTES];
    uint8_t n_bytes; /* 0: none */
};

bool build_id_is(const struct build_id *one, const struct build_id *other);

/* What is known of an image that a process has mapped. */
struct names_told {
    pid_t pid;
    const char *path;         /* as the process says it; "": its program */
    uint64_t start;           /* where its first mapping starts */
    struct build_id build_id; /* without one its path has to be believed */
};

/*
 * A descriptor to read from, and the build id that the file has; or -1. It is
 * looked for at /proc/PID/root/PATH, PATH, /proc/PID/exe and, which takes
 * rights, among /proc/PID/map_files. Without a build id to prove it by, the
 * last goes first, and PATH in our own view is left out.
 */
int names_file_open(const struct names_told *told, struct build_id *id);

/* n_bytes is 0: it has none, or is no ELF file of this machine. */
struct build_id names_file_build_id(int fd);

#endif
