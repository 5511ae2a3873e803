#include "collector/agreement.h"

#include "include/recording.h"

static bool
is_told(const struct livemap *map, const struct census_object *found)
{
    struct livemap_block block;
    return livemap_find(map, found->addr, &block) && block.is_object &&
           block.n_bytes == found->n_bytes;
}

struct recording_objects
agreement_told(const struct livemap *map)
{
    const struct livemap_totals totals = livemap_totals(map);
    return (struct recording_objects){
        .births = (int64_t)totals.object_births,
        .deaths = (int64_t)totals.object_deaths,
        .live_blocks = (int64_t)totals.object_blocks,
        .live_bytes = (int64_t)totals.object_bytes,
        .orphans = (int64_t)totals.object_orphans,
        .found_blocks = RECORDING_UNKNOWN,
        .only_told = RECORDING_UNKNOWN,
        .only_found = RECORDING_UNKNOWN,
    };
}

void
agreement_find(struct recording_objects *objects, const struct livemap *map,
               const struct census *census)
{
    if (!census->lists_objects || !census->has_types || census->n_torn != 0)
        return;
    int64_t n_told = 0;
    for (size_t i = 0; i < census->n_objects; i++)
        n_told += is_told(map, &census->objects[i]);
    if (n_told > objects->live_blocks)
        return; /* one of them was listed twice: no heap is like that */
    objects->found_blocks = (int64_t)census->n_objects;
    objects->only_found = objects->found_blocks - n_told;
    objects->only_told = objects->live_blocks - n_told;
}
