/*
 * struct pthread of glibc 2.28 and later: the TCB's words 0 and 2 are its own
 * address (sysdeps/x86_64/nptl/tls.h, tcbhead_t); the thread's id has stood at
 * the same place for as long; where its stack is said to lie has moved by a few
 * words, and is found by what it must say.
 */
#include "collector/census/threads.h"

#include <string.h>

#include "collector/census/pages.h"
#include "include/xalloc.h"

enum {
    ALIGNMENT = 64,
    TID_AT = 720,
    EXTENT_FROM = 0x400, /* stackblock, stackblock_size */
    EXTENT_TO = 0x880,
    BLOCK_BYTES = EXTENT_TO,
    LEAST_STACK_BYTES = 16384, /* PTHREAD_STACK_MIN */
    MOST_ABOVE_BYTES = 16384,  /* from the block to its stack's end */
};

#define MOST_STACK_BYTES ((uint64_t)1 << 36)

/* How far above a stack pointer its control block is looked for. */
#define REACH_BYTES ((uint64_t)64 * 1024 * 1024)

struct search {
    struct memory *memory;
    const struct memory_runs *runs;
    const struct census_request *request;
    struct census_request *found;
    size_t block_capacity;
    size_t stack_capacity;
};

static uint64_t
word_at(const char *bytes, uint64_t offset)
{
    uint64_t word;
    memcpy(&word, bytes + offset, sizeof(word));
    return word;
}

/* Whether such a thread lives; 0 is one whose stack is kept for the next. */
static bool
is_thread(const struct census_request *request, uint32_t tid)
{
    for (size_t i = 0; i < request->n_threads; i++) {
        if (request->threads[i].tid == tid)
            return !request->threads[i].is_main;
    }
    return tid == 0;
}

/* Where the block says that its stack lies. False: it says nothing of it. */
static bool
find_extent(const char *block, uint64_t addr, struct census_range *stack)
{
    for (uint64_t at = EXTENT_FROM; at + 16 <= EXTENT_TO; at += 8) {
        const uint64_t start = word_at(block, at);
        const uint64_t n_bytes = word_at(block, at + 8);
        if (start >= addr || n_bytes < LEAST_STACK_BYTES ||
            n_bytes > MOST_STACK_BYTES || start + n_bytes <= addr ||
            start + n_bytes - addr > MOST_ABOVE_BYTES)
            continue;
        *stack = (struct census_range){start, n_bytes};
        return true;
    }
    return false;
}

static bool
is_known(const struct census_request *found, uint64_t addr)
{
    for (size_t i = 0; i < found->n_control_blocks; i++) {
        if (found->control_blocks[i] == addr)
            return true;
    }
    return false;
}

/* The block's first word has been seen to be its address. */
static bool
take_block(struct search *search, uint64_t addr)
{
    struct census_request *found = search->found;
    char block[BLOCK_BYTES];
    struct census_range stack;
    if (is_known(found, addr))
        return true;
    if (!pages_is_resident(search->runs, addr + sizeof(block) - 1) ||
        !memory_read(search->memory, addr, block, sizeof(block)) ||
        word_at(block, 0) != addr || word_at(block, 16) != addr ||
        !is_thread(search->request, (uint32_t)word_at(block, TID_AT)) ||
        !find_extent(block, addr, &stack))
        return false;
    XGROW(found->control_blocks, search->block_capacity,
          found->n_control_blocks);
    found->control_blocks[found->n_control_blocks++] = addr;
    XGROW(found->stacks, search->stack_capacity, found->n_stacks);
    found->stacks[found->n_stacks++] = stack;
    return true;
}

static bool
search_page(struct search *search, uint64_t page)
{
    char content[MEMORY_PAGE];
    bool has_found = false;
    if (!pages_is_resident(search->runs, page) ||
        !memory_read(search->memory, page, content, sizeof(content)))
        return false;
    for (uint64_t at = 0; at + 24 <= MEMORY_PAGE; at += ALIGNMENT) {
        if (word_at(content, at) == page + at &&
            word_at(content, at + 16) == page + at)
            has_found = take_block(search, page + at) || has_found;
    }
    return has_found;
}

/* The stacks that have a mapping to themselves: all but a program's own. */
static void
search_ends(struct search *search, const struct maps *maps)
{
    for (size_t i = 0; i < maps->n_maps; i++) {
        const struct map *map = &maps->maps[i];
        if (map->is_writable && map_is_anonymous(map))
            search_page(search, map->end - MEMORY_PAGE);
    }
}

static void
search_above(struct search *search, const struct maps *maps, uint64_t pointer)
{
    const struct map *map = maps_at(maps, pointer);
    if (map == NULL || !map->is_writable || !map_is_anonymous(map))
        return;
    const uint64_t start = pointer & ~(uint64_t)(MEMORY_PAGE - 1);
    for (uint64_t page = start; page < map->end && page - start < REACH_BYTES;
         page += MEMORY_PAGE) {
        if (search_page(search, page))
            return;
    }
}

/* Whether a stack that is known holds the stack pointer. */
static bool
is_in_known(const struct census_request *found, uint64_t pointer)
{
    for (size_t i = 0; i < found->n_stacks; i++) {
        if (pointer - found->stacks[i].start < found->stacks[i].n_bytes)
            return true;
    }
    return false;
}

void
threads_find(struct memory *memory, const struct maps *maps,
             const struct memory_runs *runs,
             const struct census_request *request, struct census_request *found)
{
    struct search search = {
        .memory = memory,
        .runs = runs,
        .request = request,
        .found = found,
    };
    if (request->n_threads < 2)
        return;
    search_ends(&search, maps);
    for (size_t i = 0; i < request->n_threads; i++) {
        const struct census_thread *thread = &request->threads[i];
        if (!thread->is_main && thread->stack_pointer != 0 &&
            !is_in_known(found, thread->stack_pointer))
            search_above(&search, maps, thread->stack_pointer);
    }
}
