/*
 * interpreter.h - pools and objects, laid out as CPython lays them out
 *
 * Written by a target into its own memory. The alignment is 16, save where a
 * plan says otherwise.
 */
#ifndef TESTS_UNIT_COLLECTOR_INTERPRETER_H
#define TESTS_UNIT_COLLECTOR_INTERPRETER_H

#include <stdint.h>

#include "include/cpython.h"

/*
 * A pool in use: its first n_live blocks live, the other carved ones are on its
 * list. As in obmalloc, some carved block is free unless all are carved.
 */
struct interpreter_pool {
    uint32_t pool_bytes;
    uint32_t size;
    uint32_t n_carved;
    uint32_t n_live;
    uint32_t alignment; /* 0: 16 */
};

/* All carved blocks are filled with 0x5a. */
void interpreter_lay_pool(char *at, const struct interpreter_pool *pool);

/* The block of that number. */
char *interpreter_block(char *pool, uint32_t size, uint32_t number);

/* A type object of CPYTHON_TYPE_BYTES; metatype NULL: its own. */
struct interpreter_type {
    const void *metatype;
    const char *name;
    uint64_t basic_bytes;
    uint64_t item_bytes;
    uint64_t flags; /* besides READY */
};

void interpreter_lay_type(char *at, const struct interpreter_type *type);

/* An object at the block's start plus `pre` bytes. */
void interpreter_lay_object(char *block, uint32_t pre, uint64_t references,
                            const void *type);

void interpreter_put(char *at, uint32_t offset, uint64_t word);

#endif
