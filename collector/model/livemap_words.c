/*
 * Where most of the collector's time goes: a word is a load, a compare and a
 * store, as long as the leaf is there, this map's alone, and the block is in
 * its slot. All else is livemap.c's. The slots of words to come are fetched
 * while those before them are told: with many live blocks each is a miss.
 */
#include <assert.h>
#include <string.h>

#include "collector/model/livemap.h"
#include "collector/model/livemap_state.h"
#include "include/attrs.h"

enum {
    AHEAD = 16, /* words, of what a miss takes */
    PAGE_OF_WORD = LIVEMAP_ADDR_SHIFT + PAGE_SHIFT - 4,
};

static_assert(GRAIN == 16, "as words have it");
static_assert((LIVEMAP_MOST_UNITS << LIVEMAP_UNITS_SHIFT) + 63 ==
                      LIVEMAP_OBJECT - 1 &&
                  LIVEMAP_OBJECT * 2 == LIVEMAP_DEATH &&
                  LIVEMAP_HALF * 2 == LIVEMAP_OBJECT,
              "a slot keeps what is below LIVEMAP_DEATH");

struct sum {
    uint64_t n_born;
    uint64_t born_bytes;
    uint64_t n_died;
    uint64_t died_bytes;
};

/* What many words add to the totals and to the tally of no stack. */
struct sums {
    uint64_t live_bytes; /* of malloc's */
    uint64_t peak_bytes;
    struct sum of[2]; /* malloc's, the object allocator's */
};

static uint64_t
word_at(const void *words, size_t i)
{
    uint64_t word;
    memcpy(&word, (const char *)words + i * sizeof(word), sizeof(word));
    return word;
}

static struct sums
begin(const struct livemap *map)
{
    return (struct sums){
        .live_bytes = map->totals.live_bytes,
        .peak_bytes = map->totals.peak_bytes,
    };
}

static void
settle(struct livemap *map, const struct sums *sums)
{
    struct livemap_tally *tally = &map->tallies[map->n_places];
    const struct sum *blocks = &sums->of[0];
    const struct sum *objects = &sums->of[1];
    map->totals.live_blocks += blocks->n_born - blocks->n_died;
    map->totals.live_bytes = sums->live_bytes;
    map->totals.peak_bytes = sums->peak_bytes;
    tally->live_blocks += blocks->n_born - blocks->n_died;
    tally->live_bytes += blocks->born_bytes - blocks->died_bytes;
    tally->alloc_blocks += blocks->n_born;
    tally->alloc_bytes += blocks->born_bytes;
    map->totals.object_blocks += objects->n_born - objects->n_died;
    map->totals.object_bytes += objects->born_bytes - objects->died_bytes;
    map->totals.object_births += objects->n_born;
    map->totals.object_deaths += objects->n_died;
}

/* Where the page's leaf stands; NULL: nowhere, or not this map's alone. */
static struct leaf **
place_of(const struct livemap *map, uint64_t page)
{
    const uint64_t number = page >> (REGION_SHIFT - PAGE_SHIFT);
    const struct region *region = map->cache[number % CACHED];
    if (region == NULL || region->number != number ||
        region->table->n_owners != 1)
        return NULL;
    return &region->table->leaves[page % LEAVES];
}

static struct leaf *
leaf_of(const struct livemap *map, uint64_t page)
{
    struct leaf **place = place_of(map, page);
    return place == NULL ? NULL : *place;
}

static uint32_t *
slot_of(struct leaf *leaf, uint64_t word)
{
    return &leaf->slots[(word >> LIVEMAP_ADDR_SHIFT) % SLOTS];
}

/* Of word i, and of one behind it where that is to be found. */
static ALWAYS_INLINE void
fetch(const struct livemap *map, const void *words, size_t i, uint64_t page)
{
    const uint64_t next = word_at(words, i);
    if (next >> PAGE_OF_WORD == page)
        return;
    const uint64_t later = word_at(words, i + AHEAD);
    struct leaf **place = place_of(map, later >> PAGE_OF_WORD);
    if (place != NULL)
        __builtin_prefetch(place);
    struct leaf *leaf = leaf_of(map, next >> PAGE_OF_WORD);
    if (leaf == NULL)
        return;
    __builtin_prefetch(leaf, 1);
    __builtin_prefetch(slot_of(leaf, next), 1);
}

/* False: something is in the way. */
static ALWAYS_INLINE bool
tell_birth(struct leaf *leaf, uint64_t word, struct sums *sums)
{
    uint32_t *slot = slot_of(leaf, word);
    if (unlikely(*slot != 0))
        return false;
    *slot = LIVE | (uint32_t)(word & SAID);
    leaf->n_live++;
    const uint64_t n_bytes = livemap_word_bytes(word);
    const bool is_object = livemap_word_is_object(word);
    sums->of[is_object].n_born++;
    sums->of[is_object].born_bytes += n_bytes;
    sums->live_bytes += is_object ? 0 : n_bytes;
    if (sums->live_bytes > sums->peak_bytes)
        sums->peak_bytes = sums->live_bytes;
    return true;
}

/* Of an object the slot has to be of one, too, and of the same half. */
static ALWAYS_INLINE bool
is_of(uint32_t slot, uint64_t word)
{
    const uint64_t kind = LIVEMAP_OBJECT | (word & LIVEMAP_OBJECT) / 2;
    return (slot & (LIVE | ODD)) == LIVE && ((slot ^ word) & kind) == 0;
}

/* The last block of its leaf may only go fast if that is to stay. */
static ALWAYS_INLINE bool
tell_death(struct leaf *leaf, uint64_t word, bool may_be_last,
           struct sums *sums)
{
    uint32_t *slot = slot_of(leaf, word);
    if (unlikely(!is_of(*slot, word)) ||
        unlikely(leaf->n_live == 1 && !may_be_last))
        return false;
    const uint64_t n_bytes = livemap_word_bytes(*slot);
    const bool is_object = livemap_word_is_object(word);
    *slot = 0;
    leaf->n_live--;
    sums->of[is_object].n_died++;
    sums->of[is_object].died_bytes += n_bytes;
    sums->live_bytes -= is_object ? 0 : n_bytes;
    return true;
}

static void
tell_slowly(struct livemap *map, uint64_t word)
{
    const struct livemap_block block = livemap_word_block(word);
    if ((word & LIVEMAP_DEATH) == 0)
        livemap_birth(map, &block);
    else if (block.is_object)
        livemap_object_death(map, block.addr, (word & LIVEMAP_MOVED) != 0);
    else
        livemap_death(map, block.addr);
}

void
livemap_words(struct livemap *map, const void *words, size_t n)
{
    struct sums sums = begin(map);
    struct leaf *leaf = NULL;
    uint64_t page = NO_PAGE;
    for (size_t i = 0; i < n; i++) {
        const uint64_t word = word_at(words, i);
        if (i + 2 * AHEAD < n)
            fetch(map, words, i + AHEAD, page);
        if (word >> PAGE_OF_WORD != page) {
            page = word >> PAGE_OF_WORD;
            leaf = leaf_of(map, page);
            if (leaf != NULL && leaf->n_owners != 1)
                leaf = NULL;
        }
        const bool is_told =
            leaf != NULL &&
            ((word & LIVEMAP_DEATH) != 0
                 ? tell_death(leaf, word, page == map->idle, &sums)
                 : tell_birth(leaf, word, &sums));
        if (likely(is_told))
            continue;
        settle(map, &sums);
        tell_slowly(map, word);
        sums = begin(map);
        page = NO_PAGE;
    }
    settle(map, &sums);
}
