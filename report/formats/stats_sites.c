#include <string.h>

#include "include/text.h"
#include "report/formats/stats_format.h"
#include "report/units.h"
#include "report/words.h"

enum {
    MOST_SITES = 10,
    MOST_FRAMES = 3, /* of a site */
    FRAME_COLUMN = 25,
    FRAME_BYTES = 53, /* of a frame's words */
};

/* ---- as JSON ----------------------------------------------------------- */

static void
put_frame(struct json *json, const struct query_frame *frame)
{
    json_open(json, NULL, '{');
    json_string(json, "function", frame->function);
    json_string(json, "file", frame->file);
    json_number(json, "line", frame->line);
    json_string(json, "module", frame->module);
    json_number(json, "offset", frame->offset);
    json_close(json, '}');
}

/* What is exact has no error. */
static void
put_estimate(struct json *json, const char *key, int64_t figure,
             const char *error_key, int64_t error)
{
    json_number(json, key, figure);
    if (error != QUERY_UNKNOWN)
        json_number(json, error_key, error);
}

/* What a site holds of others' pages is not known yet. */
static void
put_site(struct json *json, const struct query_site *site)
{
    json_open(json, NULL, '{');
    json_number(json, "id", site->id);
    json_string(json, "kind", site->kind);
    json_open(json, "frames", '[');
    for (size_t i = 0; i < site->n_frames; i++)
        put_frame(json, &site->frames[i]);
    json_close(json, ']');
    if (site->is_cut == QUERY_UNKNOWN)
        json_null(json, "cut");
    else
        json_bool(json, "cut", site->is_cut == 1);
    put_estimate(json, "live_bytes", site->live_bytes, "live_bytes_error",
                 site->live_bytes_error);
    put_estimate(json, "live_blocks", site->live_blocks, "live_blocks_error",
                 site->live_blocks_error);
    put_estimate(json, "alloc_bytes", site->alloc_bytes, "alloc_bytes_error",
                 site->alloc_bytes_error);
    put_estimate(json, "alloc_blocks", site->alloc_blocks, "alloc_blocks_error",
                 site->alloc_blocks_error);
    json_null(json, "held_exclusive_bytes");
    json_null(json, "held_split_bytes");
    json_null(json, "leverage");
    json_close(json, '}');
}

void
stats_sites(struct json *json, struct query *query, int64_t process,
            const struct query_census *census)
{
    struct query_sites sites = query_sites(query, process, census);
    if (!sites.is_known) {
        json_null(json, "sites");
        return;
    }
    json_number(json, "sites_t_us", sites.t_us);
    json_open(json, "sites", '[');
    for (size_t i = 0; i < sites.n; i++)
        put_site(json, &sites.sites[i]);
    json_close(json, ']');
    query_free_sites(&sites);
}

/* ---- as text ----------------------------------------------------------- */

/* Where it was called from, as one would look it up. */
static char *
place_of(const struct query_frame *frame)
{
    if (frame->file != NULL && frame->line != QUERY_UNKNOWN)
        return xasprintf("%s:%lld", words_base_name(frame->file),
                         (long long)frame->line);
    if (frame->file != NULL)
        return xstrdup(words_base_name(frame->file));
    if (frame->offset == QUERY_UNKNOWN)
        return xstrdup("?");
    if (frame->module == NULL)
        return xasprintf("0x%llx", (unsigned long long)frame->offset);
    const char *name = words_base_name(frame->module);
    return xasprintf("%s+0x%llx", name[0] == '\0' ? "?" : name,
                     (unsigned long long)frame->offset);
}

static void
put_frame_text(struct text *text, const struct query_frame *frame)
{
    char *place = place_of(frame);
    if (frame->function == NULL) {
        words_put(text, place, FRAME_BYTES);
    } else {
        const size_t most = FRAME_BYTES - 3;
        const size_t n_place =
            strlen(place) < most / 2 ? strlen(place) : most / 2;
        words_put(text, frame->function, most - n_place);
        text_add(text, " (");
        words_put(text, place, most / 2);
        text_add(text, ")");
    }
    text_add(text, "\n");
    free(place);
}

static bool
is_estimate(const struct query_site *site)
{
    return site->live_bytes_error != QUERY_UNKNOWN;
}

/* What stands below a site's figures: their errors, or nothing. */
static void
put_errors(struct text *text, const struct query_site *site)
{
    char size[UNITS_BYTES];
    char count[UNITS_BYTES];
    const int sign_bytes = 1; /* of "±", beyond its one column */
    if (!is_estimate(site)) {
        text_addf(text, "%*s", FRAME_COLUMN - 2, "");
        return;
    }
    char *bytes = xasprintf("± %s", units_bytes(size, site->live_bytes_error));
    char *blocks =
        xasprintf("± %s", units_count(count, site->live_blocks_error));
    text_addf(text, "  %*s %*s", 10 + sign_bytes, bytes, 10 + sign_bytes,
              blocks);
    free(bytes);
    free(blocks);
}

static void
put_site_text(struct text *text, const struct query_site *site)
{
    char size[UNITS_BYTES];
    char count[UNITS_BYTES];
    text_addf(text, "  %10s %10s  ", units_bytes(size, site->live_bytes),
              units_count(count, site->live_blocks));
    if (site->id == RECORDING_SITE_UNKNOWN)
        text_add(text, "(their stack is not known)\n");
    else if (site->id == RECORDING_SITE_OTHER)
        text_add(text, "(all smaller sites)\n");
    else if (site->n_frames == 0)
        text_add(text, "(not in this recording)\n");
    for (size_t i = 0; i < site->n_frames && i < MOST_FRAMES; i++) {
        if (i == 1)
            put_errors(text, site);
        if (i != 0)
            text_addf(text, "%*s", i == 1 ? 2 : FRAME_COLUMN, "");
        put_frame_text(text, &site->frames[i]);
    }
    if (site->n_frames < 2 && is_estimate(site)) {
        put_errors(text, site);
        text_add(text, "\n");
    }
}

static bool
has_estimates(const struct query_sites *sites, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (is_estimate(&sites->sites[i]))
            return true;
    }
    return false;
}

void
stats_sites_text(struct text *text, struct query *query, int64_t process,
                 const struct query_census *census)
{
    struct query_sites sites = query_sites(query, process, census);
    size_t n_live = 0;
    while (n_live < sites.n && sites.sites[n_live].live_bytes > 0)
        n_live++;
    if (n_live != 0)
        text_add(text, "\n        live     blocks  born at, called from\n");
    for (size_t i = 0; i < n_live && i < MOST_SITES; i++)
        put_site_text(text, &sites.sites[i]);
    if (has_estimates(&sites, n_live))
        text_add(text, "  ± one standard error: a sample of the blocks was "
                       "told with its stack\n");
    if (n_live > MOST_SITES)
        text_addf(text, "  and %zu sites more: see --json\n",
                  n_live - MOST_SITES);
    query_free_sites(&sites);
}
