#include "collector/prepared.h"

bool
prepared_init(sqlite3_stmt **statements, sqlite3 *database,
              const char *const *texts, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (sqlite3_prepare_v3(database, texts[i], -1,
                               SQLITE_PREPARE_PERSISTENT, &statements[i],
                               NULL) != SQLITE_OK)
            return false;
    }
    return true;
}

void
prepared_finish(sqlite3_stmt **statements, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        sqlite3_finalize(statements[i]);
        statements[i] = NULL;
    }
}
