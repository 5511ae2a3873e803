#include "collector/model/gc.h"

#include <stddef.h>

void
gc_begin(struct gc *gc, uint64_t since_ns, const struct gc_generation *own)
{
    *gc = (struct gc){.is_known = own != NULL, .since_ns = since_ns};
    for (unsigned i = 0; own != NULL && i < GC_GENERATIONS; i++)
        gc->generations[i] = own[i];
}

bool
gc_collect(struct gc *gc, unsigned generation, const struct gc_generation *one)
{
    if (generation >= GC_GENERATIONS)
        return false;
    struct gc_generation *all = &gc->generations[generation];
    all->collections += one->collections;
    all->collected += one->collected;
    all->uncollectable += one->uncollectable;
    all->pause_ns_total += one->pause_ns_total;
    if (one->pause_ns_max > all->pause_ns_max)
        all->pause_ns_max = one->pause_ns_max;
    return true;
}
