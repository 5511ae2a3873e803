/*
 * The file has its full, sparse size from the start, so that growing needs no
 * descriptor: mremap of zero bytes duplicates a shared mapping at a greater
 * length. Step 0 maps the header and the first buffers, each further step the
 * whole file up to twice the size. Taking a buffer is one compare-and-swap on
 * its owner, and nobody waits for one who maps more.
 *
 * Rings lie behind the last buffer that there may be, where the file may be so
 * long; they are mapped while the descriptor is still there.
 */
#include "preload/shared.h"

#include <fcntl.h>
#include <linux/memfd.h>
#include <linux/mman.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>

#include "include/attrs.h"
#include "preload/raw.h"

enum {
    FIRST_BYTES = WIRE_STEP_BUFFERS * WIRE_BUFFER_BYTES,
    N_STEPS = 9, /* 1 MiB, 2, 4 ... 256 */
};

#define RINGS_BYTES (WIRE_RINGS * WIRE_RING_BYTES)

static_assert((uint64_t)FIRST_BYTES << (N_STEPS - 1) ==
                  (uint64_t)WIRE_MAX_BUFFERS * WIRE_BUFFER_BYTES,
              "the last step maps the whole file");

/* Buffer 0 before there is a memfd. */
static _Alignas(WIRE_BATCH_BYTES) char early[WIRE_BUFFER_BYTES];

static struct {
    char *_Atomic steps[N_STEPS];
    char *rings; /* NULL: none are mapped */
    uint64_t file_bytes;
    bool has_rings;            /* the file does */
    _Atomic uint32_t capacity; /* buffers that are mapped */
    _Atomic uint32_t hint;     /* where the search for a free one starts */
    _Atomic int32_t n_free;    /* were given back; late by what is under way */
    bool is_cut_off;           /* what is mapped is nobody's */
} shared;

struct wire_shared *
shared_header(void)
{
    return (struct wire_shared *)(void *)shared.steps[0];
}

static uint64_t
offset_of(uint32_t index)
{
    return (uint64_t)(index + 1) * WIRE_BUFFER_BYTES;
}

/* The step by whose mapping the offset is reached. */
static unsigned
step_of(uint64_t offset)
{
    unsigned step = 0;
    while (offset >= (uint64_t)FIRST_BYTES << step)
        step++;
    return step;
}

struct wire_buffer_head *
shared_buffer(uint32_t index)
{
    if (shared.steps[0] == NULL)
        return (struct wire_buffer_head *)early;

    const uint64_t offset = offset_of(index);
    return (struct wire_buffer_head *)(shared.steps[step_of(offset)] + offset);
}

struct wire_counters *
shared_common_counters(void)
{
    return shared_buffer(0)->counters;
}

/* How large the file may be: a file size limit answers with a signal. */
static uint64_t
largest_file(bool *has_rings)
{
    struct rlimit64 limit;
    if (raw_call4(SYS_prlimit64, 0, RLIMIT_FSIZE, 0, (long)(uintptr_t)&limit) !=
        0)
        return 0;
    uint64_t n_bytes = WIRE_RINGS_START;
    *has_rings = n_bytes + RINGS_BYTES <= limit.rlim_cur;
    while (n_bytes > limit.rlim_cur)
        n_bytes /= 2;
    return n_bytes < FIRST_BYTES ? 0 : n_bytes;
}

static uint32_t
buffers_within(uint64_t n_bytes)
{
    return (uint32_t)(n_bytes / WIRE_BUFFER_BYTES) - 1;
}

/* The memfd at its full size, sealed so that no reader can be cut short. */
static int
create_file(uint64_t n_bytes)
{
    const int fd = (int)raw_call3(SYS_memfd_create, (long)(uintptr_t) "residue",
                                  MFD_CLOEXEC | MFD_ALLOW_SEALING, 0);
    if (fd < 0)
        return -1;
    const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    if (raw_call3(SYS_ftruncate, fd, (long)n_bytes, 0) != 0 ||
        raw_call3(SYS_fcntl, fd, F_ADD_SEALS, seals) != 0) {
        raw_close(fd);
        return -1;
    }
    return fd;
}

/* Of a step's mapping the bytes from `at` on, which are nobody's from now on.
 */
static void
keep_only(char *start, size_t n_bytes, uint64_t at, uint64_t n_kept)
{
    raw_map_over(start + at, n_kept, -1);
    if (at != 0)
        raw_unmap(start, at);
    if (at + n_kept < n_bytes)
        raw_unmap(start + at + n_kept, n_bytes - at - n_kept);
}

static bool
has_ring(uint32_t index)
{
    return shared.rings != NULL && index != 0 && index <= WIRE_RINGS;
}

static char *
ring_at(uint32_t index)
{
    return shared.rings + (index - 1) * WIRE_RING_BYTES;
}

/* Of the rings the buffer's own, likewise. */
static void
cut_off_rings(uint32_t index)
{
    for (uint32_t i = 1; has_ring(i); i++) {
        if (i == index)
            raw_map_over(ring_at(i), WIRE_RING_BYTES, -1);
        else
            raw_unmap(ring_at(i), WIRE_RING_BYTES);
    }
    shared.rings = NULL;
}

/*
 * The header and buffer 0 stay, and so do the buffers up to the thread's own if
 * it is of the first step; of another step that buffer. They do so for ever: a
 * page that is not written to costs nothing. What else there was may soon be
 * somebody else's.
 */
void
shared_cut_off(uint32_t index)
{
    const uint64_t own = offset_of(index);
    if (shared.is_cut_off)
        return;
    shared.is_cut_off = true;
    cut_off_rings(index);
    for (unsigned step = 0; step < N_STEPS; step++) {
        const size_t n_bytes = (size_t)FIRST_BYTES << step;
        char *start = shared.steps[step];
        if (start == NULL)
            continue;
        const bool has_own = step == step_of(own);
        if (step == 0)
            keep_only(start, n_bytes, 0,
                      (has_own ? own : offset_of(0)) + WIRE_BUFFER_BYTES);
        else if (has_own)
            keep_only(start, n_bytes, own, WIRE_BUFFER_BYTES);
        else
            raw_unmap(start, n_bytes);
    }
}

/* The early buffer's head, and as many batches as it came to. */
static void
carry_over(char *buffer)
{
    const struct wire_buffer_head *head = (const void *)early;
    const size_t n_bytes = (1 + head->sequence) * WIRE_BATCH_BYTES;
    memcpy(buffer, early, n_bytes);
    memset(early, 0, n_bytes);
}

int
shared_create(void)
{
    bool has_rings = false;
    const uint64_t file_bytes = largest_file(&has_rings);
    if (file_bytes == 0)
        return -1;
    const int fd = create_file(file_bytes + (has_rings ? RINGS_BYTES : 0));
    if (fd < 0)
        return -1;
    char *first = raw_map(FIRST_BYTES, fd, 0);
    if (first == NULL) {
        raw_close(fd);
        return -1;
    }

    struct wire_shared *header = (struct wire_shared *)(void *)first;
    header->magic = WIRE_MAGIC;
    header->version = WIRE_VERSION;
    header->n_buffers = 1;
    carry_over(first + WIRE_BUFFER_BYTES);
    shared.file_bytes = file_bytes;
    atomic_store(&shared.capacity, buffers_within(FIRST_BYTES));
    atomic_store(&shared.hint, 1);
    atomic_store(&shared.n_free, 0);
    for (unsigned step = 1; step < N_STEPS; step++)
        shared.steps[step] = NULL; /* a parent's */
    shared.steps[0] = first;
    shared.is_cut_off = false;
    shared.has_rings = has_rings;
    return fd;
}

/* What is not used is closed: a program may lock all of its memory. */
void
shared_map_rings(int fd)
{
    if (!shared.has_rings)
        return;
    char *rings = raw_map(RINGS_BYTES, fd, WIRE_RINGS_START);
    if (rings != NULL)
        raw_call3(SYS_mprotect, (long)(uintptr_t)rings, RINGS_BYTES, PROT_NONE);
    shared.rings = rings;
}

char *
shared_ring(uint32_t index)
{
    return has_ring(index) &&
                   raw_call3(SYS_mprotect, (long)(uintptr_t)ring_at(index),
                             WIRE_RING_BYTES, PROT_READ | PROT_WRITE) == 0
               ? ring_at(index)
               : NULL;
}

static void
raise_capacity(uint32_t capacity)
{
    uint32_t seen = atomic_load(&shared.capacity);
    while (seen < capacity &&
           !atomic_compare_exchange_weak(&shared.capacity, &seen, capacity))
        continue;
}

/*
 * Maps the file once more, up to twice as far. Several threads may be at it:
 * what the first of them has mapped counts.
 */
static bool
map_step(unsigned step)
{
    const uint64_t n_bytes = (uint64_t)FIRST_BYTES << step;
    if (step == N_STEPS || n_bytes > shared.file_bytes)
        return false;
    const long start = raw_call6(SYS_mremap, (long)(uintptr_t)shared.steps[0],
                                 0, (long)n_bytes, MREMAP_MAYMOVE, 0, 0);
    if (start < 0 && start >= -4095)
        return false;
    char *nobodys = NULL;
    if (!atomic_compare_exchange_strong(&shared.steps[step], &nobodys,
                                        (char *)(uintptr_t)start))
        raw_unmap((void *)(uintptr_t)start, n_bytes);
    raise_capacity(buffers_within(n_bytes));
    return true;
}

/* More than n_buffers; false: there are no more. */
static bool
grow(uint32_t n_buffers)
{
    unsigned step = 0;
    while (step < N_STEPS && shared.steps[step] != NULL)
        step++;
    return n_buffers < atomic_load(&shared.capacity) || map_step(step);
}

static bool
claim(uint32_t index, uint32_t tid)
{
    uint32_t nobody = 0;
    return __atomic_compare_exchange_n(&shared_buffer(index)->owner_tid,
                                       &nobody, tid, false, __ATOMIC_ACQ_REL,
                                       __ATOMIC_RELAXED);
}

/* One that was used before. With a thousand owners none is searched for. */
static uint32_t
claim_used(uint32_t tid, uint32_t n_buffers)
{
    if (atomic_load(&shared.n_free) <= 0)
        return 0;
    const uint32_t hint = atomic_load(&shared.hint);
    for (uint32_t i = 0; i + 1 < n_buffers; i++) {
        const uint32_t index = 1 + (hint - 1 + i) % (n_buffers - 1);
        const uint32_t owner =
            __atomic_load_n(&shared_buffer(index)->owner_tid, __ATOMIC_RELAXED);
        if (owner == 0 && claim(index, tid)) {
            atomic_store(&shared.hint, index);
            atomic_fetch_sub(&shared.n_free, 1);
            return index;
        }
    }
    return 0;
}

uint32_t
shared_take(uint32_t tid)
{
    struct wire_shared *header = shared_header();
    uint32_t n_buffers = __atomic_load_n(&header->n_buffers, __ATOMIC_ACQUIRE);
    const uint32_t used = claim_used(tid, n_buffers);
    if (used != 0)
        return used;

    while (n_buffers < atomic_load(&shared.capacity) || grow(n_buffers)) {
        if (!__atomic_compare_exchange_n(&header->n_buffers, &n_buffers,
                                         n_buffers + 1, false, __ATOMIC_ACQ_REL,
                                         __ATOMIC_ACQUIRE))
            continue;
        if (claim(n_buffers, tid))
            return n_buffers;
        atomic_fetch_add(&shared.n_free, 1); /* its claimer took it for one */
        n_buffers = __atomic_load_n(&header->n_buffers, __ATOMIC_ACQUIRE);
    }
    return 0;
}

void
shared_give_back(uint32_t index)
{
    __atomic_store_n(&shared_buffer(index)->owner_tid, 0, __ATOMIC_RELEASE);
    atomic_store(&shared.hint, index);
    atomic_fetch_add(&shared.n_free, 1);
}

bool
shared_borrow(uint32_t tid)
{
    return claim(0, tid);
}

void
shared_return(void)
{
    __atomic_store_n(&shared_buffer(0)->owner_tid, 0, __ATOMIC_RELEASE);
}
