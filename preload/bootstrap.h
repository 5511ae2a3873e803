/*
 * bootstrap.h - memory for the moments when no allocator is known yet
 *
 * A bump arena: 64 KiB of our own .bss, then mappings. Nothing is ever given
 * back. Each block carries a header word in the form of a glibc chunk that was
 * mmapped, which is what sends the hot paths of free and realloc to the slow
 * path, where bootstrap_owns is asked.
 */
#ifndef PRELOAD_BOOTSTRAP_H
#define PRELOAD_BOOTSTRAP_H

#include <stdbool.h>
#include <stddef.h>

/* NULL where the kernel gives no memory. Zeroed, aligned to at least 16. */
void *bootstrap_alloc(size_t alignment, size_t size);

bool bootstrap_owns(const void *block);
size_t bootstrap_usable_size(const void *block);

#endif
