/*
 * catalogue.h - the sites of all processes of a collector, each kept once
 *
 * A module is a file that was mapped, by path and build id; a frame is an
 * address in one, wherever it was mapped; a site is a stack of frames. Forked
 * children, and processes that run the same program, so share what they say.
 * Ids count from 1 and stay; 0 is what is not known: no module, no site.
 *
 * Everything has a cap: beyond it what is new is 0.
 * Not thread-safe: a catalogue belongs to the loop that created it.
 */
#ifndef COLLECTOR_MODEL_CATALOGUE_H
#define COLLECTOR_MODEL_CATALOGUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CATALOGUE_MOST_MODULES = 1 << 16,
    CATALOGUE_MOST_FRAMES = 1 << 20,
    CATALOGUE_MOST_SITES = 1 << 18,
    CATALOGUE_BUILD_ID_BYTES = 20,
};

struct catalogue;

struct catalogue_module {
    const char *path; /* the catalogue's */
    uint8_t build_id[CATALOGUE_BUILD_ID_BYTES];
    size_t build_id_bytes; /* 0: it has none */
};

/* A return address: the call that it belongs to is before it. */
struct catalogue_frame {
    uint64_t offset; /* as the file counts; without a module: the address */
    uint32_t module;
};

struct catalogue_site {
    const uint32_t *frames; /* innermost first; the catalogue's */
    size_t n_frames;
    bool is_cut; /* there are more, or the way out was not known */
};

/* Never NULL. Destroying NULL is a no-op. */
struct catalogue *catalogue_create(void);
void catalogue_destroy(struct catalogue *catalogue);

/* The id of a thing, which is new to the catalogue or not. */
uint32_t catalogue_module(struct catalogue *catalogue,
                          const struct catalogue_module *module);
uint32_t catalogue_frame(struct catalogue *catalogue,
                         const struct catalogue_frame *frame);
uint32_t catalogue_site(struct catalogue *catalogue,
                        const struct catalogue_site *site);

/* How many there are: ids are 1 to that. */
size_t catalogue_n_modules(const struct catalogue *catalogue);
size_t catalogue_n_frames(const struct catalogue *catalogue);
size_t catalogue_n_sites(const struct catalogue *catalogue);

/* What an id stands for; the id must be one. */
struct catalogue_module catalogue_get_module(const struct catalogue *catalogue,
                                             uint32_t id);
struct catalogue_frame catalogue_get_frame(const struct catalogue *catalogue,
                                           uint32_t id);
struct catalogue_site catalogue_get_site(const struct catalogue *catalogue,
                                         uint32_t id);

#endif
