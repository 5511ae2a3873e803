#include "collector/model/gc.h"

void
gc_begin(struct gc *gc, const struct wire_python *python)
{
    *gc = (struct gc){
        .is_known = python->record.detail != 0,
        .since_ns = python->since_ns,
    };
    for (unsigned i = 0; i < GC_GENERATIONS; i++) {
        gc->generations[i].collections = python->seed[i].collections;
        gc->generations[i].collected = python->seed[i].collected;
        gc->generations[i].uncollectable = python->seed[i].uncollectable;
    }
}

bool
gc_collect(struct gc *gc, const struct wire_gc *collection)
{
    if (collection->record.detail >= GC_GENERATIONS)
        return false;
    struct gc_generation *generation =
        &gc->generations[collection->record.detail];
    generation->collections++;
    generation->collected += collection->collected;
    generation->uncollectable += collection->uncollectable;
    generation->pause_ns_total += collection->pause_ns;
    if (collection->pause_ns > generation->pause_ns_max)
        generation->pause_ns_max = collection->pause_ns;
    return true;
}
