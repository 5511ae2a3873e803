#include "collector/site_rows.h"

#include "collector/binder.h"
#include "collector/prepared.h"
#include "include/xalloc.h"

/* X(NAME, SQL) */
#define STATEMENTS(X)                                                 \
    X(MODULE, "INSERT OR REPLACE INTO module VALUES (?,?,?)")         \
    X(FRAME, "INSERT OR REPLACE INTO frame VALUES (?,?,?)")           \
    X(NAME, "INSERT OR REPLACE INTO frame_name VALUES (?,?,?,?,?)")   \
    X(SITE, "INSERT OR REPLACE INTO site VALUES (?,'native',?)")      \
    X(SITE_FRAME, "INSERT OR REPLACE INTO site_frame VALUES (?,?,?)") \
    X(USE, "INSERT OR REPLACE INTO site_use"                          \
           " VALUES (?,?,?,?,?,?,?,?,?,?,?)")                         \
    X(DROP, "DELETE FROM site_use WHERE census = ?")                  \
    X(DROP_LAST, "DELETE FROM site_use WHERE census = 0 AND process = ?")

enum statement {
#define X(NAME, sql) STATEMENT_##NAME,
    STATEMENTS(X)
#undef X
        N_STATEMENTS,
};

static const char *const texts[] = {
#define X(NAME, sql) [STATEMENT_##NAME] = sql,
    STATEMENTS(X)
#undef X
};

struct site_rows {
    sqlite3_stmt *prepared[N_STATEMENTS];
};

struct site_rows *
site_rows_create(sqlite3 *database)
{
    struct site_rows *rows = xcalloc(1, sizeof(*rows));
    if (prepared_init(rows->prepared, database, texts, N_STATEMENTS))
        return rows;
    site_rows_destroy(rows);
    return NULL;
}

void
site_rows_destroy(struct site_rows *rows)
{
    if (rows == NULL)
        return;
    prepared_finish(rows->prepared, N_STATEMENTS);
    free(rows);
}

static struct binder
begin(struct site_rows *rows, enum statement which, int64_t first)
{
    struct binder binder = binder_of(rows->prepared[which]);
    binder_put_signed(&binder, first);
    return binder;
}

/* ---- the catalogue ----------------------------------------------------- */

static bool
put_modules(struct site_rows *rows, const struct site_news *news)
{
    for (size_t i = 0; i < news->n_modules; i++) {
        const struct site_news_module *module = &news->modules[i];
        struct binder row = begin(rows, STATEMENT_MODULE, module->id);
        binder_put_text(&row, module->path);
        binder_put_text(&row, module->build_id);
        if (!binder_done(&row))
            return false;
    }
    return true;
}

static bool
put_frames(struct site_rows *rows, const struct site_news *news)
{
    for (size_t i = 0; i < news->n_frames; i++) {
        const struct catalogue_frame *frame = &news->frames[i].frame;
        struct binder row = begin(rows, STATEMENT_FRAME, news->frames[i].id);
        binder_put(&row, frame->module == 0 ? -1 : (int64_t)frame->module);
        binder_put_bytes(&row, frame->offset);
        if (!binder_done(&row))
            return false;
    }
    return true;
}

static bool
put_names(struct site_rows *rows, const struct site_news *news)
{
    for (size_t i = 0; i < news->n_names; i++) {
        const struct site_news_name *name = &news->names[i];
        struct binder row = begin(rows, STATEMENT_NAME, name->frame);
        binder_put(&row, name->inline_depth);
        binder_put_text(&row, name->function);
        binder_put_text(&row, name->file);
        binder_put(&row, name->line);
        if (!binder_done(&row))
            return false;
    }
    return true;
}

/* A frame that the catalogue had no room for is null. */
static bool
put_site(struct site_rows *rows, const struct site_news *news,
         const struct site_news_site *site)
{
    struct binder row = begin(rows, STATEMENT_SITE, site->id);
    binder_put(&row, site->is_cut);
    if (!binder_done(&row))
        return false;
    for (size_t depth = 0; depth < site->n_frames; depth++) {
        const uint32_t frame = news->site_frames[site->first + depth];
        row = begin(rows, STATEMENT_SITE_FRAME, site->id);
        binder_put(&row, (int64_t)depth);
        binder_put(&row, frame == 0 ? -1 : (int64_t)frame);
        if (!binder_done(&row))
            return false;
    }
    return true;
}

bool
site_rows_put_news(struct site_rows *rows, const struct site_news *news)
{
    for (size_t i = 0; i < news->n_sites; i++) {
        if (!put_site(rows, news, &news->sites[i]))
            return false;
    }
    return put_modules(rows, news) && put_frames(rows, news) &&
           put_names(rows, news);
}

/* ---- uses -------------------------------------------------------------- */

static void
put_error(struct binder *row, int64_t error)
{
    binder_put(row, error != 0 ? error : -1);
}

static bool
put_uses(struct site_rows *rows, int64_t census, int64_t process,
         const struct recording_use *uses, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct binder row = begin(rows, STATEMENT_USE, census);
        binder_put(&row, process);
        binder_put_signed(&row, uses[i].site);
        binder_put_signed(&row, uses[i].live_blocks);
        binder_put_signed(&row, uses[i].live_bytes);
        binder_put_signed(&row, uses[i].alloc_blocks);
        binder_put_signed(&row, uses[i].alloc_bytes);
        put_error(&row, uses[i].live_blocks_error);
        put_error(&row, uses[i].live_bytes_error);
        put_error(&row, uses[i].alloc_blocks_error);
        put_error(&row, uses[i].alloc_bytes_error);
        if (!binder_done(&row))
            return false;
    }
    return true;
}

bool
site_rows_put(struct site_rows *rows, int64_t census,
              const struct recording_moment *moment)
{
    return put_uses(rows, census, moment->process, moment->uses,
                    moment->n_uses);
}

bool
site_rows_drop(struct site_rows *rows, int64_t census)
{
    const struct binder row = begin(rows, STATEMENT_DROP, census);
    return binder_done(&row);
}

bool
site_rows_put_last(struct site_rows *rows, int64_t process,
                   const struct recording_use *uses, size_t n)
{
    const struct binder row = begin(rows, STATEMENT_DROP_LAST, process);
    return binder_done(&row) && put_uses(rows, 0, process, uses, n);
}
