/*
 * livemap_state.h - what a live map is made of; for livemap*.c alone
 *
 * A slot of four bytes for each 16 bytes of the target where blocks are: a page
 * of it has a leaf of 256 slots, a region of 64 MiB a table of leaves. A slot
 * says all of a block that glibc would make, save its stack; a block of another
 * size, or one that shares its 16 bytes with another, is in a list beside.
 *
 * Stacks have two bytes beside each slot of a leaf, from the first block of the
 * leaf on that has one: who records none has none to pay for.
 *
 * A leaf whose last block dies stays until that happens to another: a loop of
 * births and deaths makes none anew.
 */
#ifndef COLLECTOR_MODEL_LIVEMAP_STATE_H
#define COLLECTOR_MODEL_LIVEMAP_STATE_H

#include <uthash.h>

#include "collector/model/livemap_block.h"

enum {
    GRAIN = 16,
    PAGE_SHIFT = 12,
    SLOTS = 4096 / GRAIN,
    REGION_SHIFT = 26,
    LEAVES = 1 << (REGION_SHIFT - PAGE_SHIFT),
    CACHED = 64,
};

#define NO_PAGE UINT64_MAX

/* What a word says of a block, but its address. */
enum { SAID = LIVEMAP_DEATH - 1 };

/* A slot: 0, or LIVE and what a word says, or LIVE | ODD and a number. */
#define LIVE ((uint32_t)1 << 31)
#define ODD ((uint32_t)1 << 30)

/* Leaves and tables that several maps have are copied before a change. */
struct leaf {
    uint32_t n_owners;
    uint32_t n_live;
    uint16_t *stacks; /* by slot, where that is not odd; NULL: none has one */
    uint32_t slots[SLOTS];
};

struct table {
    uint32_t n_owners;
    struct leaf *leaves[LEAVES];
};

struct region {
    uint64_t number; /* address >> REGION_SHIFT */
    struct table *table;
    UT_hash_handle hh;
};

/* From number 1 on; next chains those of one slot, or those that are free. */
struct odd {
    struct livemap_block block;
    uint32_t next;
};

struct livemap {
    struct region *regions;
    struct region *cache[CACHED];
    struct odd *odds;
    size_t n_odds;
    size_t odd_capacity;
    uint32_t free_odd;
    uint64_t idle; /* the page whose leaf was left without a block last */
    struct livemap_totals totals;
    /*
     * A table of stacks by their lowest bits, of a power of two; behind it the
     * place of number 0, which marks in the table what is free.
     */
    struct livemap_tally *tallies;
    size_t n_places; /* of the table */
    size_t n_taken;
};

#endif
