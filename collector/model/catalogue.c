/*
 * Three times the same: things by id in an array, and a table from what they
 * are to their id. The key of a thing is its bytes, without holes.
 */
#include "collector/model/catalogue.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "include/xalloc.h"

/* What a thing is: of a module its build id's length, that id and its path. */
struct thing {
    uint32_t id;
    size_t n_bytes;
    UT_hash_handle hh;
    uint64_t bytes[];
};

struct shelf {
    struct thing *by_bytes;
    struct thing **by_id; /* id - 1 */
    size_t n;
    size_t capacity;
    size_t most;
};

struct catalogue {
    struct shelf modules;
    struct shelf frames;
    struct shelf sites;
};

/* The keys, of which two have as much more behind them as there is. */
struct module_key {
    uint8_t build_id[CATALOGUE_BUILD_ID_BYTES];
    uint32_t build_id_bytes;
    char path[];
};

struct frame_key {
    uint64_t offset;
    uint64_t module;
};

struct site_key {
    uint32_t is_cut;
    uint32_t frames[];
};

struct catalogue *
catalogue_create(void)
{
    struct catalogue *catalogue = xcalloc(1, sizeof(*catalogue));
    catalogue->modules.most = CATALOGUE_MOST_MODULES;
    catalogue->frames.most = CATALOGUE_MOST_FRAMES;
    catalogue->sites.most = CATALOGUE_MOST_SITES;
    return catalogue;
}

static void
clear(struct shelf *shelf)
{
    HASH_CLEAR(hh, shelf->by_bytes);
    for (size_t i = 0; i < shelf->n; i++)
        free(shelf->by_id[i]);
    free(shelf->by_id);
}

void
catalogue_destroy(struct catalogue *catalogue)
{
    if (catalogue == NULL)
        return;
    clear(&catalogue->modules);
    clear(&catalogue->frames);
    clear(&catalogue->sites);
    free(catalogue);
}

/* ---- what is new and what is not --------------------------------------- */

static uint32_t
id_of(struct shelf *shelf, const void *bytes, size_t n_bytes)
{
    struct thing *thing;
    HASH_FIND(hh, shelf->by_bytes, bytes, n_bytes, thing);
    if (thing != NULL)
        return thing->id;
    if (shelf->n == shelf->most)
        return 0;
    thing = xcalloc(1, sizeof(*thing) + n_bytes);
    memcpy(thing->bytes, bytes, n_bytes);
    thing->n_bytes = n_bytes;
    XGROW(shelf->by_id, shelf->capacity, shelf->n);
    shelf->by_id[shelf->n++] = thing;
    thing->id = (uint32_t)shelf->n;
    HASH_ADD_KEYPTR(hh, shelf->by_bytes, thing->bytes, n_bytes, thing);
    return thing->id;
}

uint32_t
catalogue_module(struct catalogue *catalogue,
                 const struct catalogue_module *module)
{
    const size_t path_bytes = strlen(module->path) + 1;
    const size_t n_bytes = sizeof(struct module_key) + path_bytes;
    struct module_key *key = xcalloc(1, n_bytes);
    const size_t id_bytes = module->build_id_bytes <= sizeof(key->build_id)
                                ? module->build_id_bytes
                                : 0;
    memcpy(key->build_id, module->build_id, id_bytes);
    key->build_id_bytes = (uint32_t)id_bytes;
    memcpy(key->path, module->path, path_bytes);
    const uint32_t id = id_of(&catalogue->modules, key, n_bytes);
    free(key);
    return id;
}

uint32_t
catalogue_frame(struct catalogue *catalogue,
                const struct catalogue_frame *frame)
{
    const struct frame_key key = {frame->offset, frame->module};
    return id_of(&catalogue->frames, &key, sizeof(key));
}

uint32_t
catalogue_site(struct catalogue *catalogue, const struct catalogue_site *site)
{
    const size_t frames_bytes = site->n_frames * sizeof(site->frames[0]);
    const size_t n_bytes = sizeof(struct site_key) + frames_bytes;
    struct site_key *key = xcalloc(1, n_bytes);
    key->is_cut = site->is_cut;
    if (frames_bytes != 0)
        memcpy(key->frames, site->frames, frames_bytes);
    const uint32_t id = id_of(&catalogue->sites, key, n_bytes);
    free(key);
    return id;
}

/* ---- what there is ----------------------------------------------------- */

size_t
catalogue_n_modules(const struct catalogue *catalogue)
{
    return catalogue->modules.n;
}

size_t
catalogue_n_frames(const struct catalogue *catalogue)
{
    return catalogue->frames.n;
}

size_t
catalogue_n_sites(const struct catalogue *catalogue)
{
    return catalogue->sites.n;
}

struct catalogue_module
catalogue_get_module(const struct catalogue *catalogue, uint32_t id)
{
    const struct module_key *key =
        (const void *)catalogue->modules.by_id[id - 1]->bytes;
    struct catalogue_module module = {
        .path = key->path,
        .build_id_bytes = key->build_id_bytes,
    };
    memcpy(module.build_id, key->build_id, sizeof(module.build_id));
    return module;
}

struct catalogue_frame
catalogue_get_frame(const struct catalogue *catalogue, uint32_t id)
{
    const struct frame_key *key =
        (const void *)catalogue->frames.by_id[id - 1]->bytes;
    return (struct catalogue_frame){key->offset, (uint32_t)key->module};
}

struct catalogue_site
catalogue_get_site(const struct catalogue *catalogue, uint32_t id)
{
    const struct thing *thing = catalogue->sites.by_id[id - 1];
    const struct site_key *key = (const void *)thing->bytes;
    return (struct catalogue_site){
        .frames = key->frames,
        .n_frames = (thing->n_bytes - sizeof(*key)) / sizeof(key->frames[0]),
        .is_cut = key->is_cut != 0,
    };
}
