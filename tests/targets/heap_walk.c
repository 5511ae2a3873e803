#include "tests/targets/heap_walk.h"

#include <fcntl.h>
#include <gnu/libc-version.h>
#include <link.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    MOST_HEAPS = 256,
    CACHED_SLOTS = 1 << 18, /* of a hash table, a power of two */
    LEAST_CHUNK = 32,
    TCACHE_CHUNK = 0x290, /* of 2.30 and later: 64 counts of two bytes, ... */
    TCACHE_BINS = 64,
    FASTBINS = 10,
    FASTBINS_AT = 16, /* in struct malloc_state */
    TOP_AT = 96,
    STATE_BYTES = 2200,
};

#define HEAP_MAX ((uintptr_t)64 << 20)

struct tally {
    long n;
    long bytes; /* of whole chunks */
};

struct heap {
    uintptr_t start; /* as heap_info has it, or where brk began */
    uintptr_t first; /* chunk */
    uintptr_t end;
    uintptr_t state; /* of its arena */
    bool is_main;
    struct tally live;
    struct tally free;
    struct tally cached;
    long top_bytes; /* 0: the top is in another heap */
};

static struct {
    struct heap heaps[MOST_HEAPS];
    size_t n_heaps;
    uintptr_t cached[CACHED_SLOTS];
    const struct heap_hints *hints;
    bool is_broken;
} walk;

static uintptr_t
word(uintptr_t at)
{
    return *(const uintptr_t *)at;
}

static uintptr_t
chunk_size(uintptr_t chunk)
{
    return word(chunk + 8) & ~(uintptr_t)7;
}

/* ---- cached chunks ------------------------------------------------------- */

static uintptr_t *
cached_slot(uintptr_t block)
{
    size_t i = (block >> 4) * 0x9e3779b97f4a7c15u >> 46;
    while (walk.cached[i] != 0 && walk.cached[i] != block)
        i = (i + 1) % CACHED_SLOTS;
    return &walk.cached[i];
}

/* Links are mangled from 2.32 on: xor the address of the link's page. */
static uintptr_t
follow(uintptr_t link)
{
    const char *version = gnu_get_libc_version();
    return atoi(version + 2) >= 32 ? word(link) ^ (link >> 12) : word(link);
}

/* A list of blocks, each of which begins with the link to the next. */
static void
cache_list(uintptr_t block)
{
    while (block != 0) {
        uintptr_t *slot = cached_slot(block);
        if (*slot != 0) {
            walk.is_broken = true;
            return;
        }
        *slot = block;
        block = follow(block);
    }
}

static void
cache_tcache(uintptr_t tcache)
{
    const uint16_t *counts = (const uint16_t *)tcache;
    for (int i = 0; i < TCACHE_BINS; i++) {
        if (counts[i] != 0)
            cache_list(word(tcache + TCACHE_BINS * 2 + (uintptr_t)i * 8));
    }
}

/* Fastbins link chunks, not blocks; the link is where the block begins. */
static void
cache_fastbins(uintptr_t state)
{
    for (int i = 0; i < FASTBINS; i++) {
        uintptr_t chunk = word(state + FASTBINS_AT + (uintptr_t)i * 8);
        while (chunk != 0) {
            *cached_slot(chunk + 16) = chunk + 16;
            chunk = follow(chunk + 16);
        }
    }
}

/* ---- heaps --------------------------------------------------------------- */

/* Where the process' brk began: the 47th field of its stat. */
static uintptr_t
start_brk(void)
{
    static char text[4096];
    const int fd = open("/proc/self/stat", O_RDONLY);
    const ssize_t n = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (n <= 0)
        return 0;
    text[n] = '\0';
    const char *at = strrchr(text, ')');
    for (int field = 2; at != NULL && field < 47; field++)
        at = strchr(at + 1, ' ');
    return at == NULL ? 0 : strtoul(at, NULL, 10);
}

/* The chunk that ends where the heap does: its top. */
static uintptr_t
last_chunk(const struct heap *heap)
{
    uintptr_t at = heap->first;
    while (at < heap->end) {
        const uintptr_t size = chunk_size(at);
        if (size < LEAST_CHUNK || at + size == heap->end)
            return at;
        at += size;
    }
    return 0;
}

/* In libc's data: the word that is the top of the main arena. */
static int
find_main_state(struct dl_phdr_info *info, size_t size, void *context)
{
    struct heap *heap = context;
    const uintptr_t top = last_chunk(heap);
    (void)size;
    if (strstr(info->dlpi_name, "/libc.so") == NULL)
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        const uintptr_t start = info->dlpi_addr + segment->p_vaddr;
        if (segment->p_type != PT_LOAD || (segment->p_flags & PF_W) == 0)
            continue;
        for (uintptr_t at = (start + TOP_AT + 7) & ~(uintptr_t)7;
             at + 8 <= start + segment->p_memsz; at += 8) {
            if (word(at) == top)
                heap->state = at - TOP_AT;
        }
    }
    return 1;
}

static void
add_main_heap(void)
{
    struct heap *heap = &walk.heaps[walk.n_heaps++];
    *heap = (struct heap){.is_main = true, .start = start_brk()};
    heap->first = (heap->start + 15) & ~(uintptr_t)15;
    heap->end = (uintptr_t)sbrk(0);
    if (heap->start == 0 || heap->start == heap->end) {
        walk.n_heaps--;
        return;
    }
    dl_iterate_phdr(find_main_state, heap);
    if (heap->state == 0)
        walk.is_broken = true;
}

static bool
is_known(uintptr_t start)
{
    for (size_t i = 0; i < walk.n_heaps; i++) {
        if (walk.heaps[i].start == start)
            return true;
    }
    return false;
}

/* struct heap_info has a word more from 2.35 on, and is padded. */
static uintptr_t
heap_info_bytes(void)
{
    return atoi(gnu_get_libc_version() + 2) >= 35 ? 48 : 32;
}

/* All heaps of the arena that one of them belongs to, from its top on. */
static void
add_heaps_of(uintptr_t start)
{
    const uintptr_t state = word(start);
    uintptr_t at = word(state + TOP_AT) & ~(HEAP_MAX - 1);
    while (at != 0 && !is_known(at) && walk.n_heaps < MOST_HEAPS) {
        const bool is_first = (state & ~(HEAP_MAX - 1)) == at;
        const uintptr_t before =
            is_first ? state + STATE_BYTES : at + heap_info_bytes();
        walk.heaps[walk.n_heaps++] = (struct heap){
            .start = at,
            .first = (before + 15) & ~(uintptr_t)15,
            .end = at + word(at + 16),
            .state = state,
        };
        at = word(at + 8);
    }
}

static void
find_heaps(void)
{
    walk.n_heaps = 0;
    walk.is_broken = false;
    memset(walk.cached, 0, sizeof(walk.cached));
    add_main_heap();
    for (size_t i = 0; i < walk.hints->n_blocks; i++) {
        const uintptr_t block = (uintptr_t)walk.hints->blocks[i];
        if (block != 0 && (word(block - 8) & 6) == 4 &&
            !is_known(block & ~(HEAP_MAX - 1)))
            add_heaps_of(block & ~(HEAP_MAX - 1));
    }
}

/* ---- chunks -------------------------------------------------------------- */

typedef void visitor(struct heap *heap, uintptr_t chunk, uintptr_t size);

/* Of each chunk but the top and the fences at the end of a heap. */
static void
visit_chunks(visitor *visit)
{
    for (size_t i = 0; i < walk.n_heaps; i++) {
        struct heap *heap = &walk.heaps[i];
        const uintptr_t top = word(heap->state + TOP_AT);
        uintptr_t at = heap->first;
        while (at != top && at < heap->end && chunk_size(at) >= LEAST_CHUNK) {
            visit(heap, at, chunk_size(at));
            at += chunk_size(at);
        }
        heap->top_bytes = at == top ? (long)chunk_size(at) : 0;
        if (at >= heap->end || (heap->is_main && at != top))
            walk.is_broken = true;
    }
}

static void
find_tcache(struct heap *heap, uintptr_t chunk, uintptr_t size)
{
    const uintptr_t head = chunk + 16 + TCACHE_BINS * 2;
    (void)heap;
    /* Or 16 more: a rest that is too small to be a chunk is given along. */
    if (size != TCACHE_CHUNK && size != TCACHE_CHUNK + 16)
        return;
    for (size_t i = 0; i < walk.hints->n_probes; i++) {
        if (word(head) != 0 && word(head) == (uintptr_t)walk.hints->probes[i])
            cache_tcache(chunk + 16);
    }
}

static void
count(struct heap *heap, uintptr_t chunk, uintptr_t size)
{
    const bool is_used = (word(chunk + size + 8) & 1) != 0;
    struct tally *tally = !is_used                        ? &heap->free
                          : *cached_slot(chunk + 16) != 0 ? &heap->cached
                                                          : &heap->live;
    tally->n++;
    tally->bytes += (long)size;
}

/* ---- telling ------------------------------------------------------------- */

struct line {
    char *text;
    size_t size;
    size_t n;
};

static void __attribute__((format(printf, 2, 3)))
put(struct line *line, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    line->n += (size_t)vsnprintf(line->text + line->n, line->size - line->n,
                                 format, arguments);
    va_end(arguments);
    if (line->n >= line->size)
        abort();
}

static void
put_heap(struct line *line, const struct heap *heap)
{
    put(line,
        "%s{\"kind\": \"%s\", \"address\": %lu, \"live\": %ld, "
        "\"live_bytes\": %ld, \"free\": %ld, \"free_bytes\": %ld, "
        "\"cached\": %ld, \"cached_bytes\": %ld, \"top_bytes\": %ld}",
        heap == walk.heaps ? "" : ", ", heap->is_main ? "main" : "thread",
        heap->start, heap->live.n, heap->live.bytes, heap->free.n,
        heap->free.bytes, heap->cached.n, heap->cached.bytes, heap->top_bytes);
}

/* Those of the caller's blocks that are mappings of their own. */
static struct tally
tally_mmapped(size_t *n_others)
{
    struct tally mmapped = {0};
    *n_others = 0;
    for (size_t i = 0; i < walk.hints->n_blocks; i++) {
        const uintptr_t block = (uintptr_t)walk.hints->blocks[i];
        if (block == 0)
            continue;
        if ((word(block - 8) & 2) == 0) {
            ++*n_others;
            continue;
        }
        mmapped.n++;
        mmapped.bytes += (long)(chunk_size(block - 16) + word(block - 16));
    }
    return mmapped;
}

size_t
heap_walk_tell(const struct heap_hints *hints, char *text, size_t size)
{
    struct line line = {text, size, 0};
    size_t n_others;
    walk.hints = hints;
    find_heaps();
    visit_chunks(find_tcache);
    for (size_t i = 0; i < walk.n_heaps; i++) {
        /* The heap with the top, so that each arena comes once. */
        const struct heap *heap = &walk.heaps[i];
        if (heap->is_main ||
            (word(heap->state + TOP_AT) & ~(HEAP_MAX - 1)) == heap->start)
            cache_fastbins(heap->state);
    }
    visit_chunks(count);
    const struct tally mmapped = tally_mmapped(&n_others);
    put(&line, "{\"heaps\": [");
    for (size_t i = 0; i < walk.n_heaps; i++)
        put_heap(&line, &walk.heaps[i]);
    put(&line, "], \"mmapped\": %ld, \"mmapped_bytes\": %ld, \"own\": %zu}\n",
        mmapped.n, mmapped.bytes, n_others);
    return walk.is_broken ? 0 : line.n;
}
