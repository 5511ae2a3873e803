#include "collector/census/cached.h"

#include <string.h>

#include "collector/census/pages.h"
#include "include/attrs.h"
#include "include/glibc.h"

enum {
    MOST_CACHED = 1024,  /* chunks of one bin of a tcache; by default 7 */
    MOST_FAST = 1 << 20, /* chunks of one fastbin */
    CHUNKS_A_QUESTION = 4096,
    LEAST_EMPTY_BINS = 2, /* of 127: large ones, hardly ever in use */
    MOST_STATES = 4096,   /* places where one might lie */
};

/* What a main heap may have grown since it was looked at. */
#define MOST_GROWTH ((uint64_t)64 * 1024 * 1024)

/* A static program's own data is no larger. */
#define MOST_DATA ((uint64_t)64 * 1024 * 1024)

/* ---- chunks of all heaps ----------------------------------------------- */

static struct heap *
find(const struct cached *cached, uint64_t at)
{
    return heap_find(cached->heaps, cached->n_heaps, at);
}

/* Flags the chunk at `at`; false: there is none in use of that size. */
static bool
flag(const struct cached *cached, uint64_t at, uint64_t n_bytes, unsigned flags)
{
    struct heap *heap = find(cached, at);
    if (heap == NULL)
        return false;
    const struct chunk chunk = chunks_find(&heap->chunks, at);
    if (chunk.n_bytes != n_bytes || (chunk.flags & CHUNK_USED) == 0 ||
        (chunk.flags & CHUNK_CACHED) != 0)
        return false;
    chunks_flag(&heap->chunks, &chunk, flags);
    return true;
}

/* Links of one list mostly lie near one another. */
static bool
read_word(const struct cached *cached, uint64_t at, uint64_t *word)
{
    if (at % sizeof(*word) != 0 || !pages_is_resident(cached->runs, at))
        return false;
    const char *bytes = window_at(cached->window, at, sizeof(*word));
    if (bytes != NULL)
        memcpy(word, bytes, sizeof(*word));
    return bytes != NULL;
}

/*
 * The next of a list after the link at `at`: mangled, or as it is before 2.32.
 * A word that is no address of a chunk either way ends the list.
 */
static uint64_t
next_of(const struct cached *cached, uint64_t at, uint64_t header_bytes)
{
    uint64_t word;
    if (!read_word(cached, at, &word))
        return 0;
    const uint64_t revealed = glibc_reveal(at, word);
    if (revealed != 0 && find(cached, revealed - header_bytes) != NULL)
        return revealed;
    return word != 0 && find(cached, word - header_bytes) != NULL ? word : 0;
}

/* ---- tcaches ----------------------------------------------------------- */

/* A rest that is too small for a chunk of its own is given along. */
static bool
is_of_layout(const struct glibc_tcache_layout *layout, uint64_t chunk_bytes)
{
    return chunk_bytes == layout->chunk_bytes ||
           chunk_bytes == layout->chunk_bytes + CHUNK_GRAIN;
}

static uint32_t
count_at(const unsigned char *bytes, const struct glibc_tcache_layout *layout,
         size_t bin)
{
    const unsigned char *count = bytes + bin * layout->count_bytes;
    return count[0] + (layout->count_bytes == 2 ? (uint32_t)count[1] << 8 : 0u);
}

bool
cached_may_be_tcache(uint64_t chunk_bytes, const char *content, size_t n_bytes)
{
    for (size_t i = 0; i < countof(glibc_tcache_layouts); i++) {
        const struct glibc_tcache_layout *layout = &glibc_tcache_layouts[i];
        if (!is_of_layout(layout, chunk_bytes) || n_bytes < layout->heads_at)
            continue;
        size_t bin = 0;
        while (bin < GLIBC_TCACHE_BINS &&
               count_at((const unsigned char *)content, layout, bin) <=
                   MOST_CACHED)
            bin++;
        return bin == GLIBC_TCACHE_BINS;
    }
    return false;
}

struct tcache {
    uint64_t heads[GLIBC_TCACHE_BINS];
    uint32_t counts[GLIBC_TCACHE_BINS];
};

/* False: counts and heads do not go together. */
static bool
parse_tcache(const unsigned char *bytes,
             const struct glibc_tcache_layout *layout, struct tcache *tcache)
{
    for (size_t i = 0; i < GLIBC_TCACHE_BINS; i++) {
        tcache->counts[i] = count_at(bytes, layout, i);
        memcpy(&tcache->heads[i], bytes + layout->heads_at + i * 8, 8);
        if ((tcache->counts[i] == 0) != (tcache->heads[i] == 0) ||
            tcache->counts[i] > MOST_CACHED)
            return false;
    }
    return true;
}

/* Whether each list begins with a chunk of its size. */
static bool
is_tcache(const struct cached *cached, const struct tcache *tcache)
{
    for (size_t i = 0; i < GLIBC_TCACHE_BINS; i++) {
        if (tcache->counts[i] == 0)
            continue;
        const uint64_t at = tcache->heads[i] - CHUNK_HEADER_BYTES;
        const struct heap *heap = find(cached, at);
        if (heap == NULL ||
            chunks_find(&heap->chunks, at).n_bytes != GLIBC_BIN_BYTES(i))
            return false;
    }
    return true;
}

static void
flag_bin(const struct cached *cached, const struct tcache *tcache, size_t bin)
{
    uint64_t block = tcache->heads[bin];
    for (uint32_t n = tcache->counts[bin]; n != 0 && block != 0; n--) {
        if (!flag(cached, block - CHUNK_HEADER_BYTES, GLIBC_BIN_BYTES(bin),
                  CHUNK_CACHED))
            return;
        block = next_of(cached, block, CHUNK_HEADER_BYTES);
    }
}

bool
cached_read_tcache(const struct cached *cached, uint64_t block)
{
    const uint64_t at = block - CHUNK_HEADER_BYTES;
    const struct heap *heap = find(cached, at);
    const struct chunk chunk =
        heap == NULL ? (struct chunk){0} : chunks_find(&heap->chunks, at);
    unsigned char bytes[GLIBC_TCACHE_MOST_BYTES];
    struct tcache tcache;
    for (size_t i = 0; i < countof(glibc_tcache_layouts); i++) {
        const struct glibc_tcache_layout *layout = &glibc_tcache_layouts[i];
        const size_t n_bytes = layout->heads_at + GLIBC_TCACHE_BINS * 8;
        if (!is_of_layout(layout, chunk.n_bytes) ||
            !pages_is_resident(cached->runs, block) ||
            !pages_is_resident(cached->runs, block + n_bytes - 1) ||
            !memory_read(cached->memory, block, bytes, n_bytes) ||
            !parse_tcache(bytes, layout, &tcache) ||
            !is_tcache(cached, &tcache))
            continue;
        for (size_t bin = 0; bin < GLIBC_TCACHE_BINS; bin++)
            flag_bin(cached, &tcache, bin);
        return true;
    }
    return false;
}

/* ---- fastbins ---------------------------------------------------------- */

/* In the main heap, as far as it may reach by now. */
static bool
is_near(const struct heap *main, uint64_t addr)
{
    return addr >= main->start && addr < main->end + MOST_GROWTH;
}

/* Empty bins point at themselves, others into the heap. */
static bool
is_state(const struct cached *cached, const struct heap *main, uint64_t state)
{
    unsigned char bytes[GLIBC_STATE_READ_BYTES];
    uint64_t word;
    unsigned n_empty = 0;
    if (!pages_is_resident(cached->runs, state) ||
        !pages_is_resident(cached->runs, state + sizeof(bytes) - 1) ||
        !memory_read(cached->memory, state, bytes, sizeof(bytes)))
        return false;
    for (uint64_t i = 0; i < 2 * GLIBC_N_BINS; i++) {
        const uint64_t own = state + GLIBC_STATE_BINS_AT + (i / 2) * 16 - 16;
        memcpy(&word, bytes + GLIBC_STATE_BINS_AT + i * 8, sizeof(word));
        if (word == own)
            n_empty++;
        else if (!is_near(main, word))
            return false;
    }
    return n_empty >= 2 * LEAST_EMPTY_BINS;
}

/* By its top, which moves while the target runs, and by its bins. */
static uint64_t
search(const struct cached *cached, const struct map *map,
       const struct heap *main, unsigned *n_tried)
{
    uint64_t words[MEMORY_PAGE / 8];
    for (uint64_t at = map->start; at < map->end; at += MEMORY_PAGE) {
        if (!pages_is_resident(cached->runs, at) ||
            !memory_read(cached->memory, at, words, MEMORY_PAGE))
            continue;
        for (size_t i = 0; i < MEMORY_PAGE / 8; i++) {
            const uint64_t state = at + i * 8 - GLIBC_STATE_TOP_AT;
            if (words[i] % CHUNK_GRAIN != 0 || !is_near(main, words[i]) ||
                (*n_tried)++ >= MOST_STATES)
                continue;
            if (is_state(cached, main, state))
                return state;
        }
    }
    return 0;
}

static bool
is_libc(const struct map *map)
{
    return strstr(map->name, "/libc.so.") != NULL ||
           strstr(map->name, "/libc-2.") != NULL;
}

/* libc's own data; where there is no libc, a static program's. */
uint64_t
cached_find_state(const struct cached *cached, const struct maps *maps,
                  const struct heap *main)
{
    unsigned n_tried = 0;
    bool has_libc = false;
    for (size_t i = 0; i < maps->n_maps; i++)
        has_libc = has_libc || is_libc(&maps->maps[i]);
    for (size_t i = 0; i < maps->n_maps; i++) {
        const struct map *map = &maps->maps[i];
        if (map->inode == 0 || !map->is_writable || map->is_shared ||
            is_libc(map) != has_libc || map->end - map->start > MOST_DATA)
            continue;
        const uint64_t state = search(cached, map, main, &n_tried);
        if (state != 0)
            return state;
    }
    return 0;
}

static void
flag_fastbin(const struct cached *cached, uint64_t chunk, size_t bin)
{
    const struct census_patience *patience = cached->patience;
    for (unsigned n = 1; n <= MOST_FAST && chunk != 0; n++) {
        if (!flag(cached, chunk, GLIBC_BIN_BYTES(bin),
                  CHUNK_CACHED | CHUNK_FAST) ||
            (n % CHUNKS_A_QUESTION == 0 &&
             !patience->may_go_on(patience->context)))
            return;
        chunk = next_of(cached, chunk + CHUNK_HEADER_BYTES, 0);
    }
}

bool
cached_read_fastbins(const struct cached *cached, uint64_t state)
{
    uint64_t heads[GLIBC_N_FASTBINS];
    const uint64_t at = state + GLIBC_STATE_FASTBINS_AT;
    if (!pages_is_resident(cached->runs, at) ||
        !pages_is_resident(cached->runs, at + sizeof(heads) - 1) ||
        !memory_read(cached->memory, at, heads, sizeof(heads)))
        return false;
    for (size_t bin = 0; bin < GLIBC_N_FASTBINS; bin++)
        flag_fastbin(cached, heads[bin], bin);
    return true;
}
