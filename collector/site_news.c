#include "collector/site_news.h"

#include <string.h>

#include "include/text.h"
#include "include/xalloc.h"

struct site_news *
site_news_create(void)
{
    return xcalloc(1, sizeof(struct site_news));
}

void
site_news_destroy(struct site_news *news)
{
    if (news == NULL)
        return;
    for (size_t i = 0; i < news->n_modules; i++) {
        free(news->modules[i].path);
        free(news->modules[i].build_id);
    }
    for (size_t i = 0; i < news->n_names; i++) {
        free(news->names[i].function);
        free(news->names[i].file);
    }
    free(news->modules);
    free(news->frames);
    free(news->sites);
    free(news->site_frames);
    free(news->names);
    free(news);
}

static char *
hex_of(const uint8_t *bytes, size_t n_bytes)
{
    struct text hex = {0};
    if (n_bytes == 0)
        return NULL;
    for (size_t i = 0; i < n_bytes; i++)
        text_addf(&hex, "%02x", bytes[i]);
    return text_take(&hex);
}

static void
take_modules(struct site_news *news, const struct catalogue *catalogue,
             size_t n_known)
{
    news->n_modules = catalogue_n_modules(catalogue) - n_known;
    news->modules = xcalloc(news->n_modules, sizeof(news->modules[0]));
    for (size_t i = 0; i < news->n_modules; i++) {
        const uint32_t id = (uint32_t)(n_known + i + 1);
        const struct catalogue_module module =
            catalogue_get_module(catalogue, id);
        news->modules[i] = (struct site_news_module){
            .id = id,
            .path = xstrdup(module.path),
            .build_id = hex_of(module.build_id, module.build_id_bytes),
        };
    }
}

static void
take_frames(struct site_news *news, const struct catalogue *catalogue,
            size_t n_known)
{
    news->n_frames = catalogue_n_frames(catalogue) - n_known;
    news->frames = xcalloc(news->n_frames, sizeof(news->frames[0]));
    for (size_t i = 0; i < news->n_frames; i++) {
        const uint32_t id = (uint32_t)(n_known + i + 1);
        news->frames[i].id = id;
        news->frames[i].frame = catalogue_get_frame(catalogue, id);
    }
}

static void
take_sites(struct site_news *news, const struct catalogue *catalogue,
           size_t n_known)
{
    size_t capacity = 0;
    news->n_sites = catalogue_n_sites(catalogue) - n_known;
    news->sites = xcalloc(news->n_sites, sizeof(news->sites[0]));
    for (size_t i = 0; i < news->n_sites; i++) {
        const uint32_t id = (uint32_t)(n_known + i + 1);
        const struct catalogue_site site = catalogue_get_site(catalogue, id);
        news->sites[i] = (struct site_news_site){
            .id = id,
            .is_cut = site.is_cut,
            .first = news->n_site_frames,
            .n_frames = site.n_frames,
        };
        for (size_t k = 0; k < site.n_frames; k++) {
            XGROW(news->site_frames, capacity, news->n_site_frames);
            news->site_frames[news->n_site_frames++] = site.frames[k];
        }
    }
}

struct site_news *
site_news_take(const struct catalogue *catalogue,
               struct site_news_cursor *cursor)
{
    const struct site_news_cursor all = {
        .n_modules = catalogue_n_modules(catalogue),
        .n_frames = catalogue_n_frames(catalogue),
        .n_sites = catalogue_n_sites(catalogue),
    };
    if (memcmp(&all, cursor, sizeof(all)) == 0)
        return NULL;
    struct site_news *news = site_news_create();
    take_modules(news, catalogue, cursor->n_modules);
    take_frames(news, catalogue, cursor->n_frames);
    take_sites(news, catalogue, cursor->n_sites);
    *cursor = all;
    return news;
}

static char *
copy(const char *text)
{
    return text == NULL ? NULL : xstrdup(text);
}

void
site_news_add_name(struct site_news *news, const struct site_news_name *name)
{
    XGROW(news->names, news->name_capacity, news->n_names);
    struct site_news_name *fresh = &news->names[news->n_names++];
    *fresh = *name;
    fresh->function = copy(name->function);
    fresh->file = copy(name->file);
}
