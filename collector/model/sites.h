/*
 * sites.h - the stacks of one process: which site each of their numbers means
 *
 * A process numbers the stacks that it meets and tells what they are made of:
 * return addresses, and the images that they lie in. Here they become sites of
 * the catalogue (catalogue.h), and what the live map has counted by number is
 * added up by site. It is a model and nothing else: no clock, no I/O, no
 * knowledge of the wire.
 *
 * Stacks and images may be told more than once, and stacks before their images:
 * what has no image yet is looked at again whenever sites are asked for.
 * Not thread-safe: it belongs to the loop that created it.
 */
#ifndef COLLECTOR_MODEL_SITES_H
#define COLLECTOR_MODEL_SITES_H

#include <stddef.h>
#include <stdint.h>

#include "collector/model/catalogue.h"
#include "collector/model/livemap.h"
#include "collector/model/samples.h"

enum {
    SITES_MOST_FRAMES = 256, /* of a stack; more are cut off */
    SITES_MOST_IMAGES = 1 << 14,
};

struct sites;

/* Never NULL; the catalogue must outlive it. Destroying NULL is a no-op. */
struct sites *sites_create(struct catalogue *catalogue);
void sites_destroy(struct sites *sites);

/* A forked child's: it goes on with its parent's numbers and images. */
struct sites *sites_clone(const struct sites *sites);

/* A file is at [start, end); an address less bias is one of the file's own. */
struct sites_image {
    uint64_t start;
    uint64_t end;
    uint64_t bias;
    struct catalogue_module module;
};

/* What was there before it is gone. */
void sites_image(struct sites *sites, const struct sites_image *image);

/*
 * What the number means: return addresses, innermost first. A 0 ends them: the
 * stack is cut there. The latest is believed.
 */
void sites_stack(struct sites *sites, uint32_t number, const uint64_t *frames,
                 size_t n);

/* What was told and cannot be. */
uint64_t sites_lies(const struct sites *sites);

struct sites_use {
    uint32_t site; /* 0: the stack is not known */
    uint64_t live_blocks;
    uint64_t live_bytes;
    uint64_t alloc_blocks; /* by the process itself, as livemap_tally says */
    uint64_t alloc_bytes;
    /* Of each, where it is estimated; 0: it is exact. */
    double live_blocks_variance;
    double live_bytes_variance;
    double alloc_blocks_variance;
    double alloc_bytes_variance;
};

/* Of two uses one, which keeps the sum's site. */
void sites_add(struct sites_use *sum, const struct sites_use *use);

/*
 * The sites that have or had blocks, ascending; all blocks of the map are in
 * one of them. The caller frees them.
 */
struct sites_use *sites_list(struct sites *sites, const struct livemap *map,
                             size_t *n);

/* The same of what a sample says. */
struct sites_use *sites_estimate(struct sites *sites,
                                 const struct samples *samples, size_t *n);

#endif
