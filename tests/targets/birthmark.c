/*
 * A second oracle: a library to be preloaded before residue's, as shadow.c is,
 * but without a lock and without a word that two threads write: they run side
 * by side as they do alone, and what residue says of their order is its own.
 *
 * Each block carries the number of its birth in its last 16 bytes, for which
 * more is asked. Whoever frees it finds it there, whichever thread that is, and
 * notes it in a log of its own. After the end every death names a birth, each
 * birth has one death at most, and those that have none are what is alive: for
 * this no order between the logs is needed.
 *
 * The logs are chunks of a file that the process maps, SHADOW_DIR/PID.TIME.
 * births, and so are there however it ends. A forked child has a file of its
 * own, and another that says how far its parent's had come.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "tests/targets/next.h"

enum {
    CHUNK_BYTES = 1 << 16,
    MOST_RECORDS = CHUNK_BYTES / 16 - 1,
    CHUNKS_AT_ONCE = 256, /* mapped from the start: needs no system call */
    MOST_CHUNKS = 1 << 16,
    MARK_BYTES = 16,
    PATH_BYTES = 4096,
};

#define MAGIC 0x6b72616d68747269u
#define NO_BIRTH UINT64_MAX

/* A birth: address, usable bytes. A death: address + 1, number of the birth. */
struct entry {
    uint64_t addr;
    uint64_t detail;
};

struct chunk {
    uint64_t n; /* entries, or more: some found no room and went elsewhere */
    uint64_t number;
    struct entry entries[MOST_RECORDS];
};

/* What the file starts with; a chunk's room. The chunks follow. */
struct head {
    uint64_t first; /* number of the first chunk: a child's go on */
    uint64_t n_chunks;
    uint64_t n_overflow; /* entries that found no room */
    uint64_t unused[CHUNK_BYTES / 8 - 3];
};

struct mark {
    uint64_t birth;
    uint64_t proof; /* of the address and the number */
};

_Static_assert(sizeof(struct chunk) == CHUNK_BYTES, "pages of its own");
_Static_assert(sizeof(struct head) == CHUNK_BYTES, "pages of its own");

/* Before there is a file. */
static struct head early_head = {.n_chunks = 1};
static struct chunk early_chunk;

static struct head *head = &early_head;
static char directory[PATH_BYTES / 2];
static char path[PATH_BYTES];
static __thread struct chunk *mine __attribute__((tls_model("initial-exec")));

/* ---- logs -------------------------------------------------------------- */

static void *
map_file(int fd, uint64_t offset, size_t n_bytes)
{
    void *start = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                       (off_t)offset);
    return start == MAP_FAILED ? NULL : start;
}

/* Another one for this thread; NULL: there is no room. */
static struct chunk *
open_chunk(void)
{
    if (head == &early_head)
        return mine == NULL ? &early_chunk : NULL;
    const uint64_t at =
        __atomic_fetch_add(&head->n_chunks, 1, __ATOMIC_RELAXED);
    if (at >= MOST_CHUNKS)
        return NULL;
    struct chunk *chunk = NULL;
    if (at < CHUNKS_AT_ONCE) {
        chunk = (struct chunk *)(void *)(head + 1) + at;
    } else {
        const int fd = open(path, O_RDWR | O_CLOEXEC);
        if (fd >= 0)
            chunk = map_file(fd, (1 + at) * CHUNK_BYTES, CHUNK_BYTES);
        close(fd);
    }
    if (chunk != NULL)
        chunk->number = head->first + at;
    return chunk;
}

/*
 * Appends; returns the entry's number. The place is taken by one instruction,
 * so that a signal handler that allocates gets another.
 */
static uint64_t
append(uint64_t addr, uint64_t detail)
{
    for (;;) {
        struct chunk *chunk = mine;
        uint64_t at = chunk == NULL ? MOST_RECORDS : 1;
        if (chunk != NULL)
            __asm__ volatile("xaddq %0, %1" : "+r"(at), "+m"(chunk->n)::"cc");
        if (at < MOST_RECORDS) {
            chunk->entries[at] = (struct entry){addr, detail};
            return chunk->number * MOST_RECORDS + at;
        }
        chunk = open_chunk();
        if (chunk == NULL)
            break;
        mine = chunk;
    }
    __atomic_fetch_add(&head->n_overflow, 1, __ATOMIC_RELAXED);
    return NO_BIRTH;
}

/* ---- files ------------------------------------------------------------- */

/* NULL: none. Sets the path. */
static struct head *
open_file(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(path, sizeof(path), "%s/%d.%ld%09ld.births", directory, getpid(),
             now.tv_sec, now.tv_nsec);
    const int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return NULL;
    struct head *fresh = NULL;
    if (ftruncate(fd, (1 + (off_t)MOST_CHUNKS) * CHUNK_BYTES) == 0)
        fresh = map_file(fd, 0, (1 + CHUNKS_AT_ONCE) * CHUNK_BYTES);
    close(fd);
    return fresh;
}

static void fork_prepare(void);
static void fork_parent(void);
static void fork_child(void);

/* What came before goes to the first chunk, where it has the same numbers. */
__attribute__((constructor)) static void
start(void)
{
    const int saved_errno = errno;
    const char *where = getenv("SHADOW_DIR");
    snprintf(directory, sizeof(directory), "%s", where == NULL ? "" : where);
    struct head *fresh = where == NULL ? NULL : open_file();
    if (fresh != NULL) {
        struct chunk *chunk = (struct chunk *)(void *)(fresh + 1);
        memcpy(chunk, &early_chunk, sizeof(*chunk));
        memcpy(fresh, &early_head, sizeof(*fresh));
        mine = chunk;
        head = fresh;
    }
    pthread_atfork(fork_prepare, fork_parent, fork_child);
    errno = saved_errno;
}

/* ---- fork -------------------------------------------------------------- */

/* How far each log was: the child has a copy. */
static __thread uint64_t *far __attribute__((tls_model("initial-exec")));
static __thread size_t n_far __attribute__((tls_model("initial-exec")));

/* Threads that allocate meanwhile may be on either side. */
static void
fork_prepare(void)
{
    if (head == &early_head)
        return; /* there is no file */
    n_far = head->n_chunks;
    far = mmap(NULL, n_far * sizeof(far[0]), PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    for (size_t i = 0; i < n_far; i++) {
        if (pread(fd, &far[i], sizeof(far[i]), (1 + (off_t)i) * CHUNK_BYTES) <
            0)
            abort();
    }
    close(fd);
}

static void
fork_parent(void)
{
    if (far != NULL)
        munmap(far, n_far * sizeof(far[0]));
    far = NULL;
}

/* PATH of the child + .parent: the parent's path in PATH_BYTES, then far. */
static void
fork_child(void)
{
    char name[PATH_BYTES + 8];
    char parent[PATH_BYTES];
    if (far == NULL)
        return;
    memcpy(parent, path, sizeof(parent));
    const struct head *old = head;
    struct head *fresh = open_file();
    if (fresh == NULL)
        abort();
    fresh->first = old->first + n_far;
    head = fresh;
    mine = NULL;
    snprintf(name, sizeof(name), "%s.parent", path);
    const int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    const ssize_t n_bytes = (ssize_t)(n_far * sizeof(far[0]));
    if (write(fd, parent, sizeof(parent)) != sizeof(parent) ||
        write(fd, far, (size_t)n_bytes) != n_bytes)
        abort();
    close(fd);
    fork_parent();
}

/* No handler of pthread_atfork's runs. */
pid_t
_Fork(void)
{
    pid_t (*next_fork)(void) = (pid_t(*)(void))dlsym(RTLD_NEXT, "_Fork");
    fork_prepare();
    const pid_t pid = next_fork();
    if (pid == 0)
        fork_child();
    else
        fork_parent();
    return pid;
}

/* ---- births and deaths ------------------------------------------------- */

static size_t
with_mark(size_t size)
{
    return size > PTRDIFF_MAX ? size : size + MARK_BYTES; /* or it fails */
}

/* Where a block's mark is, if it has one. */
static char *
place_of_mark(void *block)
{
    return (char *)block + next.malloc_usable_size(block) - MARK_BYTES;
}

static uint64_t
proof_of(const void *block, uint64_t birth)
{
    return (uintptr_t)block ^ birth * 0x9e3779b97f4a7c15u ^ MAGIC;
}

/* The number of its birth; NO_BIRTH: nobody told of it. */
static uint64_t
read_mark(void *block)
{
    struct mark mark;
    if (next.malloc_usable_size(block) < MARK_BYTES)
        return NO_BIRTH;
    memcpy(&mark, place_of_mark(block), sizeof(mark));
    return mark.proof == proof_of(block, mark.birth) ? mark.birth : NO_BIRTH;
}

static void *
born(void *block)
{
    const int saved_errno = errno;
    if (block != NULL) {
        struct mark mark;
        mark.birth = append((uintptr_t)block, next.malloc_usable_size(block));
        mark.proof = proof_of(block, mark.birth);
        memcpy(place_of_mark(block), &mark, sizeof(mark));
    }
    errno = saved_errno;
    return block;
}

/* It has no mark from here on: who frees it again is found out. */
static void
die(void *block)
{
    const int saved_errno = errno;
    const uint64_t birth = read_mark(block);
    if (birth != NO_BIRTH)
        memset(place_of_mark(block), 0, MARK_BYTES);
    append((uintptr_t)block + 1, birth);
    errno = saved_errno;
}

/* ---- the calls --------------------------------------------------------- */

void *
malloc(size_t size)
{
    resolve();
    return born(next.malloc(with_mark(size)));
}

void *
calloc(size_t n, size_t size)
{
    size_t n_bytes;
    resolve();
    if (__builtin_mul_overflow(n, size, &n_bytes))
        return next.calloc(n, size);
    return born(next.calloc(1, with_mark(n_bytes)));
}

void
free(void *block)
{
    resolve();
    if (block != NULL)
        die(block);
    next.free(block);
}

/* Of no bytes: freed. A block that cannot be moved is born anew. */
void *
realloc(void *old, size_t size)
{
    resolve();
    if (old == NULL)
        return born(next.realloc(NULL, with_mark(size)));
    die(old);
    void *fresh = next.realloc(old, size == 0 ? 0 : with_mark(size));
    if (fresh == NULL && size != 0)
        born(old);
    return born(fresh);
}

void *
reallocarray(void *old, size_t n, size_t size)
{
    size_t n_bytes;
    resolve();
    if (__builtin_mul_overflow(n, size, &n_bytes))
        return next.reallocarray(old, n, size);
    if (old != NULL)
        die(old);
    const bool frees = old != NULL && n_bytes == 0;
    void *fresh = next.reallocarray(old, 1, frees ? 0 : with_mark(n_bytes));
    if (fresh == NULL && old != NULL && n_bytes != 0)
        born(old);
    return born(fresh);
}

void *
valloc(size_t size)
{
    resolve();
    return born(next.valloc(with_mark(size)));
}

void *
pvalloc(size_t size)
{
    resolve();
    return born(next.pvalloc(with_mark(size)));
}

int
posix_memalign(void **where, size_t alignment, size_t size)
{
    resolve();
    const int error = next.posix_memalign(where, alignment, with_mark(size));
    if (error == 0)
        born(*where);
    return error;
}

void *
aligned_alloc(size_t alignment, size_t size)
{
    resolve();
    return born(next.aligned_alloc(alignment, with_mark(size)));
}

void *
memalign(size_t alignment, size_t size)
{
    resolve();
    return born(next.memalign(alignment, with_mark(size)));
}

/* What is the caller's of it. */
size_t
malloc_usable_size(void *block)
{
    resolve();
    const size_t n_bytes = next.malloc_usable_size(block);
    return block != NULL && read_mark(block) != NO_BIRTH ? n_bytes - MARK_BYTES
                                                         : n_bytes;
}
