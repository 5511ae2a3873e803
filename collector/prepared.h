/*
 * prepared.h - the statements of a list, ready to be run
 *
 * They are run by binder.h. A list of statements belongs to one connection and
 * one thread.
 */
#ifndef COLLECTOR_PREPARED_H
#define COLLECTOR_PREPARED_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * Fills `statements`, which are zeroed, from as many texts. False: one of them
 * makes no sense to this database; prepared_finish is due all the same.
 */
bool prepared_init(sqlite3_stmt **statements, sqlite3 *database,
                   const char *const *texts, size_t n);
void prepared_finish(sqlite3_stmt **statements, size_t n);

#endif
