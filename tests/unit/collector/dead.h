/*
 * dead.h - dead objects on free lists, laid out as CPython lays them out
 *
 * One arena with a pool for each of some sizes, whose first blocks are live;
 * type objects; a runtime and the state of one interpreter. A target writes
 * them, a test asks for a census of it.
 */
#ifndef TESTS_UNIT_COLLECTOR_DEAD_H
#define TESTS_UNIT_COLLECTOR_DEAD_H

#include <stdbool.h>
#include <stdint.h>

#include "collector/census/census.h"
#include "include/cpython_lists.h"
#include "tests/unit/check.h"

enum dead_type {
    DEAD_TYPE,
    DEAD_FLOAT,
    DEAD_LIST,
    DEAD_TUPLE,
    DEAD_ERROR,
    DEAD_OTHER
};

/* 5 floats, 3 lists, 2 tuples of length 1 and 1 of length 6, 2 errors. */
enum {
    DEAD_N_FLOATS = 5,
    DEAD_N_LISTS = 3,
    DEAD_N_ONES = 2,
    DEAD_N_ERRORS = 2,
    DEAD_N_LIVE = 18, /* blocks, of each size */
    DEAD_GC = 16,     /* bytes before an object that is collected */
    DEAD_LIVE_BYTES = DEAD_N_LIVE * (32 + 48 + 64 + 96 + 128 + 176),
    DEAD_STATE_BYTES = 128 * 1024,
};

/* Where all lies, in the target, and which version it is of. */
extern struct dead {
    unsigned major;
    unsigned minor;
    bool wants_types;
    char *heap;
    char *types;
    char *runtime;
    char *state;
} dead;

/* Reserves memory; the version is 3.11. */
void dead_init(void);

/* ---- by the target ----------------------------------------------------- */

/* The type objects and the pools. */
void dead_lay_heap(void);

char *dead_type(enum dead_type type);

/* The block of that number, of 32, 48, 64, 96, 128 or 176 bytes. */
char *dead_block(uint32_t size, unsigned number);

void dead_put_count(char *at, int32_t n);

/* n dead objects, each linked to the one before; returns the last. */
char *dead_lay_chain(uint32_t size, unsigned first, unsigned n, uint32_t pre,
                     const void *type, uint32_t link_at);

/* Tuples, and lists, with their heads and counts. */
void dead_lay_tuples(char *heads, char *counts, unsigned first_length,
                     uint32_t stride);
void dead_lay_array(char *heads, char *count);

const struct cpython_list *dead_list_of(const char *name);

/* ---- by the test ------------------------------------------------------- */

/* Of a target with this layout; the target is gone afterwards. */
struct census *dead_census(void (*lay_out)(void *));

/* Residents of a list; -1: it is not known. */
int64_t dead_residents(const struct census *census, const char *name,
                       uint64_t *n_bytes);

#define CHECK_DEAD(census, name, n, bytes)                        \
    do {                                                          \
        uint64_t list_bytes;                                      \
        check_eq(dead_residents(census, name, &list_bytes), (n)); \
        check_eq(list_bytes, (bytes));                            \
    } while (0)

/* All lists are known, and hold what is named above. */
void dead_check_whole(const struct census *census);

/* Of this list nothing is known, and so the cause is not. */
void dead_check_doubtful(void (*lay_out)(void *), const char *name);

#endif
