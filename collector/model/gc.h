/*
 * gc.h - what one interpreter's collector has done since it started
 */
#ifndef COLLECTOR_MODEL_GC_H
#define COLLECTOR_MODEL_GC_H

#include <stdbool.h>
#include <stdint.h>

#include "include/wire.h"

enum { GC_GENERATIONS = 3 };

struct gc_generation {
    uint64_t collections;
    uint64_t collected;
    uint64_t uncollectable;
    uint64_t pause_ns_total; /* of what we saw */
    uint64_t pause_ns_max;
};

struct gc {
    bool is_known; /* the interpreter's own counts before us were read */
    uint64_t since_ns;
    struct gc_generation generations[GC_GENERATIONS];
};

void gc_begin(struct gc *gc, const struct wire_python *python);

/* False: there is no such generation. */
bool gc_collect(struct gc *gc, const struct wire_gc *collection);

#endif
