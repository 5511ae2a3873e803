/*
 * heap.h - one heap of glibc's malloc, walked from outside
 *
 * A walk goes from chunk to chunk by their sizes. It believes a chunk only when
 * the next one agrees with it: a free chunk's size stands a second time behind
 * it. A target that runs may tear a walk: it is taken up again a few hundred
 * chunks before, and given up after some tries; what lies behind is then not
 * known to be this heap's. A main heap whose end was given back since its
 * bounds were read ends in a top that is free up to those.
 */
#ifndef COLLECTOR_CENSUS_HEAP_H
#define COLLECTOR_CENSUS_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/census/chunks.h"
#include "collector/census/request.h"
#include "collector/census/window.h"
#include "include/recording.h"

struct heap {
    enum recording_heap_kind kind;
    uint64_t start; /* of its memory, which chunks follow */
    uint64_t end;
    uint64_t arena; /* its malloc_state; 0: not known */
    struct chunks chunks;
    unsigned n_torn; /* how often the walk was taken up again */
    bool is_torn;    /* and given up: chunks end before the heap does */
};

enum { HEAP_CONTENT_BYTES = 128 };

/*
 * Told of each chunk in use that is large enough, with what is resident of the
 * first bytes of its block. Returns flags for it (enum in chunks.h). A chunk
 * before a place where the walk tore may come twice.
 */
struct heap_visitor {
    unsigned (*visit)(void *context, const struct chunk *chunk,
                      const char *content, size_t n_bytes);
    const struct census_patience *patience; /* asked now and then */
    uint64_t least_bytes;                   /* of chunks that it wants to see */
    void *context;
};

/* Walks from the first chunk to heap->end. False: there is no chunk at all. */
bool heap_walk(struct heap *heap, uint64_t first_chunk, struct window *window,
               const struct heap_visitor *visitor);
void heap_finish(struct heap *heap);

/* Of ascending heaps apart from one another: whose chunks reach over `at`. */
struct heap *heap_find(struct heap *heaps, size_t n_heaps, uint64_t at);

#endif
