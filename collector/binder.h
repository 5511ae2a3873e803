/*
 * binder.h - one run of a prepared statement: its parameters in order
 */
#ifndef COLLECTOR_BINDER_H
#define COLLECTOR_BINDER_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/rows.h"

struct binder {
    sqlite3_stmt *statement;
    int at;
};

static inline struct binder
binder_of(sqlite3_stmt *statement)
{
    return (struct binder){.statement = statement, .at = 1};
}

/* RECORDING_NOT_COUNTED is unknown. */
static inline void
binder_put_signed(struct binder *binder, int64_t number)
{
    if (number == RECORDING_NOT_COUNTED)
        sqlite3_bind_null(binder->statement, binder->at++);
    else
        sqlite3_bind_int64(binder->statement, binder->at++, number);
}

/* Negative is unknown. */
static inline void
binder_put(struct binder *binder, int64_t number)
{
    if (number < 0)
        sqlite3_bind_null(binder->statement, binder->at++);
    else
        binder_put_signed(binder, number);
}

/* Sizes and counts, which are never unknown where they are unsigned. */
static inline void
binder_put_bytes(struct binder *binder, uint64_t number)
{
    binder_put_signed(binder, (int64_t)number);
}

/* 0 is unknown. */
static inline void
binder_put_real(struct binder *binder, double number)
{
    if (number == 0)
        sqlite3_bind_null(binder->statement, binder->at++);
    else
        sqlite3_bind_double(binder->statement, binder->at++, number);
}

/* NULL is unknown. The text must stay until binder_done. */
static inline void
binder_put_text(struct binder *binder, const char *text)
{
    if (text == NULL)
        sqlite3_bind_null(binder->statement, binder->at++);
    else
        sqlite3_bind_text(binder->statement, binder->at++, text, -1,
                          SQLITE_STATIC);
}

static inline bool
binder_done(const struct binder *binder)
{
    const bool is_done = sqlite3_step(binder->statement) == SQLITE_DONE;
    sqlite3_reset(binder->statement);
    return is_done;
}

#endif
