/*
 * A recording may be by anybody. Its schema is a program: views, generated
 * columns and triggers run when it is read. And a page that is there twice, or
 * a circle of them, has rows without end. So ours is read only from tables,
 * nothing of its schema is run, no value is larger than ours are, and neither
 * rows nor time are more than a file of its size can be worth.
 */
#include <sys/stat.h>

#include "include/attrs.h"
#include "include/xalloc.h"
#include "report/query/statement.h"

enum {
    MOST_VALUE_BYTES = 16 << 20,
    ROUND = 10000,      /* of SQLite's operations, some 100 us */
    LEAST_ROUNDS = 500, /* some hundredths of a second */
    PAGE_BYTES = 4096,
    ROUNDS_PER_PAGE = 40, /* 100 operations a byte */
    LEAST_ROWS = 65536,
    ROW_BYTES = 8, /* less than any row of ours has */
};

/* Its own and its log's. */
static uint64_t
bytes_of(const struct query *query)
{
    struct stat is;
    uint64_t n_bytes = 0;
    char *wal = xasprintf("%s-wal", query->path);
    if (stat(query->path, &is) == 0)
        n_bytes += (uint64_t)is.st_size;
    if (stat(wal, &is) == 0)
        n_bytes += (uint64_t)is.st_size;
    free(wal);
    return n_bytes;
}

/* All censuses are looked at for each process, which may have a page each. */
static uint64_t
rounds_for(uint64_t n_bytes)
{
    const uint64_t n_pages = n_bytes / PAGE_BYTES;
    return LEAST_ROUNDS + n_pages * ROUNDS_PER_PAGE + n_pages * n_pages / 4;
}

static void
complain(struct query *query, const char *why)
{
    query->is_damaged = query->is_damaged || query->complaint == NULL;
    query_complain(query, "%s: the recording is damaged (%s)", query->path,
                   why);
}

static int
on_round(void *context)
{
    struct query *query = context;
    if (query->is_users || query->rounds_left-- > 1)
        return 0;
    query->rounds_left = 1;
    complain(query, "there is no end to it");
    return 1;
}

bool
query_counts_row(struct query *query, const sqlite3_stmt *statement)
{
    if (statement != query->stepping)
        query->n_rows = 0;
    query->stepping = statement;
    if (++query->n_rows <= query->rows_most || query->is_users)
        return true;
    complain(query, "it has more rows than there is room for");
    return false;
}

/* What we read; a recording may have tables and views of its user's. */
#define OURS                                                             \
    "('meta', 'process', 'census', 'class', 'arena', 'type',"            \
    " 'low_type', 'block27', 'free_list', 'single', 'heap', 'mapping', " \
    "'module',"                                                          \
    " 'frame', 'frame_name', 'site', 'site_frame', 'site_use',"          \
    " 'proof', 'clock', 'tick0', 'tick1', 'tick2', 'gc',"                \
    " 'collection', 'event', 'finding', 'generation',"                   \
    " 'object')"

/* Whether each of them is a table, and all of it is in the file. */
static bool
has_only_tables(struct query *query)
{
    bool has = true;
    sqlite3_stmt *row = statement_of(
        query, "SELECT 1 FROM sqlite_master m WHERE lower(name) IN " OURS
               " AND (type <> 'table' OR EXISTS (SELECT 1"
               " FROM pragma_table_xinfo(m.name) WHERE hidden <> 0)) LIMIT 1");
    while (statement_step(query, row))
        has = false;
    return has;
}

bool
query_distrust(struct query *query)
{
    /* A user's query may ask for these; no table can be made of them. */
    static const char *kept[] = {"json_each", "json_tree", NULL};
    static const int off[] = {SQLITE_DBCONFIG_TRUSTED_SCHEMA,
                              SQLITE_DBCONFIG_ENABLE_TRIGGER};
    const uint64_t n_bytes = bytes_of(query);
    query->rounds_left = rounds_for(n_bytes);
    query->rows_most = LEAST_ROWS + n_bytes / ROW_BYTES;
    for (size_t i = 0; i < countof(off); i++)
        sqlite3_db_config(query->database, off[i], 0, NULL);
    sqlite3_db_config(query->database, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_drop_modules(query->database, kept);
    sqlite3_limit(query->database, SQLITE_LIMIT_LENGTH, MOST_VALUE_BYTES);
    sqlite3_progress_handler(query->database, ROUND, on_round, query);
    if (!has_only_tables(query))
        complain(query, "its tables are not what they are called");
    return query->complaint == NULL;
}
