/*
 * fake_real.h - a table of real functions, and an allocator behind it
 *
 * Stands in for preload/real.c. The allocator hands out memory of its own, with
 * the size words that glibc's chunks have, and remembers what it was asked.
 */
#ifndef TESTS_UNIT_PRELOAD_FAKE_REAL_H
#define TESTS_UNIT_PRELOAD_FAKE_REAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fake_real {
    bool is_glibc;
    bool is_out_of_memory; /* the next calls fail, with ENOMEM */
    unsigned n_mallocs;    /* and the like */
    unsigned n_frees;
    void *last_freed;
    void (*during)(void); /* called inside of each call, if set */
};

extern struct fake_real fake_real;

/* Hands out the same memory once more. */
void fake_real_reset(void);

/* What malloc_usable_size would say. */
size_t fake_real_usable(const void *block);

#endif
