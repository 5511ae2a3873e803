#include "collector/occasion.h"

#include <stdlib.h>
#include <string.h>

#include "include/xalloc.h"

static struct census_range
range_of(const struct wire_range *range)
{
    return (struct census_range){range->start, range->n_bytes};
}

/* As a census knows them; the caller frees them. */
static struct census_block *
list_blocks(const struct image *image, uint64_t since_us, size_t *n)
{
    struct blocks_block *known = blocks_list(image->blocks, since_us, n);
    struct census_block *blocks = xcalloc(*n, sizeof(*blocks));
    for (size_t i = 0; i < *n; i++)
        blocks[i] = (struct census_block){
            .addr = known[i].addr,
            .n_bytes = known[i].n_bytes,
            .is_python = known[i].is_python,
            .is_gone = known[i].is_gone,
        };
    free(known);
    return blocks;
}

struct census_request
occasion_request(const struct image *image,
                 const struct census_occasion *occasion)
{
    struct census_request request = {
        .kind = occasion->kind,
        .python_major = image->python_major,
        .python_minor = image->python_minor,
        .has_python = image->hello.python_version[0] != '\0',
        .had_arenas = image->had_arenas,
        .python_runtime = image->hello.python_runtime,
        .python_text = range_of(&image->hello.python_text),
        .own = {range_of(&image->hello.image),
                range_of(&image->hello.private_use)},
        .shared_inode = source_shared_inode(image->source),
        .wants_types = occasion->wants_types,
        .types_budget_us = occasion->types_budget_us,
        .wants_proofs = occasion->kind == CENSUS_mark,
        .wants_objects = occasion->kind == CENSUS_mark && image->tells_objects,
        .n_control_blocks = image->n_control_blocks,
        .control_blocks =
            xcalloc(image->n_control_blocks, sizeof(image->control_blocks[0])),
    };
    if (image->n_control_blocks != 0)
        memcpy(request.control_blocks, image->control_blocks,
               image->n_control_blocks * sizeof(image->control_blocks[0]));
    request.n_stacks = image->n_stacks;
    request.stacks = xcalloc(image->n_stacks, sizeof(image->stacks[0]));
    if (image->n_stacks != 0)
        memcpy(request.stacks, image->stacks,
               image->n_stacks * sizeof(image->stacks[0]));
    request.mappings =
        mappings_list(image->mappings, occasion->seen_us, &request.n_mappings);
    request.blocks = list_blocks(image, occasion->seen_us, &request.n_blocks);
    request.candidates = arenas_candidates(image->arenas, occasion->now_us,
                                           &request.n_candidates);
    return request;
}
