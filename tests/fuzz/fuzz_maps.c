/*
 * The input is what /proc/PID/maps says.
 */
#include <string.h>

#include "collector/census/maps.h"
#include "include/xalloc.h"
#include "tests/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct maps maps = maps_parse(xstrndup((const char *)bytes, n_bytes));
    uint64_t floor = 0;
    for (size_t i = 0; i < maps.n_maps; i++) {
        const struct map *map = &maps.maps[i];
        fuzz_holds(map->start >= floor);
        fuzz_holds(map->start < map->end);
        fuzz_holds(map->name >= maps.text);
        fuzz_holds(strchr(map->name, '\n') == NULL);
        fuzz_holds(maps_at(&maps, map->start) == map);
        fuzz_holds(maps_at(&maps, map->end - 1) == map);
        const struct map *next = maps_at(&maps, map->end);
        fuzz_holds(next == NULL || next == map + 1);
        map_is_anonymous(map);
        floor = map->end;
    }
    maps_finish(&maps);
    return 0;
}
