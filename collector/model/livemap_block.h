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
};

/*
 * A birth or a death in one word, of a block that glibc would make: its address
 * / 16 from bit LIVEMAP_ADDR_SHIFT on, below that LIVEMAP_DEATH, and of a birth
 * the usable bytes + 8 in units of 16, usable less asked bytes, and
 * LIVEMAP_PYTHON. What is between is not looked at.
 */
enum {
    LIVEMAP_PYTHON = 1,
    LIVEMAP_SLACK_SHIFT = 1,
    LIVEMAP_MOST_SLACK = (1 << 5) - 1,
    LIVEMAP_UNITS_SHIFT = 6,
    LIVEMAP_MOST_UNITS = (1 << 13) - 1,
    LIVEMAP_DEATH = 1 << 19,
    LIVEMAP_ADDR_SHIFT = 21,
};

static inline struct livemap_block
livemap_word_block(uint64_t word)
{
    const uint64_t n_bytes =
        (word >> LIVEMAP_UNITS_SHIFT & LIVEMAP_MOST_UNITS) * 16 - 8;
    return (struct livemap_block){
        .addr = (word >> LIVEMAP_ADDR_SHIFT) * 16,
        .n_bytes = n_bytes,
        .asked_bytes =
            n_bytes - (word >> LIVEMAP_SLACK_SHIFT & LIVEMAP_MOST_SLACK),
        .is_python = (word & LIVEMAP_PYTHON) != 0,
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
};

#endif
