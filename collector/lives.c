#include "collector/lives.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

bool
lives_write(const struct livemap *map, uint64_t n_told, const char *path)
{
    const struct livemap_totals totals = livemap_totals(map);
    size_t n = 0;
    struct livemap_block *blocks = livemap_list(map, &n);
    FILE *file = fopen(path, "we");
    for (size_t i = 0; file != NULL && i < n; i++) {
        if (!blocks[i].is_object)
            fprintf(file, "%" PRIx64 " %" PRIu64 " %" PRIu64 "\n",
                    blocks[i].addr, blocks[i].n_bytes, blocks[i].asked_bytes);
    }
    free(blocks);
    if (file == NULL)
        return false;
    fprintf(file, "orphans %" PRIu64 " doubles %" PRIu64 " told %" PRIu64 "\n",
            totals.orphans, totals.doubles, n_told);
    return fclose(file) == 0;
}
