/*
 * names_child.h - a process that reads strangers' ELF files, and may die of it
 *
 * libdw reads a fork of ours: it has the descriptors already, and where it is
 * forked from nothing is waited for, since it takes no lock but malloc's, which
 * glibc hands over. It keeps no other descriptor of ours, gets no privileges,
 * writes no file, asks no server, and is the first that the OOM killer takes.
 * What it says comes through a pipe and is proved as any stranger's word is.
 *
 * An image that crashes it, or takes too much time or memory, costs the rest of
 * that image's names; another child goes on with the next image.
 *
 * Any thread may call this, and is kept until all is answered.
 */
#ifndef COLLECTOR_NAMES_CHILD_H
#define COLLECTOR_NAMES_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/names_dwarf.h"

/* Those of one image, which are those of one descriptor, come in a row. */
struct names_lookup {
    int fd;
    const char *path;
    uint64_t addr; /* the file's own */
};

struct names_limits {
    uint64_t memory_bytes; /* of address space, beyond what we have */
    uint64_t image_ms;     /* for one image */
    uint64_t total_ms;     /* for all */
    /*
     * Lets libdw ask those of DEBUGINFOD_URLS for what is not here, and keep
     * in its cache what they send.
     */
    bool asks_servers;
    void (*before)(uint64_t addr); /* for tests: in the child; may be NULL */
};

struct names_listener {
    void (*told)(void *context, size_t lookup, const struct names_frame *frames,
                 size_t n_frames);
    /* Nothing is told of the image of this lookup from here on. */
    void (*given_up)(void *context, size_t lookup);
    void *context;
};

/*
 * Tells of each lookup at most once, in their order; strings are valid during
 * the call. Returns how many were not answered.
 */
size_t names_child_ask(const struct names_lookup *lookups, size_t n_lookups,
                       const struct names_limits *limits,
                       const struct names_listener *listener);

#endif
