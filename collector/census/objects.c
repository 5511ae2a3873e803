#include "collector/census/objects.h"

#include <stdlib.h>
#include <string.h>

#include "include/attrs.h"
#include "include/cpython.h"
#include "include/xalloc.h"

/* A count of references beyond this is no count. */
#define MOST_REFERENCES ((uint64_t)1 << 40)

/* From 3.14 the count has 32 bits; flags lie above bit 48. */
#define COUNT_OVERFLOW ((uint64_t)0xffff << 32)

/* A number that might just as well be an address. */
#define LEAST_ADDRESS ((uint64_t)0x10000)

struct objects {
    struct typetable *table;
    uint32_t pres[3]; /* where an object may start in its block */
    unsigned n_pres;
    uint32_t shift;
    bool has_flags_above_count;
    bool has_ints; /* in arenas; those of 2.7 are in blocks of their own */
    bool has_tags; /* an int's digits are counted in a tag */
    struct cpython_containers containers;
    uint64_t *tables;
    size_t n_tables;
    size_t capacity;
};

struct objects *
objects_create(struct memory *memory, const struct census_request *request,
               const struct maps *maps, const struct memory_runs *runs,
               const struct census *census)
{
    const unsigned major = request->python_major;
    const unsigned minor = request->python_minor;
    const struct cpython_layout layout = cpython_layout(major, minor);
    struct objects *objects = xcalloc(1, sizeof(*objects));
    objects->table = typetable_create(memory, maps, runs, census, layout);
    objects->pres[1] = layout.gc_header_bytes;
    objects->pres[2] = layout.gc_header_bytes + 16;
    objects->n_pres = layout.pre_header_flags == 0 ? 2 : 3;
    objects->has_flags_above_count = major == 3 && minor >= 14;
    objects->has_ints = major == 3;
    objects->has_tags = major == 3 && minor >= 12;
    objects->containers = cpython_containers(major);
    return objects;
}

void
objects_destroy(struct objects *objects)
{
    if (objects == NULL)
        return;
    typetable_destroy(objects->table);
    free(objects->tables);
    free(objects);
}

struct typetable *
objects_types(const struct objects *objects)
{
    return objects->table;
}

void
objects_set_shift(struct objects *objects, uint32_t shift)
{
    objects->shift = shift;
}

/* ---- one block --------------------------------------------------------- */

static uint64_t
word_at(const char *bytes, size_t offset)
{
    uint64_t word;
    memcpy(&word, bytes + offset, sizeof(word));
    return word;
}

/*
 * Whether the word before a type pointer can be a reference count. Raw memory
 * may hold {address of an object, address of a type}: in a program at low
 * addresses the former is a small number.
 */
static bool
may_be_count(const struct objects *objects, uint64_t word)
{
    if (objects->has_flags_above_count)
        return (word & COUNT_OVERFLOW) == 0 &&
               ((word & 0xffffffff) < LEAST_ADDRESS || word >> 48 != 0 ||
                !typetable_is_object(objects->table, word));
    return word < MOST_REFERENCES &&
           (word < LEAST_ADDRESS || !typetable_is_object(objects->table, word));
}

static bool
is_on_free_list(const struct objects *objects, uint64_t count)
{
    return (objects->has_flags_above_count ? count & 0xffffffff : count) == 0;
}

/* Where a container of that type keeps the address of its second block. */
static uint32_t
table_offset(const struct objects *objects, const struct type *type)
{
    switch (type->container) {
    case CONTAINER_none:
        break;
    case CONTAINER_list:
        return objects->containers.list_items_at;
    case CONTAINER_dict:
        return objects->containers.dict_table_at;
    case CONTAINER_set:
        return objects->containers.set_table_at;
    case CONTAINER_bytearray:
        return objects->containers.bytearray_at;
    case CONTAINER_unicode:
        return objects->containers.unicode_at;
    }
    return 0;
}

static void
note_table(struct objects *objects, const struct type *type,
           const struct objects_block *block, uint32_t object_at)
{
    const uint32_t at = table_offset(objects, type);
    if (at == 0 || object_at + at + sizeof(uint64_t) > block->n_here)
        return;
    const uint64_t address = word_at(block->bytes, object_at + at);
    if (address < LEAST_ADDRESS ||
        typetable_is_in_arena(objects->table, address))
        return;
    XGROW(objects->tables, objects->capacity, objects->n_tables);
    objects->tables[objects->n_tables++] = address - objects->shift;
}

/*
 * An object that the interpreter's collector does not track has nothing in the
 * first word of its header, and in the second what an earlier block had left
 * there: a dead object is believed only if nothing in the block is alive.
 */
unsigned
objects_classify(struct objects *objects, const struct objects_block *block)
{
    unsigned found = TYPE_RAW;
    for (unsigned i = 0; i < objects->n_pres; i++) {
        const uint32_t pre = objects->pres[i] + objects->shift;
        if (pre + 16 > block->n_here)
            break;
        const uint64_t pointer =
            word_at(block->bytes, pre + CPYTHON_OBJECT_TYPE_AT);
        const unsigned number = typetable_find(objects->table, pointer);
        if (number == 0)
            continue;
        const uint64_t count = word_at(block->bytes, pre);
        const bool may_count = may_be_count(objects, count);
        const struct type *type = typetable_type(objects->table, number);
        if (type->pre_bytes != objects->pres[i] ||
            pre + type->least_bytes > block->n_bytes || !may_count)
            continue;
        if (!is_on_free_list(objects, count)) {
            note_table(objects, type, block, pre);
            return number;
        }
        found = TYPE_FREE_LIST;
    }
    return found;
}

/* ---- singles ----------------------------------------------------------- */

static uint32_t
half_word_at(const char *bytes, size_t offset)
{
    uint32_t half;
    memcpy(&half, bytes + offset, sizeof(half));
    return half;
}

static bool
is_small_int(const struct objects *objects, const char *object)
{
    const uint64_t tag = word_at(object, CPYTHON_INT_TAG_AT);
    const uint32_t digit = half_word_at(object, CPYTHON_INT_DIGIT_AT);
    const bool is_positive =
        tag == (objects->has_tags ? (uint64_t)1 << CPYTHON_INT_TAG_SHIFT : 1);
    const bool is_negative =
        tag == (objects->has_tags ? (uint64_t)1 << CPYTHON_INT_TAG_SHIFT |
                                        CPYTHON_INT_TAG_NEGATIVE
                                  : UINT64_MAX);
    const bool is_zero = tag == (objects->has_tags ? CPYTHON_INT_TAG_ZERO : 0);
    return is_zero || (is_positive && digit <= CPYTHON_MOST_SMALL_INT) ||
           (is_negative && digit <= -CPYTHON_LEAST_SMALL_INT);
}

enum recording_single
objects_single(const struct objects *objects, unsigned number,
               const struct objects_block *block)
{
    const struct type *type = typetable_type(objects->table, number);
    const uint32_t pre = type->pre_bytes + objects->shift;
    if (pre + CPYTHON_STR_STATE_AT + sizeof(uint32_t) <= block->n_here &&
        type->builtin == BUILTIN_str) {
        const uint32_t state =
            half_word_at(block->bytes + pre, CPYTHON_STR_STATE_AT) &
            CPYTHON_STR_INTERNED;
        return state == 0                      ? N_SINGLES
               : state >= CPYTHON_STR_IMMORTAL ? SINGLE_immortal_str
                                               : SINGLE_interned_str;
    }
    if (pre + CPYTHON_INT_DIGIT_AT + sizeof(uint32_t) <= block->n_here &&
        type->builtin == BUILTIN_int && objects->has_ints &&
        is_small_int(objects, block->bytes + pre))
        return SINGLE_small_int;
    return N_SINGLES;
}

bool
objects_has_ints(const struct objects *objects)
{
    return objects->has_ints;
}

/* ---- tables ------------------------------------------------------------ */

static int
compare_addresses(const void *left, const void *right)
{
    const uint64_t a = *(const uint64_t *)left;
    const uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

const uint64_t *
objects_tables(struct objects *objects, size_t *n)
{
    *n = objects->n_tables;
    if (objects->n_tables != 0)
        qsort(objects->tables, objects->n_tables, sizeof(objects->tables[0]),
              compare_addresses);
    return objects->tables;
}
