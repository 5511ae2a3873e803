#include "collector/census/ranges.h"

#include <stdlib.h>
#include <string.h>

#include "collector/census/pages.h"
#include "include/attrs.h"
#include "include/xalloc.h"

/* ---- the kernel's list ------------------------------------------------- */

static bool
starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static struct claim
claim_of(const struct map *map, int cause, enum recording_proof proof)
{
    return (struct claim){map->start, map->end, cause, proof, map->start};
}

/* A mapping's cause as far as its line tells it. */
static struct claim
claim_map(const struct map *map, const struct census_request *request)
{
    if (starts_with(map->name, "[stack"))
        return claim_of(map, CAUSE_stacks, PROOF_stack);
    if (starts_with(map->name, "/memfd:residue") &&
        map->inode == request->shared_inode)
        return claim_of(map, CAUSE_profiler, PROOF_profiler);
    if (map_is_anonymous(map))
        return claim_of(map, CAUSE_unexplained, N_PROOFS);
    if (map->is_shared && (starts_with(map->name, "/memfd:") ||
                           starts_with(map->name, "/dev/zero") ||
                           starts_with(map->name, "/dev/shm/") ||
                           starts_with(map->name, "/SYSV")))
        return claim_of(map, CAUSE_shmem, PROOF_shared);
    if (map->inode == 0 && !starts_with(map->name, "[v"))
        return claim_of(map, CAUSE_unexplained, N_PROOFS); /* no file */
    return claim_of(map, map->is_shared ? CAUSE_file : CLAIM_IMAGE, PROOF_file);
}

struct claims
ranges_maps(const struct maps *maps, const struct census_request *request)
{
    struct claims claims = {0};
    for (size_t i = 0; i < maps->n_maps; i++)
        claims_add(&claims, claim_map(&maps->maps[i], request));
    return claims;
}

/* ---- our own pages ----------------------------------------------------- */

struct claims
ranges_own(const struct census_request *request)
{
    struct claims layer = {0};
    for (size_t i = 0; i < countof(request->own); i++) {
        const struct census_range *own = &request->own[i];
        claims_add(&layer, (struct claim){
                               own->start & ~(uint64_t)(MEMORY_PAGE - 1),
                               (own->start + own->n_bytes + MEMORY_PAGE - 1) &
                                   ~(uint64_t)(MEMORY_PAGE - 1),
                               CAUSE_profiler, PROOF_profiler, own->start});
    }
    claims_sort(&layer);
    return layer;
}

/* ---- stacks ------------------------------------------------------------ */

/* Where the stack begins that ends with this control block. */
static uint64_t
stack_start(const struct census_request *request, const struct map *map,
            uint64_t control_block)
{
    for (size_t i = 0; i < request->n_stacks; i++) {
        const struct census_range *stack = &request->stacks[i];
        if (control_block - stack->start < stack->n_bytes &&
            stack->start > map->start)
            return stack->start & ~(uint64_t)(MEMORY_PAGE - 1);
    }
    return map->start;
}

struct claims
ranges_stacks(struct memory *memory, const struct maps *maps,
              const struct memory_runs *runs,
              const struct census_request *request)
{
    struct claims layer = {0};
    for (size_t i = 0; i < request->n_control_blocks; i++) {
        const uint64_t at = request->control_blocks[i];
        uint64_t words[3];
        const struct map *map = maps_at(maps, at);
        if (map == NULL || !map_is_anonymous(map) ||
            !pages_is_resident(runs, at) ||
            !memory_read(memory, at, words, sizeof(words)) || words[0] != at ||
            words[2] != at)
            continue;
        const uint64_t end = (at | (MEMORY_PAGE - 1)) + 1;
        claims_add(&layer, (struct claim){stack_start(request, map, at),
                                          end < map->end ? end : map->end,
                                          CAUSE_stacks, PROOF_stack, at});
    }
    claims_sort(&layer);
    return layer;
}

/* ---- mappings that were seen made -------------------------------------- */

struct claims
ranges_mapped(const struct census_request *request)
{
    struct claims layer = {0};
    for (size_t i = 0; i < request->n_mappings; i++) {
        const struct census_mapping *mapping = &request->mappings[i];
        claims_add(&layer, (struct claim){mapping->start, mapping->end,
                                          CAUSE_mapped_anon, PROOF_mapping,
                                          mapping->start});
    }
    return layer;
}

/* The file whose text called, by its last name. */
static const char *
module_of(const struct maps *maps, uint64_t caller)
{
    const struct map *map = maps_at(maps, caller);
    if (map == NULL)
        return "(unloaded)";
    if (map->inode == 0)
        return "(code made at run time)";
    const char *slash = strrchr(map->name, '/');
    return slash == NULL ? map->name : slash + 1;
}

/* More modules than that nobody reads of: they are one row. */
enum { MOST_MODULES = 256 };

static struct census_module *
module_row(struct census *census, const char *name, size_t *capacity)
{
    for (size_t i = 0; i < census->n_modules; i++) {
        if (strcmp(census->modules[i].name, name) == 0)
            return &census->modules[i];
    }
    if (census->n_modules >= MOST_MODULES - 1 && strcmp(name, "(other)") != 0)
        return module_row(census, "(other)", capacity);
    XGROW(census->modules, *capacity, census->n_modules);
    struct census_module *module = &census->modules[census->n_modules++];
    *module = (struct census_module){.name = xstrdup(name)};
    return module;
}

static int
compare_modules(const void *left, const void *right)
{
    const struct census_module *a = left;
    const struct census_module *b = right;
    if (a->resident_bytes != b->resident_bytes)
        return a->resident_bytes < b->resident_bytes ? 1 : -1;
    return strcmp(a->name, b->name);
}

/* The mapping with that start, among ascending ones. */
static const struct census_mapping *
find_mapping(const struct census_request *request, uint64_t start)
{
    size_t low = 0;
    size_t high = request->n_mappings;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (request->mappings[middle].start < start)
            low = middle + 1;
        else
            high = middle;
    }
    return &request->mappings[low];
}

void
ranges_sum_modules(const struct census_request *request,
                   const struct maps *maps, const struct claims *claims,
                   const struct memory_runs *runs, struct census *census)
{
    size_t capacity = 0;
    uint64_t last = 0;
    for (size_t i = 0; i < claims->n_claims; i++) {
        const struct claim *claim = &claims->claims[i];
        if (claim->cause != CAUSE_mapped_anon)
            continue;
        const struct census_mapping *mapping =
            find_mapping(request, claim->address);
        struct census_module *module =
            module_row(census, module_of(maps, mapping->caller), &capacity);
        module->n_mappings += mapping->start != last;
        module->n_bytes += claim->end - claim->start;
        module->resident_bytes +=
            pages_resident_within(runs, claim->start, claim->end);
        last = mapping->start;
    }
    if (census->n_modules != 0)
        qsort(census->modules, census->n_modules, sizeof(census->modules[0]),
              compare_modules);
}
