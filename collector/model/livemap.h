/*
 * livemap.h - the blocks that one process owns right now, one by one
 *
 * A live map is told of births and deaths in their true order (turns.h) and can
 * say at any moment what is alive and what it adds up to, in all and by the
 * number of the stack that a block was born with. It is a model and nothing
 * else: no clock, no I/O, no knowledge of the wire.
 *
 * Blocks of CPython's object allocator lie among them, and are counted apart.
 * Sizes are usable bytes (DESIGN 2); what was asked for travels beside.
 * Not thread-safe: a live map belongs to the loop that created it.
 */
#ifndef COLLECTOR_MODEL_LIVEMAP_H
#define COLLECTOR_MODEL_LIVEMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/model/livemap_block.h"

struct livemap;

/* Never NULL; the caller owns it. Destroying NULL is a no-op. */
struct livemap *livemap_create(void);
void livemap_destroy(struct livemap *map);

/* A forked child's: what its parent had. They share what neither changes. */
struct livemap *livemap_clone(struct livemap *map);

/*
 * Where no block can be, at 2^47 and above, none is: its death is an orphan. Of
 * an object nothing is believed where a block of malloc's lives.
 */
void livemap_birth(struct livemap *map, const struct livemap_block *block);

/*
 * n words, one behind another at any address, in their order. Only to a map
 * that has no stacks.
 */
void livemap_words(struct livemap *map, const void *words, size_t n);

/* Whether a block had one, ever. */
bool livemap_has_stacks(const struct livemap *map);

/* Gives the stack of what died; 0 too where nothing was alive. */
uint32_t livemap_death(struct livemap *map, uint64_t addr);

/* Of an object; one that has moved may have died before. */
void livemap_object_death(struct livemap *map, uint64_t addr, bool has_moved);

/* A block that was said to have died lives: that is no birth. */
void livemap_revival(struct livemap *map, const struct livemap_block *block);

struct livemap_totals livemap_totals(const struct livemap *map);

/* Of one stack; 0: the blocks that have none. */
struct livemap_tally livemap_tally(const struct livemap *map, uint32_t stack);

/*
 * Of all stacks, in no order, and some that nothing was counted for; all of
 * them add up to the totals. Valid until the map is told more.
 */
const struct livemap_tally *livemap_tallies(const struct livemap *map,
                                            size_t *n);

/* Whether the block at this address is alive, and what it is. */
bool livemap_find(const struct livemap *map, uint64_t addr,
                  struct livemap_block *block);

/* The living, ascending; the caller frees them. */
struct livemap_block *livemap_list(const struct livemap *map, size_t *n);

#endif
