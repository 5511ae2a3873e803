/*
 * livemap_block.h - what a live map is told, and what it adds up to
 */
#ifndef COLLECTOR_MODEL_LIVEMAP_BLOCK_H
#define COLLECTOR_MODEL_LIVEMAP_BLOCK_H

#include <stdbool.h>
#include <stdint.h>

/* Numbers of stacks are smaller; a greater one is none. */
enum { LIVEMAP_MOST_STACKS = 1 << 16 };

struct livemap_block {
    uint64_t addr;
    uint64_t n_bytes;
    uint64_t asked_bytes;
    uint32_t stack; /* 0: none is known */
    bool is_python; /* the interpreter asked for it */
    bool is_object; /* and its own allocator gave it, not malloc */
};

/*
 * A birth or a death in one word, of a block that glibc would make: its address
 * / 16 from bit LIVEMAP_ADDR_SHIFT on, below that LIVEMAP_DEATH, and of a birth
 * the usable bytes + 8 in units of 16, usable less asked bytes, and
 * LIVEMAP_PYTHON. What is between is not looked at.
 *
 * Of a block of CPython's object allocator it has LIVEMAP_OBJECT, the usable
 * bytes in units of 8, and LIVEMAP_HALF if its address is 8 more. Such a word
 * says nothing where a block of malloc's lives. A death with LIVEMAP_MOVED may
 * have been told before.
 */
enum {
    LIVEMAP_PYTHON = 1,
    LIVEMAP_SLACK_SHIFT = 1,
    LIVEMAP_MOST_SLACK = (1 << 5) - 1,
    LIVEMAP_UNITS_SHIFT = 6,
    LIVEMAP_MOST_UNITS = (1 << 12) - 1,
    LIVEMAP_MOST_EIGHTS = (1 << 7) - 1,
    LIVEMAP_MOVED = 1 << 1,
    LIVEMAP_HALF = 1 << 17,
    LIVEMAP_OBJECT = 1 << 18,
    LIVEMAP_DEATH = 1 << 19,
    LIVEMAP_ADDR_SHIFT = 21,
};

static inline bool
livemap_word_is_object(uint64_t word)
{
    return (word & LIVEMAP_OBJECT) != 0;
}

static inline uint64_t
livemap_word_bytes(uint64_t word)
{
    const uint64_t units = word >> LIVEMAP_UNITS_SHIFT;
    return livemap_word_is_object(word) ? (units & LIVEMAP_MOST_EIGHTS) * 8
                                        : (units & LIVEMAP_MOST_UNITS) * 16 - 8;
}

static inline struct livemap_block
livemap_word_block(uint64_t word)
{
    const uint64_t n_bytes = livemap_word_bytes(word);
    const bool is_object = livemap_word_is_object(word);
    const bool is_half = is_object && (word & LIVEMAP_HALF) != 0;
    return (struct livemap_block){
        .addr = (word >> LIVEMAP_ADDR_SHIFT) * 16 + (is_half ? 8 : 0),
        .n_bytes = n_bytes,
        .asked_bytes =
            n_bytes - (word >> LIVEMAP_SLACK_SHIFT & LIVEMAP_MOST_SLACK),
        .is_python = (word & LIVEMAP_PYTHON) != 0,
        .is_object = is_object,
    };
}

/* What a stack's blocks add up to. */
struct livemap_tally {
    uint32_t stack;
    uint64_t live_blocks;
    uint64_t live_bytes;
    uint64_t alloc_blocks; /* births, a clone's own only */
    uint64_t alloc_bytes;
};

struct livemap_totals {
    uint64_t live_blocks;
    uint64_t live_bytes;
    uint64_t peak_bytes; /* the most that live_bytes has been */
    uint64_t orphans;    /* deaths of blocks that nobody told of */
    uint64_t doubles; /* births where a block was alive: it has died unseen */
    /*
     * Of the object allocator, which are in none of those above. One in whose
     * place malloc has a block, or gives one back, has died unseen, too.
     */
    uint64_t object_blocks;
    uint64_t object_bytes;
    uint64_t object_births; /* a clone's own only; of deaths the same */
    uint64_t object_deaths;
    uint64_t object_orphans;
};

#endif
