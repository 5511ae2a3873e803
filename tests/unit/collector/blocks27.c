/* Blocks of a child that lays them out as 2.7 does. */
#include "collector/census/blocks27.h"

#include <stdlib.h>

#include "collector/census/maps.h"
#include "include/attrs.h"
#include "tests/unit/check.h"
#include "tests/unit/collector/interpreter.h"
#include "tests/unit/collector/target.h"

enum {
    PAGE = MEMORY_PAGE,
    BLOCK = CPYTHON_BLOCK27_BYTES,
    SLOTS = CPYTHON_BLOCK27_SLOTS,
    SLOT = CPYTHON_BLOCK27_SLOT_BYTES,
    CHUNK = 1008, /* what malloc makes of a block */
    MOST = 64,
    TYPE_BYTES = 256,
};

TestSuite(blocks27, .timeout = 20);

/* ---- one block, by itself ---------------------------------------------- */

static uint64_t words[BLOCKS27_WORDS];
static const struct blocks27_types types = {0x1000, 0x2000};

/* Blocks of the test are at 0x100000 and behind, a chunk apart. */
static bool
is_test_block(const void *context, uint64_t addr)
{
    (void)context;
    return addr >= 0x100000 && addr < 0x100000 + MOST * CHUNK &&
           (addr - 0x100000) % CHUNK == 0;
}

static bool
is_test_slot(const void *context, uint64_t addr)
{
    (void)context;
    const uint64_t offset = (addr - 0x100000) % CHUNK;
    return addr >= 0x100000 && addr < 0x100000 + MOST * CHUNK && offset >= 8 &&
           offset < BLOCK && (offset - 8) % SLOT == 0;
}

static void
set(unsigned slot, uint64_t references, uint64_t type)
{
    words[1 + 3 * slot] = references;
    words[2 + 3 * slot] = type;
    words[3 + 3 * slot] = slot;
}

static void
set_all(uint64_t references, uint64_t type)
{
    memset(words, 0, sizeof(words));
    for (unsigned i = 0; i < SLOTS; i++)
        set(i, references, type);
}

static enum blocks27_kind
judge(uint64_t *live)
{
    const struct blocks27_others others = {is_test_block, is_test_slot, NULL};
    return blocks27_judge(words, &types, &others, live);
}

static enum blocks27_kind
kind(void)
{
    uint64_t live;
    return judge(&live);
}

Test(blocks27, a_block_of_live_objects_has_their_kind)
{
    uint64_t live;
    set_all(1, 0x1000);
    check_eq(judge(&live), BLOCKS27_INT);
    check_eq(live, ((uint64_t)1 << SLOTS) - 1);
    set_all(7, 0x2000);
    words[0] = 0x100000;
    check_eq(judge(&live), BLOCKS27_FLOAT);
    check_eq(live, ((uint64_t)1 << SLOTS) - 1);
}

Test(blocks27, free_slots_are_linked_whatever_else_they_hold)
{
    uint64_t live;
    set_all(0xfeed, 0x100008);
    set(5, 0, 0x100008 + 3 * CHUNK + 40 * SLOT);
    set(7, 0, 0);
    check_eq(judge(&live), BLOCKS27_FREE);
    check_eq(live, 0);
    set(3, 2, 0x2000);
    check_eq(judge(&live), BLOCKS27_FLOAT);
    check_eq(live, 8);
}

Test(blocks27, what_is_neither_object_nor_link_makes_no_block)
{
    set_all(1, 0x1000);
    set(40, 0, 0x3000);
    check_eq(kind(), BLOCKS27_NONE);
    set(40, 0, 0x100000 + 9); /* beside a slot */
    check_eq(kind(), BLOCKS27_NONE);
    set(40, 0, 0x100000); /* before the first */
    check_eq(kind(), BLOCKS27_NONE);
    set(40, 0, 0x100008);
    check_eq(kind(), BLOCKS27_INT);
}

Test(blocks27, an_object_has_references_and_its_block_one_kind)
{
    set_all(1, 0x1000);
    set(0, 0, 0x1000);
    check_eq(kind(), BLOCKS27_NONE);
    set(0, (uint64_t)1 << 40, 0x1000);
    check_eq(kind(), BLOCKS27_NONE);
    set(0, ((uint64_t)1 << 40) - 1, 0x1000);
    check_eq(kind(), BLOCKS27_INT);
    set(0, 1, 0x2000);
    check_eq(kind(), BLOCKS27_NONE);
}

Test(blocks27, one_slot_ends_a_list_and_no_more)
{
    set_all(1, 0x1000);
    set(0, 0, 0);
    check_eq(kind(), BLOCKS27_INT);
    set(1, 0, 0);
    check_eq(kind(), BLOCKS27_NONE);
    memset(words, 0, sizeof(words));
    check_eq(kind(), BLOCKS27_NONE);
}

Test(blocks27, the_first_word_leads_to_a_block_or_nowhere)
{
    set_all(1, 0x1000);
    words[0] = 0x100000 + CHUNK;
    check_eq(kind(), BLOCKS27_INT);
    words[0] = 0x100000 + 8;
    check_eq(kind(), BLOCKS27_NONE);
    words[0] = 0x7000; /* as malloc hides its links */
    check_eq(kind(), BLOCKS27_NONE);
}

Test(blocks27, a_type_that_is_not_known_has_no_objects)
{
    static const struct blocks27_types none;
    const struct blocks27_others others = {is_test_block, is_test_slot, NULL};
    uint64_t live;
    set_all(0, 0x100008);
    set(0, 0, 0);
    check_eq(blocks27_judge(words, &none, &others, &live), BLOCKS27_FREE);
    check_eq(live, 0);
}

/* ---- all of a target --------------------------------------------------- */

static char *heap;
static char *type_objects; /* type, int, float */

static char *
chunk(unsigned number)
{
    return heap + 16 + (size_t)number * CHUNK;
}

static char *
slot(unsigned number, unsigned index)
{
    return chunk(number) + CPYTHON_BLOCK27_SLOTS_AT + (size_t)index * SLOT;
}

static void
lay_types(void)
{
    const struct interpreter_type type = {NULL, "type", 408, 40,
                                          CPYTHON_TYPE_SUBCLASS};
    const struct interpreter_type int_type = {type_objects, "int", 24, 0, 0};
    const struct interpreter_type float_type = {type_objects, "float", 24, 0,
                                                0};
    interpreter_lay_type(type_objects, &type);
    interpreter_lay_type(type_objects + TYPE_BYTES, &int_type);
    interpreter_lay_type(type_objects + 2 * TYPE_BYTES, &float_type);
}

static char *
type_of(enum blocks27_kind kind)
{
    return type_objects + (kind == BLOCKS27_INT ? 1 : 2) * TYPE_BYTES;
}

/*
 * Blocks of one kind, as fill_free_list leaves them: each linked to the older
 * one, each free slot to the one before it, the first n_live of each live.
 */
static void
lay_blocks(unsigned first, unsigned n, unsigned n_live, enum blocks27_kind kind)
{
    uint64_t head = 0;
    for (unsigned i = 0; i < n; i++) {
        const uint64_t older = i == 0 ? 0 : (uintptr_t)chunk(first + i - 1);
        interpreter_put(chunk(first + i), 0, older);
        for (unsigned k = 0; k < SLOTS; k++) {
            const bool is_live = k < n_live;
            interpreter_put(slot(first + i, k), 0, is_live ? 1 : 0x5a5a);
            interpreter_put(slot(first + i, k), CPYTHON_OBJECT_TYPE_AT,
                            is_live ? (uintptr_t)type_of(kind) : head);
            if (!is_live)
                head = (uintptr_t)slot(first + i, k);
        }
    }
}

static struct census_never_returned never;
static struct census_single small;

/* Reads n chunks of a target with this layout; the caller frees the blocks. */
static struct blocks27_block *
read_blocks(void (*lay_out)(void *), size_t *n)
{
    heap = target_reserve((MOST * CHUNK / PAGE + 2) * PAGE, PAGE);
    type_objects = target_reserve(PAGE, PAGE);
    struct target target = target_start(lay_out, NULL);
    struct memory *memory = target_memory(&target, target.pid);
    struct maps maps = maps_parse(memory_maps_text(memory));
    struct memory_runs runs = {0};
    struct census census = {0};
    check_true(memory_scan(memory, 0, MEMORY_END, &runs));
    struct typetable *table =
        typetable_create(memory, &maps, &runs, &census, cpython_layout(2, 7));
    uint64_t chunks[MOST];
    for (unsigned i = 0; i < *n; i++)
        chunks[i] = (uintptr_t)chunk(i);
    const struct blocks27_types found =
        blocks27_find_types(memory, &runs, table, chunks, *n);
    struct blocks27_block *blocks =
        blocks27_read(memory, &runs, &found, chunks, n, &census);
    never = census.never_returned;
    small = census.singles[SINGLE_small_int];
    check_true(small.is_known);
    check_true(never.has_blocks27);
    typetable_destroy(table);
    memory_runs_finish(&runs);
    maps_finish(&maps);
    memory_destroy(memory);
    target_end(&target);
    return blocks;
}

static void
check_sum(const struct census_blocks27 *sum, unsigned n_blocks, unsigned n_live)
{
    check_eq(sum->n_blocks, n_blocks);
    check_eq(sum->reserved_bytes, n_blocks * BLOCK);
    check_eq(sum->live_bytes, n_live * SLOT);
    check_eq(sum->n_free, n_blocks * SLOTS - n_live);
}

static void
lay_both(void *context)
{
    (void)context;
    lay_types();
    lay_blocks(0, 10, 5, BLOCKS27_INT);
    memset(chunk(10), 0x11, BLOCK); /* somebody else's */
    lay_blocks(11, 3, SLOTS, BLOCKS27_FLOAT);
    memset(chunk(14), 0, BLOCK);
}

Test(blocks27, ints_and_floats_are_told_apart_and_from_others)
{
    size_t n = 15;
    struct blocks27_block *blocks = read_blocks(lay_both, &n);
    check_eq(n, 13);
    for (unsigned i = 0; i < n; i++) {
        check_eq(blocks[i].addr, (uintptr_t)chunk(i < 10 ? i : i + 1));
        check_eq(blocks[i].kind, i < 10 ? BLOCKS27_INT : BLOCKS27_FLOAT);
        check_eq(blocks[i].live, i < 10 ? 31 : ((uint64_t)1 << SLOTS) - 1);
    }
    check_sum(&never.ints, 10, 50);
    check_sum(&never.floats, 3, 3 * SLOTS);
    free(blocks);
}

/* All die but those of one block, which is not the oldest. */
static void
lay_dead(void *context)
{
    lay_both(context);
    lay_blocks(0, 10, 0, BLOCKS27_INT);
    interpreter_put(slot(4, 7), 0, 3);
    interpreter_put(slot(4, 7), CPYTHON_OBJECT_TYPE_AT,
                    (uintptr_t)type_of(BLOCKS27_INT));
    /* What was linked to it is linked to the one before. */
    interpreter_put(slot(4, 8), CPYTHON_OBJECT_TYPE_AT, (uintptr_t)slot(4, 6));
}

Test(blocks27, a_block_without_an_object_has_the_kind_of_its_neighbours)
{
    size_t n = 15;
    free(read_blocks(lay_dead, &n));
    check_eq(n, 13);
    check_sum(&never.ints, 10, 1);
    check_eq(never.ints.n_pinned, 1);
    check_eq(never.ints.n_empty, 9);
    check_sum(&never.floats, 3, 3 * SLOTS);
    check_eq(never.floats.n_pinned + never.floats.n_empty, 0);
}

/* Of what lives, and of no float. */
static void
lay_small(void *context)
{
    static const int64_t values[] = {-6, -5, 256, 257, 0};
    lay_both(context);
    for (unsigned i = 0; i < 5; i++) {
        interpreter_put(slot(3, i), CPYTHON_INT27_VALUE_AT,
                        (uint64_t)values[i]);
        interpreter_put(slot(11, i), CPYTHON_INT27_VALUE_AT, 7);
    }
    for (unsigned i = 0; i < 10; i++) {
        for (unsigned k = 0; k < 5; k++) {
            if (i != 3)
                interpreter_put(slot(i, k), CPYTHON_INT27_VALUE_AT, 1000);
        }
    }
}

Test(blocks27, small_ints_are_those_from_minus_5_to_256)
{
    size_t n = 15;
    free(read_blocks(lay_small, &n));
    check_eq(small.n_objects, 3);
    check_eq(small.n_bytes, 3 * SLOT);
}

static void
lay_lonely(void *context)
{
    lay_both(context);
    lay_blocks(11, 3, 0, BLOCKS27_FLOAT);
}

Test(blocks27, dead_blocks_alone_are_of_the_other_kind)
{
    size_t n = 15;
    free(read_blocks(lay_lonely, &n));
    check_eq(n, 13);
    check_sum(&never.ints, 10, 50);
    check_sum(&never.floats, 3, 0);
}

static void
lay_third(void *context)
{
    lay_both(context);
    lay_blocks(15, 3, 0, BLOCKS27_INT); /* hang together with nobody */
}

Test(blocks27, there_is_no_third_kind)
{
    size_t n = 18;
    free(read_blocks(lay_third, &n));
    check_eq(n, 13);
    check_sum(&never.ints, 10, 50);
}

static void
lay_two_lonely(void *context)
{
    lay_third(context);
    lay_blocks(11, 3, 0, BLOCKS27_FLOAT);
}

Test(blocks27, of_two_dead_kinds_none_is_believed)
{
    size_t n = 18;
    free(read_blocks(lay_two_lonely, &n));
    check_eq(n, 10);
    check_sum(&never.ints, 10, 50);
    check_sum(&never.floats, 0, 0);
}

static void
lay_given_back(void *context)
{
    lay_both(context);
    lay_blocks(15, 1, 0, BLOCKS27_INT);
    interpreter_put(slot(15, 0), CPYTHON_OBJECT_TYPE_AT,
                    (uintptr_t)slot(3, 20));    /* it was one of them */
    interpreter_put(chunk(15), 0, 0x123456789); /* now malloc's */
}

Test(blocks27, a_block_that_was_given_back_is_none)
{
    size_t n = 16;
    free(read_blocks(lay_given_back, &n));
    check_eq(n, 13);
    check_sum(&never.ints, 10, 50);
}

/* Free slots that lead into what is no block, by way of another. */
static void
lay_false_links(void *context)
{
    lay_both(context);
    lay_blocks(15, 2, 0, BLOCKS27_INT);
    interpreter_put(slot(15, 0), CPYTHON_OBJECT_TYPE_AT,
                    (uintptr_t)slot(10, 20));
    interpreter_put(slot(15, 1), CPYTHON_OBJECT_TYPE_AT,
                    (uintptr_t)slot(0, 20));
}

/* The same, where the block that leads astray comes last. */
static void
lay_false_links_behind(void *context)
{
    lay_both(context);
    lay_blocks(15, 2, 0, BLOCKS27_INT);
    interpreter_put(slot(15, 0), CPYTHON_OBJECT_TYPE_AT,
                    (uintptr_t)slot(16, 20));
    interpreter_put(slot(15, 1), CPYTHON_OBJECT_TYPE_AT,
                    (uintptr_t)slot(0, 20));
    interpreter_put(slot(16, 0), CPYTHON_OBJECT_TYPE_AT,
                    (uintptr_t)slot(10, 20));
}

Test(blocks27, links_lead_into_blocks_at_every_remove)
{
    size_t n = 17;
    free(read_blocks(lay_false_links, &n));
    check_eq(n, 13);
    check_sum(&never.ints, 10, 50);
    n = 17;
    free(read_blocks(lay_false_links_behind, &n));
    check_eq(n, 13);
    check_sum(&never.ints, 10, 50);
}

static void
lay_nothing(void *context)
{
    (void)context;
    lay_types();
}

Test(blocks27, what_is_not_resident_is_no_block)
{
    size_t n = 15;
    free(read_blocks(lay_nothing, &n));
    check_eq(n, 0);
    check_eq(never.ints.n_blocks, 0);
    n = 0;
    free(read_blocks(lay_both, &n));
    check_eq(n, 0);
}
