/*
 * site_news.h - what is new of the catalogue, on its way to the recording
 *
 * Rows of modules, frames, sites and names, copied from where they are kept:
 * they are written by another thread.
 */
#ifndef COLLECTOR_SITE_NEWS_H
#define COLLECTOR_SITE_NEWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/model/catalogue.h"

struct site_news_module {
    uint32_t id;
    char *path;     /* owned */
    char *build_id; /* owned: in hexadecimal digits; NULL: it has none */
};

struct site_news_frame {
    uint32_t id;
    struct catalogue_frame frame;
};

/* A function that a frame stands in; inline 0 is the innermost. */
struct site_news_name {
    uint32_t frame;
    uint32_t inline_depth;
    char *function; /* owned; NULL: not known, like file */
    char *file;
    int64_t line; /* negative: not known */
};

struct site_news_site {
    uint32_t id;
    bool is_cut;
    size_t first; /* of site_frames */
    size_t n_frames;
};

struct site_news {
    struct site_news_module *modules;
    size_t n_modules;
    struct site_news_frame *frames;
    size_t n_frames;
    struct site_news_site *sites;
    size_t n_sites;
    uint32_t *site_frames; /* of all sites, one behind another */
    size_t n_site_frames;
    struct site_news_name *names;
    size_t n_names;
    size_t name_capacity;
};

/* How much of a catalogue is no news any more; zeroed: nothing. */
struct site_news_cursor {
    size_t n_modules;
    size_t n_frames;
    size_t n_sites;
};

/* What has come since the cursor, which moves on. NULL: nothing has. */
struct site_news *site_news_take(const struct catalogue *catalogue,
                                 struct site_news_cursor *cursor);

/* Without anything yet. Never NULL; destroying NULL is a no-op. */
struct site_news *site_news_create(void);
void site_news_destroy(struct site_news *news);

/* The texts are copied. */
void site_news_add_name(struct site_news *news,
                        const struct site_news_name *name);

#endif
