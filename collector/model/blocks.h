/*
 * blocks.h - the blocks of malloc's that are told one by one
 *
 * Large ones, and those that are a mapping of their own. Births and deaths may
 * come in any order: of two for one address the greater stamp is true. No
 * clock, no I/O.
 */
#ifndef COLLECTOR_MODEL_BLOCKS_H
#define COLLECTOR_MODEL_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct blocks;

struct blocks_block {
    uint64_t addr;
    uint64_t n_bytes; /* usable */
    uint32_t stack;   /* its number; 0: none */
    bool is_sample;   /* it speaks for others */
    bool is_python;   /* the interpreter asked for it */
    bool is_gone;     /* of a list: it has died */
};

/* Never NULL. Destroying NULL is a no-op. */
struct blocks *blocks_create(void);
void blocks_destroy(struct blocks *blocks);

/* As they were when a child was forked: events up to that stamp. */
struct blocks *blocks_clone(const struct blocks *blocks, uint64_t stamp);

void blocks_birth(struct blocks *blocks, uint64_t stamp,
                  const struct blocks_block *block);

/* Heard at now_us. */
void blocks_death(struct blocks *blocks, uint64_t stamp, uint64_t addr,
                  uint64_t now_us);

/*
 * The living, and those whose death was heard at since_us or later, as gone,
 * also before one that lives there by now. Ascending; the caller frees them.
 */
struct blocks_block *blocks_list(const struct blocks *blocks, uint64_t since_us,
                                 size_t *n);

#endif
