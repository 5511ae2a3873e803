#include "collector/census/maps.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "include/xalloc.h"

/* "start-end rwxp offset dev inode    name" (proc_pid_maps(5)). */
static bool
parse_line(const char *line, struct map *map)
{
    char rights[5];
    int name_at = 0;
    if (sscanf(line,
               "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %*s %" SCNu64 " %n",
               &map->start, &map->end, rights, &map->offset, &map->inode,
               &name_at) != 5 ||
        map->start >= map->end || strlen(rights) != 4)
        return false;
    map->is_readable = rights[0] == 'r';
    map->is_writable = rights[1] == 'w';
    map->is_shared = rights[3] == 's';
    map->name = line + name_at;
    return true;
}

struct maps
maps_parse(char *text)
{
    struct maps maps = {.text = text};
    char *rest = text;
    char *line;
    uint64_t floor = 0;
    while ((line = strsep(&rest, "\n")) != NULL) {
        struct map map;
        if (!parse_line(line, &map) || map.start < floor)
            continue;
        floor = map.end;
        XGROW(maps.maps, maps.capacity, maps.n_maps);
        maps.maps[maps.n_maps++] = map;
    }
    return maps;
}

void
maps_finish(struct maps *maps)
{
    free(maps->maps);
    free(maps->text);
    *maps = (struct maps){0};
}

const struct map *
maps_at(const struct maps *maps, uint64_t addr)
{
    size_t low = 0;
    size_t high = maps->n_maps;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (maps->maps[middle].end <= addr)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == maps->n_maps || maps->maps[low].start > addr)
        return NULL;
    return &maps->maps[low];
}

bool
map_is_anonymous(const struct map *map)
{
    if (map->inode != 0 || map->is_shared)
        return false;
    return map->name[0] == '\0' || strcmp(map->name, "[heap]") == 0 ||
           strncmp(map->name, "[anon:", 6) == 0;
}
