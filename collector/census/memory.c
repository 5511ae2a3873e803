#include "collector/census/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "include/xalloc.h"

/* Headers of Linux 6.7 and later declare these; Debian 12's do not. */
#ifndef PAGEMAP_SCAN
struct page_region {
    uint64_t start;
    uint64_t end;
    uint64_t categories;
};
struct pm_scan_arg {
    uint64_t size;
    uint64_t flags;
    uint64_t start;
    uint64_t end;
    uint64_t walk_end;
    uint64_t vec;
    uint64_t vec_len;
    uint64_t max_pages;
    uint64_t category_inverted;
    uint64_t category_mask;
    uint64_t category_anyof_mask;
    uint64_t return_mask;
};
#define PAGEMAP_SCAN _IOWR('f', 16, struct pm_scan_arg)
#define PAGE_IS_FILE (1 << 2)
#define PAGE_IS_PRESENT (1 << 3)
#define PAGE_IS_SWAPPED (1 << 4)
#define PAGE_IS_PFNZERO (1 << 5)
#define PAGE_IS_HUGE (1 << 6)
#endif

enum {
    /*
     * Of one scan call. The kernel gathers 512 at a time; asked for more, it
     * may end a call with a walk_end before the last of them, which then come
     * again (fs/proc/task_mmu.c, PAGEMAP_WALK_SIZE and pagemap_scan_init).
     */
    REGIONS = 512,
    SPANS = 512,    /* of one process_vm_readv call */
    ENTRIES = 8192, /* of one read of pagemap */
    TEXT_CHUNK = 64 * 1024,
};

/* Bits of a pagemap entry (Documentation/admin-guide/mm/pagemap.rst). */
#define ENTRY_FILE ((uint64_t)1 << 61)
#define ENTRY_SWAPPED ((uint64_t)1 << 62)
#define ENTRY_PRESENT ((uint64_t)1 << 63)

struct memory {
    struct memory_descriptors fds;
    pthread_mutex_t texts;    /* where their reading stands is the files' own */
    _Atomic pid_t pid;        /* 0: process_vm_readv is not to be used */
    _Atomic bool has_no_scan; /* the kernel is older than 6.7 */
    _Atomic uint64_t bytes_read;
};

struct memory *
memory_create(const struct memory_descriptors *descriptors, pid_t pid)
{
    struct memory *memory = xcalloc(1, sizeof(*memory));
    memory->fds = *descriptors;
    memory->pid = pid;
    pthread_mutex_init(&memory->texts, NULL);
    return memory;
}

void
memory_destroy(struct memory *memory)
{
    if (memory == NULL)
        return;
    close(memory->fds.mem);
    close(memory->fds.maps);
    close(memory->fds.smaps);
    close(memory->fds.rollup);
    close(memory->fds.pagemap);
    pthread_mutex_destroy(&memory->texts);
    free(memory);
}

void
memory_forget_pid(struct memory *memory)
{
    memory->pid = 0;
}

/* The kernel lists no mapping of a memory that nobody uses any more. */
bool
memory_is_there(struct memory *memory)
{
    char first;
    pthread_mutex_lock(&memory->texts);
    const bool is_there = pread(memory->fds.maps, &first, 1, 0) == 1;
    pthread_mutex_unlock(&memory->texts);
    return is_there;
}

uint64_t
memory_bytes_read(const struct memory *memory)
{
    return memory->bytes_read;
}

/* ---- reading ----------------------------------------------------------- */

/* Whether the faster path may be tried again after it failed. */
static void
judge_fast_path(struct memory *memory)
{
    if (errno == EPERM || errno == ESRCH || errno == ENOSYS || errno == EACCES)
        memory->pid = 0;
}

static bool
read_slowly(struct memory *memory, uint64_t addr, void *where, size_t n_bytes)
{
    const ssize_t n = pread(memory->fds.mem, where, n_bytes, (off_t)addr);
    if (n > 0)
        memory->bytes_read += (uint64_t)n;
    return n == (ssize_t)n_bytes;
}

bool
memory_read(struct memory *memory, uint64_t addr, void *where, size_t n_bytes)
{
    if (memory->pid == 0)
        return read_slowly(memory, addr, where, n_bytes);

    const struct iovec here = {.iov_base = where, .iov_len = n_bytes};
    const struct iovec there = {.iov_base = (void *)(uintptr_t)addr,
                                .iov_len = n_bytes};
    const ssize_t n = process_vm_readv(memory->pid, &here, 1, &there, 1, 0);
    if (n == (ssize_t)n_bytes) {
        memory->bytes_read += n_bytes;
        return true;
    }
    if (n < 0)
        judge_fast_path(memory);
    return memory->pid == 0 && read_slowly(memory, addr, where, n_bytes);
}

/*
 * One call for up to SPANS spans. The kernel stops at the first that cannot be
 * read; returns how many were.
 */
static size_t
read_batch(struct memory *memory, struct memory_span *spans, size_t n_spans)
{
    struct iovec here[SPANS];
    struct iovec there[SPANS];
    for (size_t i = 0; i < n_spans; i++) {
        here[i].iov_base = spans[i].where;
        here[i].iov_len = spans[i].n_bytes;
        there[i].iov_base = (void *)(uintptr_t)spans[i].addr;
        there[i].iov_len = spans[i].n_bytes;
    }
    ssize_t left =
        process_vm_readv(memory->pid, here, n_spans, there, n_spans, 0);
    if (left < 0) {
        judge_fast_path(memory);
        return 0;
    }
    memory->bytes_read += (uint64_t)left;
    size_t n_read = 0;
    while (n_read < n_spans && left >= (ssize_t)spans[n_read].n_bytes) {
        left -= (ssize_t)spans[n_read].n_bytes;
        spans[n_read++].is_read = true;
    }
    return n_read;
}

void
memory_read_spans(struct memory *memory, struct memory_span *spans,
                  size_t n_spans)
{
    for (size_t i = 0; i < n_spans; i++)
        spans[i].is_read = false;

    size_t at = 0;
    while (at < n_spans && memory->pid != 0) {
        const size_t n = n_spans - at < SPANS ? n_spans - at : SPANS;
        const size_t n_read = read_batch(memory, spans + at, n);
        at += n_read;
        if (n_read < n && memory->pid != 0)
            at++; /* this one cannot be read; the next ones may */
    }
    for (; at < n_spans; at++) {
        struct memory_span *span = &spans[at];
        span->is_read =
            read_slowly(memory, span->addr, span->where, span->n_bytes);
    }
}

/* The whole file from its beginning, NUL-terminated, or NULL. */
static char *
read_text(int fd)
{
    if (lseek(fd, 0, SEEK_SET) != 0)
        return NULL;
    char *text = NULL;
    size_t used = 0;
    size_t capacity = 0;
    for (;;) {
        if (capacity - used < TEXT_CHUNK) {
            capacity = capacity * 2 + TEXT_CHUNK + 1;
            text = xrealloc(text, capacity, 1);
        }
        const ssize_t n = read(fd, text + used, capacity - used - 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        used += (size_t)n;
    }
    if (used == 0) {
        free(text);
        return NULL;
    }
    text[used] = '\0';
    return text;
}

static char *
text_of(struct memory *memory, int fd)
{
    pthread_mutex_lock(&memory->texts);
    char *text = read_text(fd);
    pthread_mutex_unlock(&memory->texts);
    return text;
}

char *
memory_maps_text(struct memory *memory)
{
    return text_of(memory, memory->fds.maps);
}

char *
memory_smaps_text(struct memory *memory)
{
    return text_of(memory, memory->fds.smaps);
}

bool
memory_read_file(const char *path, uint64_t inode, uint64_t offset, void *where,
                 size_t n_bytes)
{
    struct stat is;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return false;
    const bool is_read =
        fstat(fd, &is) == 0 && is.st_ino == inode && S_ISREG(is.st_mode) &&
        pread(fd, where, n_bytes, (off_t)offset) == (ssize_t)n_bytes;
    close(fd);
    return is_read;
}

/* ---- pages ------------------------------------------------------------- */

static void
append(struct memory_runs *runs, const struct memory_run *run)
{
    if (runs->n_runs != 0) {
        struct memory_run *last = &runs->runs[runs->n_runs - 1];
        if (last->end == run->start && last->is_file == run->is_file &&
            last->is_swapped == run->is_swapped &&
            last->is_huge == run->is_huge) {
            last->end = run->end;
            return;
        }
    }
    XGROW(runs->runs, runs->capacity, runs->n_runs);
    runs->runs[runs->n_runs++] = *run;
}

void
memory_runs_finish(struct memory_runs *runs)
{
    free(runs->runs);
    *runs = (struct memory_runs){0};
}

static void
append_region(struct memory_runs *runs, const struct page_region *region)
{
    const uint64_t is = region->categories;
    append(runs, &(struct memory_run){
                     .start = region->start,
                     .end = region->end,
                     .is_file = (is & PAGE_IS_FILE) != 0,
                     .is_swapped = (is & PAGE_IS_PRESENT) == 0,
                     .is_huge = (is & PAGE_IS_HUGE) != 0,
                 });
}

/* Whether a page is a file's says the page itself, the rest its entry. */
enum { FROM_ENTRY = PAGE_IS_PRESENT | PAGE_IS_SWAPPED | PAGE_IS_HUGE };

/* False with has_no_scan set: this kernel cannot. */
static bool
scan_by_ioctl(struct memory *memory, uint64_t start, uint64_t end,
              uint64_t wanted, struct memory_runs *runs)
{
    struct page_region regions[REGIONS];
    struct pm_scan_arg scan = {
        .size = sizeof(scan),
        .start = start,
        .end = end,
        .vec = (uintptr_t)regions,
        .vec_len = REGIONS,
        .category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
        .category_mask = PAGE_IS_PFNZERO,
        .category_inverted = PAGE_IS_PFNZERO,
        .return_mask = wanted,
    };
    while (scan.start < end) {
        const int n = ioctl(memory->fds.pagemap, PAGEMAP_SCAN, &scan);
        if (n < 0) {
            memory->has_no_scan =
                memory->has_no_scan || errno == ENOTTY || errno == EINVAL;
            return false;
        }
        for (int i = 0; i < n; i++)
            append_region(runs, &regions[i]);
        /* Kernels up to 6.18 at least leave it where their own buffer was full
           first, before regions that they go on to give. */
        uint64_t next = scan.walk_end;
        if (n != 0 && next < regions[n - 1].end)
            next = regions[n - 1].end;
        if (next <= scan.start)
            break;
        scan.start = next;
    }
    return true;
}

/*
 * The way of older kernels: an entry a page, so only mapped ranges are asked
 * for. It cannot tell a page of zeroes that was only read.
 */
static bool
scan_range_by_entries(struct memory *memory, uint64_t start, uint64_t end,
                      struct memory_runs *runs)
{
    uint64_t entries[ENTRIES];
    while (start < end) {
        uint64_t n = (end - start) / MEMORY_PAGE;
        if (n > ENTRIES)
            n = ENTRIES;
        const ssize_t got =
            pread(memory->fds.pagemap, entries, n * sizeof(entries[0]),
                  (off_t)(start / MEMORY_PAGE * sizeof(entries[0])));
        if (got <= 0)
            return false;
        n = (uint64_t)got / sizeof(entries[0]);
        for (uint64_t i = 0; i < n; i++, start += MEMORY_PAGE) {
            if ((entries[i] & (ENTRY_PRESENT | ENTRY_SWAPPED)) == 0)
                continue;
            append(runs, &(struct memory_run){
                             .start = start,
                             .end = start + MEMORY_PAGE,
                             .is_file = (entries[i] & ENTRY_FILE) != 0,
                             .is_swapped = (entries[i] & ENTRY_PRESENT) == 0,
                         });
        }
    }
    return true;
}

static bool
scan_by_entries(struct memory *memory, uint64_t start, uint64_t end,
                struct memory_runs *runs)
{
    char *maps = memory_maps_text(memory);
    if (maps == NULL)
        return false;
    bool is_scanned = true;
    char *rest = maps;
    char *line;
    while (is_scanned && (line = strsep(&rest, "\n")) != NULL) {
        uint64_t from;
        uint64_t to;
        if (sscanf(line, "%lx-%lx", &from, &to) != 2 ||
            strstr(line, "[vvar]") != NULL || strstr(line, "[vsys") != NULL)
            continue;
        from = from < start ? start : from;
        to = to > end ? end : to;
        if (from < to)
            is_scanned = scan_range_by_entries(memory, from, to, runs);
    }
    free(maps);
    return is_scanned;
}

static bool
scan(struct memory *memory, uint64_t start, uint64_t end, uint64_t wanted,
     struct memory_runs *runs)
{
    if (!memory->has_no_scan && scan_by_ioctl(memory, start, end, wanted, runs))
        return true;
    return memory->has_no_scan && scan_by_entries(memory, start, end, runs);
}

bool
memory_scan(struct memory *memory, uint64_t start, uint64_t end,
            struct memory_runs *runs)
{
    return scan(memory, start, end, FROM_ENTRY | PAGE_IS_FILE, runs);
}

bool
memory_scan_quickly(struct memory *memory, uint64_t start, uint64_t end,
                    struct memory_runs *runs)
{
    return scan(memory, start, end, FROM_ENTRY, runs);
}

bool
memory_tells_huge(const struct memory *memory)
{
    return !memory->has_no_scan;
}
