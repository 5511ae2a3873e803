#include "collector/model/livemap.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "collector/model/livemap_state.h"
#include "include/xalloc.h"

enum {
    MOST_ODD = 1 << 26, /* beyond them a block is not kept */
    FIRST_PLACES = 4,   /* of tallies */
};

/* User space ends here: a block further up is somebody's lie. */
#define END_OF_ADDRESSES ((uint64_t)1 << 47)

static_assert(LIVEMAP_MOST_STACKS - 1 <= UINT16_MAX, "a number of two bytes");

struct livemap *
livemap_create(void)
{
    struct livemap *map = xcalloc(1, sizeof(*map));
    map->idle = NO_PAGE;
    XGROW(map->odds, map->odd_capacity, map->n_odds);
    map->n_odds = 1; /* number 0 is none */
    map->n_places = FIRST_PLACES;
    map->tallies = xcalloc(FIRST_PLACES + 1, sizeof(map->tallies[0]));
    return map;
}

static void
let_go_leaf(struct leaf *leaf)
{
    if (leaf == NULL || --leaf->n_owners != 0)
        return;
    free(leaf->stacks);
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
    free(map->tallies);
    free(map);
}

/* What lives is the clone's too; what was born before was not its doing. */
static void
clone_tallies(struct livemap *clone, const struct livemap *map)
{
    const size_t n = map->n_places + 1;
    clone->tallies = xcalloc(n, sizeof(clone->tallies[0]));
    clone->n_places = map->n_places;
    clone->n_taken = map->n_taken;
    for (size_t i = 0; i < n; i++) {
        clone->tallies[i] = map->tallies[i];
        clone->tallies[i].alloc_blocks = 0;
        clone->tallies[i].alloc_bytes = 0;
    }
}

struct livemap *
livemap_clone(struct livemap *map)
{
    struct livemap *clone = xcalloc(1, sizeof(*clone));
    clone->idle = NO_PAGE;
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
    clone->totals.object_blocks = map->totals.object_blocks;
    clone->totals.object_bytes = map->totals.object_bytes;
    clone_tallies(clone, map);
    return clone;
}

bool
livemap_has_stacks(const struct livemap *map)
{
    return map->n_taken != 0;
}

struct livemap_totals
livemap_totals(const struct livemap *map)
{
    return map->totals;
}

/* ---- tallies ----------------------------------------------------------- */

/* Where a stack's stands, or would. */
static size_t
place_of(const struct livemap *map, uint32_t stack)
{
    if (stack == 0)
        return map->n_places;
    size_t at = stack & (map->n_places - 1);
    while (map->tallies[at].stack != stack && map->tallies[at].stack != 0)
        at = (at + 1) & (map->n_places - 1);
    return at;
}

static void
grow_tallies(struct livemap *map)
{
    struct livemap_tally *old = map->tallies;
    const size_t n_old = map->n_places;
    map->n_places *= 2;
    map->tallies = xcalloc(map->n_places + 1, sizeof(map->tallies[0]));
    map->tallies[map->n_places] = old[n_old];
    for (size_t i = 0; i < n_old; i++) {
        if (old[i].stack != 0)
            map->tallies[place_of(map, old[i].stack)] = old[i];
    }
    free(old);
}

static struct livemap_tally *
tally_of(struct livemap *map, uint32_t stack)
{
    struct livemap_tally *tally = &map->tallies[place_of(map, stack)];
    if (tally->stack == stack)
        return tally;
    if (2 * ++map->n_taken > map->n_places) {
        grow_tallies(map);
        tally = &map->tallies[place_of(map, stack)];
    }
    tally->stack = stack;
    return tally;
}

struct livemap_tally
livemap_tally(const struct livemap *map, uint32_t stack)
{
    struct livemap_tally tally = map->tallies[place_of(map, stack)];
    tally.stack = stack;
    return tally;
}

const struct livemap_tally *
livemap_tallies(const struct livemap *map, size_t *n)
{
    *n = map->n_places + 1;
    return map->tallies;
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

static struct leaf *
copy_leaf(const struct leaf *leaf)
{
    struct leaf *copy = xcalloc(1, sizeof(*copy));
    *copy = *leaf;
    copy->n_owners = 1;
    if (leaf->stacks != NULL) {
        copy->stacks = xcalloc(SLOTS, sizeof(copy->stacks[0]));
        memcpy(copy->stacks, leaf->stacks, SLOTS * sizeof(copy->stacks[0]));
    }
    return copy;
}

/* Where the page's leaf stands, which is its own if there is one. */
static struct leaf **
own_leaf(struct region *region, uint64_t addr)
{
    struct leaf **place = &own_table(region)->leaves[leaf_index(addr)];
    struct leaf *shared = *place;
    if (shared != NULL && shared->n_owners != 1) {
        *place = copy_leaf(shared);
        let_go_leaf(shared);
    }
    return place;
}

/* If it is still without a block, and nobody else's. */
static void
let_go_idle(struct livemap *map)
{
    const uint64_t addr = map->idle << PAGE_SHIFT;
    const struct region *region =
        map->idle == NO_PAGE ? NULL : find_region(map, addr);
    map->idle = NO_PAGE;
    if (region == NULL || region->table->n_owners != 1)
        return;
    struct leaf **place = &region->table->leaves[leaf_index(addr)];
    if (*place != NULL && (*place)->n_live == 0) {
        let_go_leaf(*place);
        *place = NULL;
    }
}

static size_t
slot_index(uint64_t addr)
{
    return addr / GRAIN % SLOTS;
}

/* Of a block that is in the slot itself. */
static uint32_t
stack_at(const struct leaf *leaf, size_t index)
{
    return leaf->stacks == NULL ? 0 : leaf->stacks[index];
}

static void
set_stack(struct leaf *leaf, size_t index, uint32_t stack)
{
    if (leaf->stacks == NULL) {
        if (stack == 0)
            return;
        leaf->stacks = xcalloc(SLOTS, sizeof(leaf->stacks[0]));
    }
    leaf->stacks[index] = (uint16_t)stack;
}

/* ---- what a slot says -------------------------------------------------- */

static uint32_t
pack_object(const struct livemap_block *block, uint64_t slack)
{
    const uint64_t eights = block->n_bytes / 8;
    if (block->addr % 8 != 0 || block->n_bytes % 8 != 0 ||
        eights > LIVEMAP_MOST_EIGHTS || slack > LIVEMAP_MOST_SLACK)
        return 0;
    return LIVE | (uint32_t)eights << LIVEMAP_UNITS_SHIFT |
           (uint32_t)slack << LIVEMAP_SLACK_SHIFT | LIVEMAP_PYTHON |
           LIVEMAP_OBJECT | (block->addr % GRAIN == 0 ? 0 : LIVEMAP_HALF);
}

/* 0: that cannot be said in a slot. */
static uint32_t
pack(const struct livemap_block *block)
{
    const uint64_t units = (block->n_bytes + 8) / GRAIN;
    const uint64_t slack = block->n_bytes - block->asked_bytes;
    if (block->is_object)
        return pack_object(block, slack);
    if (block->addr % GRAIN != 0 || block->n_bytes % GRAIN != 8 ||
        units > LIVEMAP_MOST_UNITS || slack > LIVEMAP_MOST_SLACK)
        return 0;
    return LIVE | (uint32_t)units << LIVEMAP_UNITS_SHIFT |
           (uint32_t)slack << LIVEMAP_SLACK_SHIFT |
           (block->is_python ? LIVEMAP_PYTHON : 0);
}

/* What the slot at addr says, which is neither empty nor odd. */
static struct livemap_block
unpack(const struct leaf *leaf, uint64_t addr)
{
    struct livemap_block block =
        livemap_word_block(leaf->slots[slot_index(addr)] & SAID);
    block.addr += addr - addr % GRAIN;
    block.stack = stack_at(leaf, slot_index(addr));
    return block;
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
count_life(struct livemap *map, const struct livemap_block *block)
{
    struct livemap_totals *totals = &map->totals;
    if (block->is_object) {
        totals->object_blocks++;
        totals->object_bytes += block->n_bytes;
        return;
    }
    struct livemap_tally *tally = tally_of(map, block->stack);
    totals->live_blocks++;
    totals->live_bytes += block->n_bytes;
    if (totals->live_bytes > totals->peak_bytes)
        totals->peak_bytes = totals->live_bytes;
    tally->live_blocks++;
    tally->live_bytes += block->n_bytes;
}

static void
count_death(struct livemap *map, const struct livemap_block *block)
{
    if (block->is_object) {
        map->totals.object_blocks--;
        map->totals.object_bytes -= block->n_bytes;
        map->totals.object_deaths++;
        return;
    }
    struct livemap_tally *tally = tally_of(map, block->stack);
    map->totals.live_blocks--;
    map->totals.live_bytes -= block->n_bytes;
    tally->live_blocks--;
    tally->live_bytes -= block->n_bytes;
}

/* The block at addr leaves its slot, and is *died; false: none is. */
static bool
take_out(struct livemap *map, struct leaf *leaf, uint64_t addr,
         struct livemap_block *died)
{
    uint32_t *slot = &leaf->slots[slot_index(addr)];
    if (!is_odd(*slot)) {
        *died = unpack(leaf, addr);
        if (*slot == 0 || addr != died->addr)
            return false;
        count_death(map, died);
        *slot = 0;
        return true;
    }
    uint32_t *place = find_odd(map, slot, addr);
    if (place == NULL)
        return false;
    const uint32_t number = *place & ~(LIVE | ODD);
    struct odd *odd = &map->odds[number];
    *died = odd->block;
    count_death(map, died);
    if (place != slot)
        *place = odd->next;
    else
        *slot = odd->next == 0 ? 0 : LIVE | ODD | odd->next;
    odd->next = map->free_odd;
    map->free_odd = number;
    return true;
}

static bool
put_in(struct livemap *map, struct leaf *leaf,
       const struct livemap_block *block)
{
    const size_t index = slot_index(block->addr);
    uint32_t *slot = &leaf->slots[index];
    uint32_t fresh = *slot == 0 ? pack(block) : 0;
    if (fresh != 0) {
        set_stack(leaf, index, block->stack);
    } else {
        if (*slot != 0 && !is_odd(*slot)) { /* who is there moves over */
            const struct livemap_block other = unpack(leaf, block->addr);
            const uint32_t moved = add_odd(map, &other, 0);
            if (moved == 0)
                return false;
            *slot = moved;
        }
        fresh = add_odd(map, block, *slot);
    }
    if (fresh == 0)
        return false;
    *slot = fresh;
    count_life(map, block);
    return true;
}

/* Whether there is a place for it. */
static bool
give_life(struct livemap *map, const struct livemap_block *block)
{
    if (block->addr >= END_OF_ADDRESSES)
        return false;
    struct leaf **place = own_leaf(region_of(map, block->addr), block->addr);
    if (*place == NULL) {
        *place = xcalloc(1, sizeof(**place));
        (*place)->n_owners = 1;
    }
    struct leaf *leaf = *place;
    struct livemap_block displaced;
    if (leaf->slots[slot_index(block->addr)] != 0 &&
        take_out(map, leaf, block->addr, &displaced)) {
        map->totals.doubles += displaced.is_object ? 0 : 1;
        leaf->n_live--;
    }
    const bool is_in = put_in(map, leaf, block);
    leaf->n_live += is_in;
    return is_in;
}

static struct livemap_block
with_sound_stack(const struct livemap_block *block)
{
    struct livemap_block sound = *block;
    if (sound.stack >= LIVEMAP_MOST_STACKS || sound.is_object)
        sound.stack = 0;
    return sound;
}

static bool
is_mallocs(const struct livemap *map, uint64_t addr)
{
    struct livemap_block block;
    return livemap_find(map, addr, &block) && !block.is_object;
}

void
livemap_birth(struct livemap *map, const struct livemap_block *block)
{
    const struct livemap_block sound = with_sound_stack(block);
    if (sound.is_object && is_mallocs(map, sound.addr))
        return;
    if (!give_life(map, &sound))
        return;
    if (sound.is_object) {
        map->totals.object_births++;
        return;
    }
    struct livemap_tally *tally = tally_of(map, sound.stack);
    tally->alloc_blocks++;
    tally->alloc_bytes += sound.n_bytes;
}

void
livemap_revival(struct livemap *map, const struct livemap_block *block)
{
    const struct livemap_block sound = with_sound_stack(block);
    give_life(map, &sound);
}

/* The leaf of this page has no block left; the one before it goes. */
static void
rest(struct livemap *map, uint64_t page)
{
    if (map->idle == page)
        return;
    let_go_idle(map);
    map->idle = page;
}

/* Whether a block was there, which is then *died. */
static bool
end_life(struct livemap *map, uint64_t addr, struct livemap_block *died)
{
    struct region *region = find_region(map, addr);
    struct leaf **place = region == NULL ? NULL : own_leaf(region, addr);
    if (place == NULL || *place == NULL || !take_out(map, *place, addr, died))
        return false;
    if (--(*place)->n_live == 0)
        rest(map, addr >> PAGE_SHIFT);
    return true;
}

uint32_t
livemap_death(struct livemap *map, uint64_t addr)
{
    struct livemap_block died;
    if (end_life(map, addr, &died) && !died.is_object)
        return died.stack;
    map->totals.orphans++;
    return 0;
}

void
livemap_object_death(struct livemap *map, uint64_t addr, bool has_moved)
{
    struct livemap_block block;
    if (!livemap_find(map, addr, &block)) {
        map->totals.object_orphans += has_moved ? 0 : 1;
    } else if (block.is_object) {
        end_life(map, addr, &block);
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
    uint32_t *slot = leaf == NULL ? NULL : &leaf->slots[slot_index(addr)];
    if (slot == NULL || *slot == 0)
        return false;
    if (!is_odd(*slot)) {
        *block = unpack(leaf, addr);
        return addr == block->addr;
    }
    const uint32_t *place = find_odd(map, slot, addr);
    if (place != NULL)
        *block = map->odds[*place & ~(LIVE | ODD)].block;
    return place != NULL;
}

static void
list_slot(const struct livemap *map, const struct leaf *leaf, uint64_t addr,
          struct livemap_block *list, size_t *n)
{
    const uint32_t slot = leaf->slots[slot_index(addr)];
    if (slot != 0 && !is_odd(slot))
        list[(*n)++] = unpack(leaf, addr);
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
    struct livemap_block *list = xcalloc(
        map->totals.live_blocks + map->totals.object_blocks + 1, sizeof(*list));
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
                list_slot(map, leaf, start + k * GRAIN, list, n);
        }
    }
    qsort(list, *n, sizeof(*list), compare_blocks);
    return list;
}
