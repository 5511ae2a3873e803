/*
 * environment.h - our entry in LD_PRELOAD, at an exec
 *
 * The entry stays where the dynamic linker of the new image can load us or
 * ignores us. Where it would fail over us (musl) or complain about us (another
 * ABI, another root) the entry is left out of a copy of the environment.
 *
 * An image that can load us, and is to start without our entry or our socket,
 * has them put back into such a copy. Its own constructor takes them out of its
 * environ again: it sees what it was given.
 */
#ifndef PRELOAD_ENVIRONMENT_H
#define PRELOAD_ENVIRONMENT_H

#include <stdbool.h>
#include <stddef.h>

/* What a hook hands to exec. */
struct environment {
    char *const *variables;
    bool is_followed; /* the new image will introduce itself */
    void *copy;       /* NULL, or what environment_release lets go */
    size_t copy_bytes;
};

/* Constructor: under which name we were loaded. */
void environment_init(const char *own_path);

/*
 * Constructor: where the collector is, and whether a variable says so. Before
 * this nothing is put back.
 */
void environment_set_socket(const char *path, bool is_named);

/* Constructor: what the image before put back leaves environ. */
void environment_take_out(void);

/* For the image at path; NULL: the path is not known, keep the entry. */
struct environment environment_for(const char *path, char *const variables[]);

/*
 * Whether an exec of the path has a chance: not of a directory, nor of what may
 * not be run. NULL has none.
 */
bool environment_is_runnable(const char *path);

/* After an exec that failed, or in the parent after a spawn. */
void environment_release(struct environment *environment);

/*
 * The path that execvp finds for file, in a buffer of n_bytes; NULL: there is
 * none, or it is too long.
 */
const char *environment_find(const char *file, char *path, size_t n_bytes);

/* A thread ends: what a child of its vfork has left goes with it. */
void environment_leave(void);

#endif
