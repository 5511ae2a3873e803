#include "collector/census/residents.h"

#include <string.h>

#include "include/xalloc.h"

enum {
    /* What a block may be larger than needed: by its allocator's alignment,
       and what PYTHONMALLOC=debug puts behind (_PyMem_DebugRawAlloc). */
    POOL_SLACK = 16,
    MALLOC_SLACK = 32,
    DEBUG_SLACK = 24,
    MOST_ITEMS = 4096, /* of a frame */
    WORD = sizeof(uint64_t),
};

/* A number from here on may be an address. */
#define LEAST_ADDRESS ((uint64_t)0x10000)

/* The first words of an object, whatever it is. */
struct head {
    uint64_t references;
    uint64_t type;
    uint64_t size;
};

void
residents_finish(struct residents *residents)
{
    free(residents->residents);
    residents->residents = NULL;
    residents->n_residents = 0;
    residents->capacity = 0;
}

/* ---- one resident ------------------------------------------------------ */

/* Whether the type's name is this one, with or without its module. */
static bool
is_named(const char *full, const char *name)
{
    const char *dot = strrchr(full, '.');
    return strcmp(full, name) == 0 ||
           (dot != NULL && strcmp(dot + 1, name) == 0) ||
           (strcmp(full, "frozenset") == 0 && strcmp(name, "set") == 0);
}

/*
 * Whether the block that holds the object, with `pre` bytes before it, is of
 * the size that it needs; of any size, if that is not known. Only what is too
 * large for pymalloc is malloc's.
 */
static bool
fits(struct residents *residents, uint64_t addr, uint32_t pre, uint64_t needed,
     struct block *block)
{
    const uint64_t before = residents->debug_bytes + pre;
    const uint64_t start = addr - before;
    const bool may_be_malloc =
        needed == 0 || before + needed > CPYTHON_LARGEST_BLOCK - DEBUG_SLACK;
    if (block_arena(residents->census, addr) != NULL
            ? !block_in_arena(residents->census, residents->peek, addr,
                              block) ||
                  block->addr != start
            : !may_be_malloc || !block_of_malloc(residents->peek, start, block))
        return false;
    const uint64_t slack =
        (block->pool == 0 ? (uint64_t)MALLOC_SLACK : POOL_SLACK) +
        (residents->debug_bytes == 0 ? 0 : DEBUG_SLACK);
    return needed == 0 || (before + needed <= block->n_bytes &&
                           block->n_bytes < before + needed + slack);
}

/*
 * Keys are given up with no reference, or with their dict's own when it moved
 * to larger ones. Their table is of the smallest size: 8 entries, to 3.10 as a
 * number, then as its logarithm (Objects/dictobject.c).
 */
static bool
are_dead_keys(const struct cpython_list *list, const struct head *head)
{
    const bool is_logarithm = list->n_bytes == CPYTHON_LIST_KEYS_BYTES;
    return head->references <= 1 &&
           (is_logarithm ? (head->type & 0xff) == 3 : head->type == 8);
}

/*
 * Whether the first word is what it is in a dead object: no reference, or the
 * link to the next one.
 */
static bool
is_dead(const struct cpython_list *list, const struct head *head)
{
    const uint64_t references = head->references;
    if (list->type == NULL && list->shape == CPYTHON_LIST_ARRAY)
        return are_dead_keys(list, head);
    const bool is_linked_first = (list->shape == CPYTHON_LIST_CHAIN ||
                                  list->shape == CPYTHON_LIST_TUPLES) &&
                                 list->link_at == 0;
    return references == 0 || (is_linked_first && references >= LEAST_ADDRESS);
}

/*
 * The type of the list's residents at addr. That of wrapped values is not made
 * ready to 3.9 (Objects/genobject.c).
 */
static bool
find_type(struct residents *residents, const struct cpython_list *list,
          uint64_t addr, struct type *type)
{
    const unsigned number = typetable_find(residents->table, addr);
    if (number != 0)
        *type = *typetable_type(residents->table, number);
    else if (!residents->lists.is_static ||
             strcmp(list->name, "async_generator_wrapped_value") != 0 ||
             !typetable_read_unready(residents->table, addr, type))
        return false;
    return is_named(type->name, list->type);
}

/* Bytes of the object from its first word on; 0: it is none of that list. */
static uint64_t
object_bytes(struct residents *residents, const struct cpython_list *list,
             const struct head *head, unsigned length, uint32_t *pre)
{
    struct type type;
    if (!find_type(residents, list, head->type, &type))
        return 0;
    *pre = type.pre_bytes;
    if (list->shape == CPYTHON_LIST_TUPLES)
        return head->size == length
                   ? type.least_bytes + (uint64_t)length * type.item_bytes
                   : 0;
    if (strcmp(list->name, "frame") == 0)
        return head->size <= MOST_ITEMS
                   ? type.least_bytes + head->size * type.item_bytes
                   : 0;
    return type.least_bytes;
}

bool
residents_is(struct residents *residents, unsigned list, uint64_t addr,
             unsigned length, struct block *block)
{
    const struct cpython_list *of = &residents->lists.lists[list];
    struct head head;
    if (addr % WORD != 0 ||
        !peek_read(residents->peek, addr, &head, sizeof(head)) ||
        !is_dead(of, &head))
        return false;
    if (of->type == NULL)
        return fits(residents, addr, 0, of->n_bytes, block);
    uint32_t pre;
    const uint64_t needed = object_bytes(residents, of, &head, length, &pre);
    return needed != 0 && fits(residents, addr, pre, needed, block);
}

/* ---- chains ------------------------------------------------------------ */

static void
add(struct residents *residents, unsigned list, const struct block *block)
{
    XGROW(residents->residents, residents->capacity, residents->n_residents);
    residents->residents[residents->n_residents++] =
        (struct resident){.block = *block, .list = list};
}

/* The resident behind this one; *next is 0 at the end. */
static bool
step(struct residents *residents, unsigned list, uint64_t addr, uint64_t *next)
{
    const uint64_t at = addr + residents->lists.lists[list].link_at;
    return peek_word(residents->peek, at, next);
}

int
residents_follow(struct residents *residents, unsigned list, uint64_t addr,
                 unsigned length)
{
    const uint32_t most = residents->lists.lists[list].most;
    uint32_t n = 0;
    while (addr != 0) {
        struct block block;
        if (n++ == most ||
            !residents_is(residents, list, addr, length, &block) ||
            !step(residents, list, addr, &addr))
            return -1;
    }
    return (int)n;
}

/* Exactly so many, and then the end. */
static bool
take_chain(struct residents *residents, unsigned list, uint64_t addr, int32_t n,
           unsigned length)
{
    for (int32_t i = 0; i < n; i++) {
        struct block block;
        if (!residents_is(residents, list, addr, length, &block) ||
            !step(residents, list, addr, &addr))
            return false;
        add(residents, list, &block);
    }
    return addr == 0;
}

/* ---- lists ------------------------------------------------------------- */

/* A count below 0 is that of a list which is not used any more. */
static bool
read_count(struct residents *residents, unsigned list, uint64_t at, int32_t *n)
{
    if (!peek_read_zeroed(residents->peek, at, n, sizeof(*n)) ||
        *n > (int32_t)residents->lists.lists[list].most)
        return false;
    if (*n < 0)
        *n = 0;
    return true;
}

static bool
read_pointer(struct residents *residents, uint64_t at, uint64_t *pointer)
{
    return peek_read_zeroed(residents->peek, at, pointer, sizeof(*pointer));
}

static bool
take_array(struct residents *residents, unsigned list, uint64_t head,
           uint64_t count)
{
    int32_t n;
    if (!read_count(residents, list, count, &n))
        return false;
    for (int32_t i = 0; i < n; i++) {
        uint64_t addr;
        struct block block;
        if (!read_pointer(residents, head + (uint64_t)i * WORD, &addr) ||
            !residents_is(residents, list, addr, 0, &block))
            return false;
        add(residents, list, &block);
    }
    return true;
}

static bool
take_single(struct residents *residents, unsigned list, uint64_t head)
{
    uint64_t addr;
    struct block block;
    if (!read_pointer(residents, head, &addr))
        return false;
    if (addr == 0)
        return true;
    if (!residents_is(residents, list, addr, 0, &block))
        return false;
    add(residents, list, &block);
    return true;
}

static bool
take_linked(struct residents *residents, unsigned list, uint64_t head,
            uint64_t count, unsigned length)
{
    int32_t n;
    uint64_t addr;
    return read_count(residents, list, count, &n) &&
           read_pointer(residents, head, &addr) &&
           take_chain(residents, list, addr, n, length);
}

static bool
take_tuples(struct residents *residents, unsigned list, uint64_t head,
            uint64_t count)
{
    const struct cpython_lists *lists = &residents->lists;
    for (unsigned i = 0; i < CPYTHON_LIST_LENGTHS; i++) {
        const unsigned length = i + lists->first_length;
        /* The empty tuple is alive, for ever. */
        if (length != 0 &&
            !take_linked(residents, list, head + i * lists->head_stride,
                         count + i * lists->count_stride, length))
            return false;
    }
    return true;
}

bool
residents_take(struct residents *residents, unsigned list, uint64_t head,
               uint64_t count)
{
    const size_t before = residents->n_residents;
    bool is_taken = false;
    switch (residents->lists.lists[list].shape) {
    case CPYTHON_LIST_CHAIN:
        is_taken = take_linked(residents, list, head, count, 0);
        break;
    case CPYTHON_LIST_ARRAY:
        is_taken = take_array(residents, list, head, count);
        break;
    case CPYTHON_LIST_TUPLES:
        is_taken = take_tuples(residents, list, head, count);
        break;
    case CPYTHON_LIST_SINGLE:
        is_taken = take_single(residents, list, head);
        break;
    }
    if (!is_taken)
        residents->n_residents = before;
    return is_taken;
}

/* ---- what may be on a list --------------------------------------------- */

unsigned
residents_list_of(struct residents *residents, uint64_t addr)
{
    const struct cpython_lists *lists = &residents->lists;
    struct head head;
    if (addr % WORD != 0 ||
        !peek_read(residents->peek, addr, &head, sizeof(head)))
        return (unsigned)lists->n_lists;
    for (unsigned i = 0; i < lists->n_lists; i++) {
        const bool is_tuple = lists->lists[i].shape == CPYTHON_LIST_TUPLES;
        struct block block;
        if ((!is_tuple || head.size < CPYTHON_LIST_LENGTHS + 1) &&
            residents_is(residents, i, addr, is_tuple ? (unsigned)head.size : 0,
                         &block) &&
            (block.pool == 0 || block_are_live(residents->peek, &block, 1,
                                               NULL) != BLOCK_NOT_LIVE))
            return i;
    }
    return (unsigned)lists->n_lists;
}
