/*
 * heap_walk.h - what malloc's heaps hold, told by the process itself
 *
 * A second opinion on the collector's walk, of which it shares no line: the
 * layouts are glibc's on x86-64, 2.26 to 2.41. Nothing here allocates.
 */
#ifndef TESTS_TARGETS_HEAP_WALK_H
#define TESTS_TARGETS_HEAP_WALK_H

#include <stddef.h>

/*
 * The blocks that the caller has in use: they tell where heaps are. A probe is
 * what a thread freed last, 24 bytes: it heads a list of that thread's tcache.
 */
struct heap_hints {
    void *const *blocks;
    size_t n_blocks;
    void *const *probes;
    size_t n_probes;
};

/*
 * One line of JSON, of all heaps but the chunks that are mappings of their own,
 * which are those among the hints' blocks. Returns its length, 0: a heap makes
 * no sense.
 */
size_t heap_walk_tell(const struct heap_hints *hints, char *line, size_t size);

#endif
