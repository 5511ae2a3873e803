/*
 * target.h - a child of the test that keeps memory for others to read
 *
 * Memory that is reserved before the child is made lies at the same address in
 * both; the test never touches it, so that its pages are the child's alone.
 */
#ifndef TESTS_UNIT_COLLECTOR_TARGET_H
#define TESTS_UNIT_COLLECTOR_TARGET_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "collector/census/memory.h"

struct target {
    pid_t pid;
};

/* Untouched private memory, without huge pages, at a multiple of alignment. */
char *target_reserve(size_t n_bytes, size_t alignment);

/* A child in which lay_out has run and which then sleeps. */
struct target target_start(void (*lay_out)(void *context), void *context);
void target_end(struct target *target);

/* Its five files, as a preload hands them over. */
struct memory_descriptors target_files(const struct target *target);

/* A memory of it; pid 0: by its files alone. */
struct memory *target_memory(const struct target *target, pid_t pid);

/* A number behind a word at a line's start in /proc/PID/file; in bytes. */
int64_t target_says(const struct target *target, const char *file,
                    const char *word);

/* How many of the n_bytes at addr are on pages that it has. */
uint64_t target_resident(const struct target *target, const void *addr,
                         size_t n_bytes);

#endif
