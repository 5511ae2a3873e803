/*
 * turns.h - what several threads tell of blocks, put into one order
 *
 * Each buffer is in the order of its thread's calls; between buffers the turns
 * order (include/wire.h, struct wire_turn). What has a turn may be read before
 * what it follows is: an event is therefore held until all buffers have been
 * read to their end once more since it came. By then everything that happened
 * before it has come as well, for it was written before. So nobody waits for a
 * thread that is idle.
 *
 * What has no turn was told while there was one thread, and is first.
 */
#ifndef COLLECTOR_MODEL_TURNS_H
#define COLLECTOR_MODEL_TURNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/model/livemap.h"

struct turns;

/* Never NULL. Destroying NULL is a no-op. Takes the heap. */
struct turns *turns_create(struct livemap *heap);
void turns_destroy(struct turns *turns);

/* The buffer's events from here on. */
void turns_take(struct turns *turns, uint32_t buffer, uint64_t turn);

void turns_birth(struct turns *turns, uint32_t buffer,
                 const struct livemap_block *block);
void turns_death(struct turns *turns, uint32_t buffer, uint64_t addr);

/* The same of many, a word each (livemap.h). */
void turns_words(struct turns *turns, uint32_t buffer, const void *words,
                 size_t n);
void turns_fork(struct turns *turns, uint32_t buffer, uint64_t number);

/* The block whose death the buffer told last lives on, with its stack. */
void turns_revival(struct turns *turns, uint32_t buffer,
                   const struct livemap_block *block);

/* All buffers have been read to their end. */
void turns_pass(struct turns *turns);

/* Nobody tells any more: what is held is all there is. */
void turns_finish(struct turns *turns);

/* As far as it is known. */
struct livemap *turns_map(const struct turns *turns);

/*
 * The heap at the fork of that number, which is the caller's from here on;
 * NULL: nothing is known of it (any more).
 */
struct livemap *turns_take_fork(struct turns *turns, uint64_t number);

#endif
