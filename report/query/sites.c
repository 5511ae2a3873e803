#include <stdlib.h>
#include <string.h>

#include "include/xalloc.h"
#include "report/query/statement.h"

/* Whether there was a row. */
static bool
has_row(struct query *query, sqlite3_stmt *row)
{
    bool has = false;
    while (statement_step(query, row))
        has = true;
    return has;
}

/* A recording of before there were sites has none. */
static bool
has_tables(struct query *query)
{
    return statement_has_column(query, "site_use", "site");
}

/* Before there were estimates, all was exact. */
static bool
has_errors(struct query *query)
{
    return statement_has_column(query, "site_use", "live_bytes_error");
}

static sqlite3_stmt *
about_two(struct query *query, const char *sql, int64_t first, int64_t second)
{
    sqlite3_stmt *row = statement_about(query, sql, first);
    if (row != NULL)
        sqlite3_bind_int64(row, 2, second);
    return row;
}

/* The census whose uses are meant, 0: what was drained; -1: there is none. */
static int64_t
census_of(struct query *query, int64_t process,
          const struct query_census *census, int64_t *t_us)
{
    int64_t id = -1;
    *t_us = QUERY_UNKNOWN;
    if (strcmp(query_moment(query), "end") == 0 &&
        has_row(query, statement_about(query,
                                       "SELECT 1 FROM site_use"
                                       " WHERE census = 0 AND process = ?"
                                       " LIMIT 1",
                                       process)))
        return 0;
    if (census->id == 0)
        return -1;
    sqlite3_stmt *row = about_two(
        query,
        "SELECT id, t_us FROM census WHERE process = ? AND t_us <= ?"
        " AND image = (SELECT image FROM census WHERE id = ?)"
        " AND EXISTS (SELECT 1 FROM site_use WHERE census = census.id)"
        " ORDER BY t_us DESC, id DESC LIMIT 1",
        process, census->t_us);
    if (row != NULL)
        sqlite3_bind_int64(row, 3, census->id);
    while (statement_step(query, row)) {
        id = statement_number(row, 0);
        *t_us = statement_number(row, 1);
    }
    return id;
}

#define ERRORS                                  \
    " u.live_blocks_error, u.live_bytes_error," \
    " u.alloc_blocks_error, u.alloc_bytes_error"
#define NO_ERRORS " NULL, NULL, NULL, NULL"
#define USES(errors)                                                      \
    "SELECT u.site, coalesce(s.kind, 'native'), s.is_cut,"                \
    " u.live_blocks, u.live_bytes, u.alloc_blocks, u.alloc_bytes," errors \
    " FROM site_use u LEFT JOIN site s ON s.id = u.site"                  \
    " WHERE u.census = ? AND u.process = ?"                               \
    " ORDER BY u.live_bytes DESC, u.alloc_bytes DESC, u.site"

static void
read_uses(struct query *query, int64_t census, int64_t process,
          struct query_sites *sites)
{
    size_t capacity = 0;
    sqlite3_stmt *row =
        about_two(query, has_errors(query) ? USES(ERRORS) : USES(NO_ERRORS),
                  census, process);
    while (statement_step(query, row)) {
        XGROW(sites->sites, capacity, sites->n);
        sites->sites[sites->n++] = (struct query_site){
            .id = statement_number(row, 0),
            .kind = statement_name(row, 1),
            .is_cut = statement_number(row, 2),
            .live_blocks = statement_number(row, 3),
            .live_bytes = statement_number(row, 4),
            .alloc_blocks = statement_number(row, 5),
            .alloc_bytes = statement_number(row, 6),
            .live_blocks_error = statement_number(row, 7),
            .live_bytes_error = statement_number(row, 8),
            .alloc_blocks_error = statement_number(row, 9),
            .alloc_bytes_error = statement_number(row, 10),
        };
    }
}

static void
read_frames(struct query *query, struct query_site *site)
{
    size_t capacity = 0;
    sqlite3_stmt *row =
        statement_about(query,
                        "SELECT function, file, line, module, offset"
                        " FROM (" RECORDING_FRAMES ") WHERE site = ?"
                        " ORDER BY depth, inline",
                        site->id);
    while (statement_step(query, row)) {
        XGROW(site->frames, capacity, site->n_frames);
        site->frames[site->n_frames++] = (struct query_frame){
            .function = statement_text(row, 0),
            .file = statement_text(row, 1),
            .line = statement_number(row, 2),
            .module = statement_text(row, 3),
            .offset = statement_number(row, 4),
        };
    }
}

struct query_sites
query_sites(struct query *query, int64_t process,
            const struct query_census *census)
{
    struct query_sites sites = {.t_us = QUERY_UNKNOWN};
    if (!has_tables(query))
        return sites;
    const int64_t id = census_of(query, process, census, &sites.t_us);
    if (id < 0)
        return sites;
    sites.is_known = true;
    read_uses(query, id, process, &sites);
    for (size_t i = 0; i < sites.n; i++)
        read_frames(query, &sites.sites[i]);
    return sites;
}

void
query_free_sites(struct query_sites *sites)
{
    for (size_t i = 0; i < sites->n; i++) {
        struct query_site *site = &sites->sites[i];
        for (size_t k = 0; k < site->n_frames; k++) {
            free(site->frames[k].function);
            free(site->frames[k].file);
            free(site->frames[k].module);
        }
        free(site->frames);
        free(site->kind);
    }
    free(sites->sites);
}
