/*
 * mallocs.h - glibc's malloc in a target, and what it says of its own heaps
 *
 * A sanitizer has a malloc of its own: a target that is to have heaps of
 * glibc's asks for its blocks by these names. The target walks its heaps itself
 * and leaves what it found where the test can read it.
 */
#ifndef TESTS_UNIT_COLLECTOR_MALLOCS_H
#define TESTS_UNIT_COLLECTOR_MALLOCS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/census/heap.h"
#include "collector/census/heaps.h"
#include "collector/census/view.h"
#include "tests/unit/collector/target.h"

/* glibc's own, exported since 2.0. */
void *__libc_malloc(size_t n_bytes);
void __libc_free(void *block);

/* ---- in the target ----------------------------------------------------- */

struct mallocs_chunk {
    uint64_t at;
    uint64_t n_bytes;
    bool is_used;
};

enum { MALLOCS_MOST_CHUNKS = 200000 };

/* The chunks of one heap, as the target itself walked it. */
struct mallocs_truth {
    uint64_t start; /* of the first chunk */
    uint64_t end;
    size_t n_chunks;
    struct mallocs_chunk chunks[MALLOCS_MOST_CHUNKS];
};

/* n of them, in memory that a child of ours shares. */
struct mallocs_truth *mallocs_share(size_t n);

/* Where this process' main heap begins; a child's begins there as well. */
uint64_t mallocs_main_start(void);

/* Walks the chunks of [first, end), in this process. */
void mallocs_walk(struct mallocs_truth *truth, uint64_t first, uint64_t end);
void mallocs_walk_main(struct mallocs_truth *truth, uint64_t start);

/* The heap of a thread's arena that holds a block: its first, or another. */
void mallocs_walk_first(struct mallocs_truth *truth, const void *block);
void mallocs_walk_further(struct mallocs_truth *truth, const void *block);

/* ---- in the test ------------------------------------------------------- */

/* The heaps of a target, as a census reads them. */
struct mallocs {
    struct memory *memory;
    struct view *view;
    struct claims claims;
    struct heaps heaps;
};

struct mallocs mallocs_read(const struct target *target,
                            const struct census_request *request);
void mallocs_finish(struct mallocs *mallocs);

/* The heap that was read whose chunks begin there. */
const struct heap *mallocs_heap(const struct mallocs *mallocs, uint64_t first);

/* That heap is whole, and chunk for chunk what the target found. */
void mallocs_check(const struct mallocs *mallocs,
                   const struct mallocs_truth *truth);

/* Patience without an end. */
bool mallocs_go_on(void *context);

#endif
