#include "tests/unit/collector/interpreter.h"

#include <err.h>
#include <string.h>

void
interpreter_put(char *at, uint32_t offset, uint64_t word)
{
    memcpy(at + offset, &word, sizeof(word));
}

char *
interpreter_block(char *pool, uint32_t size, uint32_t number)
{
    return pool + CPYTHON_POOL_HEADER_BYTES + (uint64_t)number * size;
}

void
interpreter_lay_pool(char *at, const struct interpreter_pool *pool)
{
    const uint32_t alignment =
        pool->alignment == 0 ? CPYTHON_ALIGNMENT : pool->alignment;
    const uint32_t n_blocks =
        (pool->pool_bytes - CPYTHON_POOL_HEADER_BYTES) / pool->size;
    if (pool->n_carved > n_blocks ||
        (pool->n_live == pool->n_carved && pool->n_carved != n_blocks))
        errx(1, "no obmalloc makes such a pool");

    uint64_t head = 0;
    memset(at + CPYTHON_POOL_HEADER_BYTES, 0x5a,
           (size_t)pool->n_carved * pool->size);
    for (uint32_t i = pool->n_carved; i-- > pool->n_live;) {
        char *block = interpreter_block(at, pool->size, i);
        interpreter_put(block, 0, head);
        head = (uintptr_t)block;
    }
    const struct cpython_pool header = {
        .count = pool->n_live,
        .freeblock = head,
        .nextpool = (uintptr_t)at,
        .prevpool = (uintptr_t)at,
        .szidx = pool->size / alignment - 1,
        .nextoffset = CPYTHON_POOL_HEADER_BYTES + pool->n_carved * pool->size,
        .maxnextoffset = pool->pool_bytes - pool->size,
    };
    memcpy(at, &header, sizeof(header));
}

void
interpreter_lay_type(char *at, const struct interpreter_type *type)
{
    memset(at, 0, CPYTHON_TYPE_BYTES);
    interpreter_put(at, 0, 1);
    interpreter_put(at, CPYTHON_OBJECT_TYPE_AT,
                    type->metatype == NULL ? (uintptr_t)at
                                           : (uintptr_t)type->metatype);
    interpreter_put(at, CPYTHON_TYPE_NAME_AT, (uintptr_t)type->name);
    interpreter_put(at, CPYTHON_TYPE_BASICSIZE_AT, type->basic_bytes);
    interpreter_put(at, CPYTHON_TYPE_ITEMSIZE_AT, type->item_bytes);
    interpreter_put(at, CPYTHON_TYPE_FLAGS_AT,
                    type->flags | CPYTHON_TYPE_READY);
}

void
interpreter_lay_object(char *block, uint32_t pre, uint64_t references,
                       const void *type)
{
    interpreter_put(block, pre, references);
    interpreter_put(block, pre + CPYTHON_OBJECT_TYPE_AT, (uintptr_t)type);
}
