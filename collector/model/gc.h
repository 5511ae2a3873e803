/*
 * gc.h - what one interpreter's collector has done since it started
 */
#ifndef COLLECTOR_MODEL_GC_H
#define COLLECTOR_MODEL_GC_H

#include <stdbool.h>
#include <stdint.h>

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

/* The interpreter's own counts up to now; NULL: they are not known. */
void gc_begin(struct gc *gc, uint64_t since_ns,
              const struct gc_generation *own);

/* One collection, as a generation of one. False: there is no such generation.
 */
bool gc_collect(struct gc *gc, unsigned generation,
                const struct gc_generation *one);

#endif
