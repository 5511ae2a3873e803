/*
 * memory.h - the only way a census touches a target
 *
 * Behind it: the five /proc/self files that the target handed over, and
 * process_vm_readv as a faster path where it is permitted. All of it reads.
 * What is not resident is never read: a read would make the page so.
 *
 * Two threads may read by it at once: the loop's takes an end's view while the
 * survey's is at a census of before.
 */
#ifndef COLLECTOR_CENSUS_MEMORY_H
#define COLLECTOR_CENSUS_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct memory;

struct memory_descriptors {
    int mem;
    int maps;
    int smaps;
    int rollup;
    int pagemap;
};

/*
 * Takes the descriptors. pid is the target's, as seen here, or 0: no faster
 * path. Never returns NULL. Destroying NULL is a no-op.
 */
struct memory *memory_create(const struct memory_descriptors *descriptors,
                             pid_t pid);
void memory_destroy(struct memory *memory);

/* The target's image was replaced: the pid means another memory now. */
void memory_forget_pid(struct memory *memory);

/*
 * False: the target has left it. What it had is being unmapped then, and some
 * of its pages are still found.
 */
bool memory_is_there(struct memory *memory);

/* All n_bytes, or false. */
bool memory_read(struct memory *memory, uint64_t addr, void *where,
                 size_t n_bytes);

/* One of many small reads; is_read says whether it came. */
struct memory_span {
    uint64_t addr;
    void *where;
    uint32_t n_bytes;
    bool is_read;
};

void memory_read_spans(struct memory *memory, struct memory_span *spans,
                       size_t n_spans);

/* /proc/PID/maps, NUL-terminated; the caller frees it. NULL: it is gone. */
char *memory_maps_text(struct memory *memory);

/* /proc/PID/smaps, likewise. Dear: the kernel looks at each page for it. */
char *memory_smaps_text(struct memory *memory);

/*
 * Bytes of a file that the target has mapped, by name and inode, where its
 * pages are not to be touched. False: it is another file by now, out of reach,
 * or too short.
 */
bool memory_read_file(const char *path, uint64_t inode, uint64_t offset,
                      void *where, size_t n_bytes);

/* ---- pages ------------------------------------------------------------- */

/* A run of pages that are alike. */
struct memory_run {
    uint64_t start;
    uint64_t end;
    bool is_file;    /* a page of a file or of shared memory, not a copy */
    bool is_swapped; /* not resident; else resident */
    bool is_huge;    /* mapped by one huge entry */
};

struct memory_runs {
    struct memory_run *runs; /* ascending, not overlapping */
    size_t n_runs;
    size_t capacity;
};

/*
 * Appends the resident and swapped runs of [start, end). Pages of zeroes that
 * were only read, and device memory, are in no process' RSS and not here. Pages
 * of HugetlbPages are in no RSS either, but here (hugetlb.h).
 */
bool memory_scan(struct memory *memory, uint64_t start, uint64_t end,
                 struct memory_runs *runs);

/*
 * The same at a fifth of the price, but that is_file may be false of a file's
 * page: for memory with no file behind it, or where only residence matters.
 */
bool memory_scan_quickly(struct memory *memory, uint64_t start, uint64_t end,
                         struct memory_runs *runs);
void memory_runs_finish(struct memory_runs *runs);

/* Whether the runs say what is huge; kernels before 6.7 do not. */
bool memory_tells_huge(const struct memory *memory);

/* The end of user space: what a scan of everything goes up to. */
#define MEMORY_END (((uint64_t)1 << 47) - 4096)

enum { MEMORY_PAGE = 4096 };

/* Bytes read from the target so far. */
uint64_t memory_bytes_read(const struct memory *memory);

#endif
