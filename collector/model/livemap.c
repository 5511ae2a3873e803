/*
 * A slot of four bytes for each 16 bytes of the target where blocks are: a page
 * of it has a leaf of 256 slots, a region of 64 MiB a table of leaves. A slot
 * says all of a block that glibc would make; a block of another size, or one
 * that shares its 16 bytes with another, is in a list beside.
 */
#include "collector/model/livemap.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "include/xalloc.h"

enum {
    GRAIN = 16,
    PAGE_SHIFT = 12,
    SLOTS = 4096 / GRAIN,
    REGION_SHIFT = 26,
    LEAVES = 1 << (REGION_SHIFT - PAGE_SHIFT),
    CACHED = 64,
    MOST_UNITS = (1 << 13) - 1,
    MOST_SLACK = (1 << 5) - 1,
    MOST_ODD = 1 << 26, /* beyond them a block is not kept */
};

/* A slot: 0, or LIVE with units, slack and caller, or LIVE | ODD and a number.
 */
#define LIVE ((uint32_t)1 << 31)
#define ODD ((uint32_t)1 << 30)
#define PYTHON ((uint32_t)1 << 18)
#define SLACK_SHIFT 13

/* Leaves and tables that several maps have are copied before a change. */
struct leaf {
    uint32_t n_owners;
    uint32_t n_live;
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
    struct livemap_totals totals;
};

struct livemap *
livemap_create(void)
{
    struct livemap *map = xcalloc(1, sizeof(*map));
    XGROW(map->odds, map->odd_capacity, map->n_odds);
    map->n_odds = 1; /* number 0 is none */
    return map;
}

static void
let_go_leaf(struct leaf *leaf)
{
    if (leaf != NULL && --leaf->n_owners == 0)
        free(leaf);
}

static void
let_go_table(struct table *table)
{
    if (--table->n_owners != 0)
        return;
    for (size_t i = 0; i < LEAVES; i++)
        let_go_leaf(table->leaves[i]);
    free(table);
}

void
livemap_destroy(struct livemap *map)
{
    if (map == NULL)
        return;
    struct region *region;
    struct region *next;
    HASH_ITER(hh, map->regions, region, next)
    {
        HASH_DEL(map->regions, region);
        let_go_table(region->table);
        free(region);
    }
    free(map->odds);
    free(map);
}

struct livemap *
livemap_clone(struct livemap *map)
{
    struct livemap *clone = xcalloc(1, sizeof(*clone));
    struct region *region;
    struct region *next;
    HASH_ITER(hh, map->regions, region, next)
    {
        struct region *copy = xcalloc(1, sizeof(*copy));
        copy->number = region->number;
        copy->table = region->table;
        copy->table->n_owners++;
        HASH_ADD(hh, clone->regions, number, sizeof(copy->number), copy);
    }
    clone->odds = xcalloc(map->n_odds, sizeof(clone->odds[0]));
    memcpy(clone->odds, map->odds, map->n_odds * sizeof(clone->odds[0]));
    clone->n_odds = map->n_odds;
    clone->odd_capacity = map->n_odds;
    clone->free_odd = map->free_odd;
    clone->totals.live_blocks = map->totals.live_blocks;
    clone->totals.live_bytes = map->totals.live_bytes;
    clone->totals.peak_bytes = map->totals.live_bytes;
    return clone;
}

struct livemap_totals
livemap_totals(const struct livemap *map)
{
    return map->totals;
}

/* ---- leaves ------------------------------------------------------------ */

static struct region *
find_region(const struct livemap *map, uint64_t addr)
{
    const uint64_t number = addr >> REGION_SHIFT;
    struct region *region = map->cache[number % CACHED];
    if (region != NULL && region->number == number)
        return region;
    HASH_FIND(hh, map->regions, &number, sizeof(number), region);
    return region;
}

static struct region *
region_of(struct livemap *map, uint64_t addr)
{
    struct region *region = find_region(map, addr);
    if (region == NULL) {
        region = xcalloc(1, sizeof(*region));
        region->number = addr >> REGION_SHIFT;
        region->table = xcalloc(1, sizeof(*region->table));
        region->table->n_owners = 1;
        HASH_ADD(hh, map->regions, number, sizeof(region->number), region);
    }
    map->cache[region->number % CACHED] = region;
    return region;
}

static size_t
leaf_index(uint64_t addr)
{
    return (addr >> PAGE_SHIFT) % LEAVES;
}

/* A table of the region's own. */
static struct table *
own_table(struct region *region)
{
    struct table *shared = region->table;
    if (shared->n_owners == 1)
        return shared;
    struct table *table = xcalloc(1, sizeof(*table));
    for (size_t i = 0; i < LEAVES; i++) {
        table->leaves[i] = shared->leaves[i];
        if (table->leaves[i] != NULL)
            table->leaves[i]->n_owners++;
    }
    table->n_owners = 1;
    let_go_table(shared);
    region->table = table;
    return table;
}

/* Where the page's leaf stands, which is its own if there is one. */
static struct leaf **
own_leaf(struct region *region, uint64_t addr)
{
    struct leaf **place = &own_table(region)->leaves[leaf_index(addr)];
    struct leaf *shared = *place;
    if (shared != NULL && shared->n_owners != 1) {
        *place = xcalloc(1, sizeof(**place));
        **place = *shared;
        (*place)->n_owners = 1;
        let_go_leaf(shared);
    }
    return place;
}

static uint32_t *
slot_of(struct leaf *leaf, uint64_t addr)
{
    return &leaf->slots[addr / GRAIN % SLOTS];
}

/* ---- what a slot says -------------------------------------------------- */

/* 0: that cannot be said in a slot. */
static uint32_t
pack(const struct livemap_block *block)
{
    const uint64_t units = (block->n_bytes + 8) / GRAIN;
    const uint64_t slack = block->n_bytes - block->asked_bytes;
    if (block->addr % GRAIN != 0 || block->n_bytes % GRAIN != 8 ||
        units > MOST_UNITS || slack > MOST_SLACK)
        return 0;
    return LIVE | (uint32_t)units | (uint32_t)slack << SLACK_SHIFT |
           (block->is_python ? PYTHON : 0);
}

static struct livemap_block
unpack(uint32_t slot, uint64_t addr)
{
    const uint64_t n_bytes = (uint64_t)(slot & MOST_UNITS) * GRAIN - 8;
    return (struct livemap_block){
        .addr = addr - addr % GRAIN,
        .n_bytes = n_bytes,
        .asked_bytes = n_bytes - (slot >> SLACK_SHIFT & MOST_SLACK),
        .is_python = (slot & PYTHON) != 0,
    };
}

static bool
is_odd(uint32_t slot)
{
    return (slot & ODD) != 0;
}

/* The block before the slot's others; 0: there are too many. */
static uint32_t
add_odd(struct livemap *map, const struct livemap_block *block, uint32_t slot)
{
    uint32_t number = map->free_odd;
    if (number != 0) {
        map->free_odd = map->odds[number].next;
    } else {
        if (map->n_odds == MOST_ODD)
            return 0;
        XGROW(map->odds, map->odd_capacity, map->n_odds);
        number = (uint32_t)map->n_odds++;
    }
    const uint32_t next = is_odd(slot) ? slot & ~(LIVE | ODD) : 0;
    map->odds[number] = (struct odd){.block = *block, .next = next};
    return LIVE | ODD | number;
}

/* Where the number of the block at addr stands, in a chain or its slot. */
static uint32_t *
find_odd(const struct livemap *map, uint32_t *slot, uint64_t addr)
{
    uint32_t *place = slot;
    uint32_t number = *slot & ~(LIVE | ODD);
    while (number != 0 && map->odds[number].block.addr != addr) {
        place = &map->odds[number].next;
        number = *place;
    }
    return number == 0 ? NULL : place;
}

/* ---- births and deaths ------------------------------------------------- */

static void
count_birth(struct livemap *map, const struct livemap_block *block)
{
    struct livemap_totals *totals = &map->totals;
    totals->live_blocks++;
    totals->live_bytes += block->n_bytes;
    if (totals->live_bytes > totals->peak_bytes)
        totals->peak_bytes = totals->live_bytes;
}

static void
count_death(struct livemap *map, uint64_t n_bytes)
{
    map->totals.live_blocks--;
    map->totals.live_bytes -= n_bytes;
}

/* The block at addr leaves its slot; false: there is none. */
static bool
take_out(struct livemap *map, uint32_t *slot, uint64_t addr)
{
    if (!is_odd(*slot)) {
        if (*slot == 0 || addr % GRAIN != 0)
            return false;
        count_death(map, unpack(*slot, addr).n_bytes);
        *slot = 0;
        return true;
    }
    uint32_t *place = find_odd(map, slot, addr);
    if (place == NULL)
        return false;
    const uint32_t number = *place & ~(LIVE | ODD);
    struct odd *odd = &map->odds[number];
    count_death(map, odd->block.n_bytes);
    if (place != slot)
        *place = odd->next;
    else
        *slot = odd->next == 0 ? 0 : LIVE | ODD | odd->next;
    odd->next = map->free_odd;
    map->free_odd = number;
    return true;
}

static void
put_in(struct livemap *map, uint32_t *slot, const struct livemap_block *block)
{
    uint32_t fresh = *slot == 0 ? pack(block) : 0;
    if (fresh == 0) {
        if (*slot != 0 && !is_odd(*slot)) { /* who is there moves over */
            const struct livemap_block other = unpack(*slot, block->addr);
            const uint32_t moved = add_odd(map, &other, 0);
            if (moved == 0)
                return;
            *slot = moved;
        }
        fresh = add_odd(map, block, *slot);
    }
    if (fresh == 0)
        return;
    *slot = fresh;
    count_birth(map, block);
}

void
livemap_birth(struct livemap *map, const struct livemap_block *block)
{
    struct leaf **place = own_leaf(region_of(map, block->addr), block->addr);
    if (*place == NULL) {
        *place = xcalloc(1, sizeof(**place));
        (*place)->n_owners = 1;
    }
    struct leaf *leaf = *place;
    uint32_t *slot = slot_of(leaf, block->addr);
    if (*slot != 0 && take_out(map, slot, block->addr)) {
        map->totals.doubles++;
        leaf->n_live--;
    }
    const uint64_t n_before = map->totals.live_blocks;
    put_in(map, slot, block);
    leaf->n_live += map->totals.live_blocks != n_before;
}

void
livemap_death(struct livemap *map, uint64_t addr)
{
    struct region *region = find_region(map, addr);
    struct leaf **place = region == NULL ? NULL : own_leaf(region, addr);
    if (place == NULL || *place == NULL ||
        !take_out(map, slot_of(*place, addr), addr)) {
        map->totals.orphans++;
        return;
    }
    if (--(*place)->n_live == 0) {
        free(*place);
        *place = NULL;
    }
}

/* ---- what is alive ----------------------------------------------------- */

bool
livemap_find(const struct livemap *map, uint64_t addr,
             struct livemap_block *block)
{
    struct region *region = find_region(map, addr);
    struct leaf *leaf =
        region == NULL ? NULL : region->table->leaves[leaf_index(addr)];
    uint32_t *slot = leaf == NULL ? NULL : slot_of(leaf, addr);
    if (slot == NULL || *slot == 0)
        return false;
    if (!is_odd(*slot)) {
        *block = unpack(*slot, addr);
        return addr % GRAIN == 0;
    }
    const uint32_t *place = find_odd(map, slot, addr);
    if (place != NULL)
        *block = map->odds[*place & ~(LIVE | ODD)].block;
    return place != NULL;
}

static void
list_slot(const struct livemap *map, uint32_t slot, uint64_t addr,
          struct livemap_block *list, size_t *n)
{
    if (slot != 0 && !is_odd(slot))
        list[(*n)++] = unpack(slot, addr);
    uint32_t number = is_odd(slot) ? slot & ~(LIVE | ODD) : 0;
    for (; number != 0; number = map->odds[number].next)
        list[(*n)++] = map->odds[number].block;
}

static int
compare_blocks(const void *left, const void *right)
{
    const struct livemap_block *a = left;
    const struct livemap_block *b = right;
    return (a->addr > b->addr) - (a->addr < b->addr);
}

struct livemap_block *
livemap_list(const struct livemap *map, size_t *n)
{
    struct livemap_block *list =
        xcalloc(map->totals.live_blocks + 1, sizeof(*list));
    struct region *region;
    struct region *next;
    *n = 0;
    HASH_ITER(hh, map->regions, region, next)
    {
        for (uint64_t i = 0; i < LEAVES; i++) {
            const struct leaf *leaf = region->table->leaves[i];
            const uint64_t start =
                (region->number << REGION_SHIFT) + (i << PAGE_SHIFT);
            for (uint64_t k = 0; leaf != NULL && k < SLOTS; k++)
                list_slot(map, leaf->slots[k], start + k * GRAIN, list, n);
        }
    }
    qsort(list, *n, sizeof(*list), compare_blocks);
    return list;
}
