#include "collector/model/blocks.h"

#include <stdlib.h>
#include <uthash.h>

#include "include/xalloc.h"

enum {
    MOST_DEAD = 4096,      /* remembered, for events that come late */
    MOST_BLOCKS = 1 << 19, /* beyond them a block is unexplained */
};

struct entry {
    struct blocks_block block;    /* of the latest birth */
    struct blocks_block previous; /* of the one before */
    uint64_t birth_stamp;         /* 0: only its death was told */
    uint64_t previous_stamp;      /* of its birth */
    uint64_t death_stamp;         /* of the latest death; 0: none */
    uint64_t died_us;             /* when that was heard */
    UT_hash_handle hh;
};

/* What died, by its address and its birth; born 0: that is not known. */
struct burial {
    struct blocks_block block;
    uint64_t birth_stamp;
    uint64_t stamp;
};

struct blocks {
    struct entry *entries;         /* by address */
    struct burial dead[MOST_DEAD]; /* a ring: the oldest is forgotten first */
    size_t n_dead;                 /* ever */
};

struct blocks *
blocks_create(void)
{
    return xcalloc(1, sizeof(struct blocks));
}

static void
forget(struct blocks *blocks, struct entry *entry)
{
    HASH_DEL(blocks->entries, entry);
    free(entry);
}

void
blocks_destroy(struct blocks *blocks)
{
    if (blocks == NULL)
        return;
    struct entry *entry;
    struct entry *next;
    HASH_ITER(hh, blocks->entries, entry, next)
    forget(blocks, entry);
    free(blocks);
}

static bool
is_alive(const struct entry *entry)
{
    return entry->birth_stamp > entry->death_stamp;
}

/* NULL: there are too many. */
static struct entry *
entry_of(struct blocks *blocks, uint64_t addr)
{
    struct entry *entry;
    HASH_FIND(hh, blocks->entries, &addr, sizeof(addr), entry);
    if (entry != NULL || HASH_COUNT(blocks->entries) >= MOST_BLOCKS)
        return entry;
    entry = xcalloc(1, sizeof(*entry));
    entry->block.addr = addr;
    HASH_ADD(hh, blocks->entries, block.addr, sizeof(entry->block.addr), entry);
    return entry;
}

/* The death takes the place of another in the ring, which is forgotten. */
static void
bury(struct blocks *blocks, struct burial burial)
{
    struct burial *place = &blocks->dead[blocks->n_dead++ % MOST_DEAD];
    struct entry *entry;
    HASH_FIND(hh, blocks->entries, &place->block.addr,
              sizeof(place->block.addr), entry);
    if (entry != NULL && !is_alive(entry) && entry->death_stamp == place->stamp)
        forget(blocks, entry);
    *place = burial;
}

void
blocks_birth(struct blocks *blocks, uint64_t stamp,
             const struct blocks_block *block)
{
    struct entry *entry = entry_of(blocks, block->addr);
    if (entry == NULL || stamp <= entry->previous_stamp ||
        stamp == entry->birth_stamp)
        return;
    const bool is_latest = stamp > entry->birth_stamp;
    entry->previous_stamp = is_latest ? entry->birth_stamp : stamp;
    entry->previous = is_latest ? entry->block : *block;
    if (!is_latest)
        return;
    entry->birth_stamp = stamp;
    entry->block = *block;
}

void
blocks_death(struct blocks *blocks, uint64_t stamp, uint64_t addr,
             uint64_t now_us)
{
    struct entry *entry = entry_of(blocks, addr);
    if (entry == NULL || stamp <= entry->death_stamp)
        return;
    entry->death_stamp = stamp;
    entry->died_us = now_us;
    struct burial burial = {.block = entry->block, .stamp = stamp};
    if (entry->birth_stamp < stamp)
        burial.birth_stamp = entry->birth_stamp;
    bury(blocks, burial);
}

/* The dead lived too, where they died later; also before one there by now. */
struct blocks *
blocks_clone(const struct blocks *blocks, uint64_t stamp)
{
    struct blocks *clone = blocks_create();
    struct entry *entry;
    struct entry *next;
    HASH_ITER(hh, blocks->entries, entry, next)
    {
        const bool has_died = entry->death_stamp > entry->birth_stamp &&
                              entry->death_stamp <= stamp;
        if (entry->birth_stamp != 0 && entry->birth_stamp <= stamp && !has_died)
            blocks_birth(clone, entry->birth_stamp, &entry->block);
    }
    for (size_t i = 0; i < MOST_DEAD; i++) {
        const struct burial *burial = &blocks->dead[i];
        if (burial->birth_stamp != 0 && burial->birth_stamp <= stamp &&
            burial->stamp > stamp)
            blocks_birth(clone, burial->birth_stamp, &burial->block);
    }
    return clone;
}

static int
compare_blocks(const void *left, const void *right)
{
    const struct blocks_block *a = left;
    const struct blocks_block *b = right;
    return a->addr == b->addr ? b->is_gone - a->is_gone
                              : (a->addr > b->addr) - (a->addr < b->addr);
}

static void
list_one(struct blocks_block *list, size_t *n, struct blocks_block block,
         bool is_gone)
{
    block.is_gone = is_gone;
    list[(*n)++] = block;
}

/* The latest death was of the latest birth, or of the one before. */
struct blocks_block *
blocks_list(const struct blocks *blocks, uint64_t since_us, size_t *n)
{
    struct blocks_block *list =
        xcalloc(2 * HASH_COUNT(blocks->entries), sizeof(*list));
    struct entry *entry;
    struct entry *next;
    *n = 0;
    HASH_ITER(hh, blocks->entries, entry, next)
    {
        const bool is_gone = !is_alive(entry);
        const bool has_died =
            entry->death_stamp != 0 && entry->died_us >= since_us;
        if (entry->birth_stamp != 0 && (!is_gone || has_died))
            list_one(list, n, entry->block, is_gone);
        if (!is_gone && has_died && entry->previous_stamp != 0 &&
            entry->death_stamp > entry->previous_stamp)
            list_one(list, n, entry->previous, true);
    }
    if (*n != 0)
        qsort(list, *n, sizeof(*list), compare_blocks);
    return list;
}
