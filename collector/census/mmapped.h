/*
 * mmapped.h - chunks of glibc's malloc that are mappings of their own
 *
 * Each of them was told as a block; its header says the same. Of a target that
 * told nothing they are found by their headers alone, where a mapping may
 * begin, and so are the chunks of Python's data stacks on the way.
 */
#ifndef COLLECTOR_CENSUS_MMAPPED_H
#define COLLECTOR_CENSUS_MMAPPED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/census/claims.h"
#include "collector/census/heaps.h"

struct mmapped_chunk {
    uint64_t start; /* of the mapping */
    uint64_t block;
    uint64_t block_end;
    uint64_t
        end; /* of the mapping: there, or since glibc 2.43 8 bytes behind */
    bool is_python;
};

struct mmapped {
    struct mmapped_chunk *chunks; /* ascending, disjoint, apart from heaps */
    size_t n_chunks;
    size_t capacity;
    struct claims stack_chunks; /* of data stacks; ascending */
};

/* The target's heaps must be read. */
void mmapped_read(struct mmapped *mmapped, const struct heaps_target *target,
                  const struct heaps *heaps);
void mmapped_finish(struct mmapped *mmapped);

/* The blocks with these addresses, which ascend, are the interpreter's. */
void mmapped_mark_python(struct mmapped *mmapped, const uint64_t *blocks,
                         size_t n);

#endif
