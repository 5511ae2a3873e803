/*
 * resident.h - how much of this process is resident, by the kernel's word
 *
 * Read of /proc/self/statm, which is held open: a reading is one system call of
 * a microsecond or two. The target may put itself into a sandbox that ends
 * whoever makes that call, so that before it does nothing is read any more
 * (hooks/process.c sees it ask for one). A sandbox that was there before is
 * asked at once: the loader of today's glibc makes the same call in it.
 */
#ifndef PRELOAD_RESIDENT_H
#define PRELOAD_RESIDENT_H

#include <stdbool.h>
#include <stdint.h>

/* Once for each process: in the constructor, and in a forked child anew. */
void resident_open(void);
void resident_close(void);

/* From now on nothing is read, in this process and its children. */
void resident_forbid(void);
bool resident_is_forbidden(void);

/* In bytes; 0: that is not known. */
uint64_t resident_bytes(void);

/* The second number of seven, as bytes; 0: it is no such line. */
uint64_t resident_parse(const char *line, long n_bytes);

#endif
