#include "tests/unit/preload/fake_real.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "include/wire.h"
#include "preload/real.h"

enum {
    ARENA_BYTES = 64 * 1024 * 1024,
    CHUNK_BYTES = 16, /* the least, and the alignment */
    IN_USE = 1,       /* the flag PREV_INUSE, as glibc's chunks mostly have */
    IS_MMAPPED = 2,
};

struct fake_real fake_real = {.is_glibc = true};

static struct {
    char *start;
    size_t used;
} arena;

static uint64_t *
word_of(const void *block)
{
    return (uint64_t *)(uintptr_t)block - 1;
}

void
fake_real_reset(void)
{
    arena.used = 0;
}

size_t
fake_real_usable(const void *block)
{
    const uint64_t word = *word_of(block);
    return (word & ~(uint64_t)7) - (word & IS_MMAPPED ? 16 : 8);
}

static bool
enter(void)
{
    if (fake_real.during != NULL)
        fake_real.during();
    if (fake_real.is_out_of_memory)
        errno = ENOMEM;
    return !fake_real.is_out_of_memory;
}

/* As glibc's: sizes are 16 n + 8; what is large is said to be mmapped. */
static void *
hand_out(size_t alignment, size_t size)
{
    if (arena.start == NULL)
        arena.start = mmap(NULL, ARENA_BYTES, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    const bool is_mmapped = size >= WIRE_LARGE_BYTES;
    const size_t chunk =
        (size + 8 + CHUNK_BYTES - 1) / CHUNK_BYTES * CHUNK_BYTES + CHUNK_BYTES;
    if (alignment < CHUNK_BYTES)
        alignment = CHUNK_BYTES;
    uintptr_t block = (uintptr_t)arena.start + arena.used + CHUNK_BYTES;
    block = (block + alignment - 1) / alignment * alignment;
    if (block + chunk > (uintptr_t)arena.start + ARENA_BYTES) {
        errno = ENOMEM;
        return NULL;
    }
    arena.used = block + chunk - (uintptr_t)arena.start;
    *word_of((void *)block) = chunk | (is_mmapped ? IS_MMAPPED : IN_USE);
    return (void *)block;
}

static void *
fake_malloc(size_t size)
{
    fake_real.n_mallocs++;
    return enter() ? hand_out(0, size) : NULL;
}

static void *
fake_calloc(size_t n, size_t size)
{
    fake_real.n_mallocs++;
    return enter() ? hand_out(0, n * size) : NULL;
}

static void *
fake_memalign(size_t alignment, size_t size)
{
    fake_real.n_mallocs++;
    return enter() ? hand_out(alignment, size) : NULL;
}

static void *
fake_valloc(size_t size)
{
    return fake_memalign(4096, size);
}

static int
fake_posix_memalign(void **where, size_t alignment, size_t size)
{
    void *block = fake_memalign(alignment, size);
    if (block == NULL)
        return ENOMEM;
    *where = block;
    return 0;
}

static void
fake_free(void *block)
{
    fake_real.n_frees++;
    fake_real.last_freed = block;
    if (fake_real.during != NULL)
        fake_real.during();
    errno = EBADF; /* some do */
}

static void *
fake_realloc(void *old, size_t size)
{
    fake_real.n_mallocs++;
    if (!enter())
        return NULL;
    if (size == 0) {
        fake_free(old);
        return NULL;
    }
    void *fresh = hand_out(0, size);
    if (fresh != NULL && old != NULL) {
        const size_t had = fake_real_usable(old);
        memcpy(fresh, old, had < size ? had : size);
    }
    return fresh;
}

static size_t
fake_malloc_usable_size(void *block)
{
    return block == NULL ? 0 : fake_real_usable(block);
}

static void *
fake_mremap(void *old, size_t old_bytes, size_t n_bytes, int flags,
            void *wanted)
{
    return mremap(old, old_bytes, n_bytes, flags, wanted);
}

struct real_functions real = {
    .malloc = fake_malloc,
    .calloc = fake_calloc,
    .realloc = fake_realloc,
    .free = fake_free,
    .posix_memalign = fake_posix_memalign,
    .aligned_alloc = fake_memalign,
    .memalign = fake_memalign,
    .valloc = fake_valloc,
    .pvalloc = fake_valloc,
    .malloc_usable_size = fake_malloc_usable_size,
    .mmap = mmap,
    .mmap64 = mmap64,
    .munmap = munmap,
    .mremap = fake_mremap,
};

void
real_resolve(void)
{
}

bool
real_is_glibc(void)
{
    return fake_real.is_glibc;
}
