/*
 * An oracle: a library to be preloaded before residue's, which writes down what
 * is alive, under a lock of its own, and lets every call go on to residue.
 *
 * The table is a file that the process maps, SHADOW_DIR/PID.shadow, and so is
 * there however the process ends; a forked child goes on with a copy. A birth
 * is entered after the real call, a death before it. Behind the table each
 * thread says which call it is in, for what a kill leaves unfinished; and no
 * kill leaves an entry half written.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/targets/next.h"

enum { N_ENTRIES = 1 << 20, N_CALLS = 4096 };

struct entry {
    uint64_t addr; /* 0: none; 1: there was one */
    uint64_t n_bytes;
};

/* What a thread is in, from before the death to after the birth. */
struct call {
    uint64_t is_open;
    uint64_t old;   /* block that dies; 0: none */
    uint64_t asked; /* bytes of the one that is born; NOTHING: none is */
    uint64_t n_done;
};

#define NOTHING UINT64_MAX

struct table {
    uint64_t n_doubles;  /* births where a block was alive */
    uint64_t n_unknown;  /* deaths of what nobody told of */
    uint64_t n_overflow; /* births that found no room */
    uint64_t n_births;
    uint64_t is_whole; /* what was before is copied, the rest is true */
    struct entry entries[N_ENTRIES];
    struct call calls[N_CALLS]; /* by thread */
};

static struct table early; /* before there is a file */
static struct table *table = &early;
static bool is_locked;
static sigset_t mask_before; /* of whoever has the lock */
static uint64_t n_threads;   /* that have made a call */
static __thread uint64_t own_call __attribute__((tls_model("initial-exec")));

/* ---- the table --------------------------------------------------------- */

/* No signal handler comes in between: it may allocate too. */
static void
lock(void)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (__atomic_exchange_n(&is_locked, true, __ATOMIC_ACQUIRE))
        usleep(0);
    mask_before = before;
}

static void
unlock(void)
{
    const sigset_t before = mask_before;
    __atomic_store_n(&is_locked, false, __ATOMIC_RELEASE);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static uint64_t
place_of(uint64_t addr)
{
    return (addr >> 4) * 0x9e3779b97f4a7c15u >> 44;
}

static struct entry *
find(uint64_t addr)
{
    uint64_t at = place_of(addr);
    for (uint64_t n = 0; n < N_ENTRIES; n++, at++) {
        struct entry *entry = &table->entries[at % N_ENTRIES];
        if (entry->addr == addr)
            return entry;
        if (entry->addr == 0)
            break;
    }
    return NULL;
}

/* The address last, or first if there is none: each word is written whole. */
static void
fill(struct entry *entry, uint64_t addr, uint64_t n_bytes)
{
    if (addr == 1)
        __atomic_store_n(&entry->addr, addr, __ATOMIC_SEQ_CST);
    __atomic_store_n(&entry->n_bytes, n_bytes, __ATOMIC_SEQ_CST);
    __atomic_store_n(&entry->addr, addr, __ATOMIC_SEQ_CST);
}

static void
enter(const void *block, uint64_t n_bytes)
{
    const uint64_t addr = (uintptr_t)block;
    lock();
    table->n_births++;
    struct entry *entry = find(addr);
    table->n_doubles += entry != NULL;
    uint64_t at = place_of(addr);
    for (uint64_t n = 0; n < N_ENTRIES && entry == NULL; n++, at++) {
        if (table->entries[at % N_ENTRIES].addr <= 1)
            entry = &table->entries[at % N_ENTRIES];
    }
    if (entry == NULL)
        table->n_overflow++;
    else
        fill(entry, addr, n_bytes);
    unlock();
}

/* Returns how many bytes it had. */
static uint64_t
strike(const void *block)
{
    lock();
    struct entry *entry = find((uintptr_t)block);
    const uint64_t n_bytes = entry == NULL ? 0 : entry->n_bytes;
    if (entry == NULL)
        table->n_unknown++;
    else
        fill(entry, 1, 0);
    unlock();
    return n_bytes;
}

/* A file for this process, with what there was so far. */
static void
open_table(void)
{
    char path[4096];
    const char *directory = getenv("SHADOW_DIR");
    snprintf(path, sizeof(path), "%s/%d.shadow", directory, getpid());
    const int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (directory == NULL || fd < 0 || ftruncate(fd, sizeof(*table)) != 0)
        return;
    struct table *fresh =
        mmap(NULL, sizeof(*fresh), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (fresh == MAP_FAILED)
        return;
    table->is_whole = false;
    memcpy(fresh, table, sizeof(*fresh));
    for (unsigned i = 0; i < N_CALLS; i++)
        fresh->calls[i].n_done = 0; /* of this process, from here on */
    fresh->is_whole = true;
    table = fresh;
}

static struct table *at_fork; /* the parent's goes on while a child copies */

static void
before_fork(void)
{
    lock();
    at_fork = mmap(NULL, sizeof(*at_fork), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(at_fork, table, sizeof(*at_fork));
}

static void
in_parent(void)
{
    munmap(at_fork, sizeof(*at_fork));
    unlock();
}

static void
in_child(void)
{
    table = at_fork;
    open_table();
    munmap(at_fork, sizeof(*at_fork));
    unlock();
}

/* No handler of pthread_atfork's runs. */
pid_t
_Fork(void)
{
    pid_t (*next_fork)(void) = (pid_t(*)(void))dlsym(RTLD_NEXT, "_Fork");
    before_fork();
    const pid_t pid = next_fork();
    if (pid == 0)
        in_child();
    else
        in_parent();
    return pid;
}

__attribute__((constructor)) static void
start(void)
{
    const int saved_errno = errno;
    lock();
    open_table();
    unlock();
    pthread_atfork(before_fork, in_parent, in_child);
    errno = saved_errno;
}

/* ---- calls under way --------------------------------------------------- */

/* This thread's, or NULL: there were too many threads. */
static struct call *
call_of_thread(void)
{
    if (own_call == 0)
        own_call = __atomic_add_fetch(&n_threads, 1, __ATOMIC_RELAXED);
    return own_call <= N_CALLS ? &table->calls[own_call - 1] : NULL;
}

static void
begin(const void *old, uint64_t asked)
{
    struct call *call = call_of_thread();
    if (call == NULL || call->is_open)
        return; /* of a signal handler's calls nothing is said */
    call->old = (uintptr_t)old;
    call->asked = asked;
    __atomic_store_n(&call->is_open, 1, __ATOMIC_SEQ_CST);
}

/* Returns the block, so that a call ends with this one. */
static void *
done(void *block)
{
    struct call *call = call_of_thread();
    if (call != NULL) {
        __atomic_store_n(&call->n_done, call->n_done + 1, __ATOMIC_SEQ_CST);
        __atomic_store_n(&call->is_open, 0, __ATOMIC_SEQ_CST);
    }
    return block;
}

/* ---- the calls --------------------------------------------------------- */

static void *
born(void *block)
{
    const int saved_errno = errno;
    if (block != NULL)
        enter(block, next.malloc_usable_size(block));
    errno = saved_errno;
    return block;
}

void *
malloc(size_t size)
{
    resolve();
    begin(NULL, size);
    return done(born(next.malloc(size)));
}

void *
calloc(size_t n, size_t size)
{
    resolve();
    begin(NULL, n * size);
    return done(born(next.calloc(n, size)));
}

void
free(void *block)
{
    resolve();
    begin(block, NOTHING);
    if (block != NULL)
        strike(block);
    next.free(block);
    done(NULL);
}

void *
realloc(void *old, size_t size)
{
    resolve();
    begin(old, size);
    if (old == NULL)
        return done(born(next.realloc(NULL, size)));
    const uint64_t n_bytes = strike(old);
    void *fresh = next.realloc(old, size);
    if (fresh == NULL && size != 0)
        enter(old, n_bytes);
    return done(born(fresh));
}

void *
reallocarray(void *old, size_t n, size_t size)
{
    resolve();
    begin(old, n * size);
    const uint64_t n_bytes = old == NULL ? 0 : strike(old);
    void *fresh = next.reallocarray(old, n, size);
    if (fresh == NULL && old != NULL && n != 0 && size != 0)
        enter(old, n_bytes);
    return done(born(fresh));
}

void *
valloc(size_t size)
{
    resolve();
    begin(NULL, size);
    return done(born(next.valloc(size)));
}

void *
pvalloc(size_t size)
{
    resolve();
    begin(NULL, size);
    return done(born(next.pvalloc(size)));
}

int
posix_memalign(void **where, size_t alignment, size_t size)
{
    resolve();
    begin(NULL, size);
    const int error = next.posix_memalign(where, alignment, size);
    done(error == 0 ? born(*where) : NULL);
    return error;
}

void *
aligned_alloc(size_t alignment, size_t size)
{
    resolve();
    begin(NULL, size);
    return done(born(next.aligned_alloc(alignment, size)));
}

void *
memalign(size_t alignment, size_t size)
{
    resolve();
    begin(NULL, size);
    return done(born(next.memalign(alignment, size)));
}
