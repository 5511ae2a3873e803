/*
 * maps.h - the mappings of a target, as /proc/PID/maps lists them
 */
#ifndef COLLECTOR_CENSUS_MAPS_H
#define COLLECTOR_CENSUS_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map {
    uint64_t start;
    uint64_t end;
    uint64_t offset;
    uint64_t inode;
    const char *name; /* "" where there is none; in the text of maps */
    bool is_readable;
    bool is_writable;
    bool is_shared;
};

struct maps {
    struct map *maps; /* ascending */
    size_t n_maps;
    size_t capacity;
    char *text; /* owned; names point into it */
};

/* Takes text (malloc'ed, may be NULL). Lines that make no sense are left out.
 */
struct maps maps_parse(char *text);
void maps_finish(struct maps *maps);

/* The mapping that holds addr, or NULL. */
const struct map *maps_at(const struct maps *maps, uint64_t addr);

/* Private memory with no file behind it: where allocators live. */
bool map_is_anonymous(const struct map *map);

#endif
