/*
 * cpython_lists.h - the free lists of CPython, by version, on x86-64
 *
 * A type keeps some of its dead objects for reuse: linked through one of their
 * words, or in an array. Beside the head stands how many there are.
 *
 * To 3.9 heads and counts are static variables of the type's own file; where
 * they lie depends on the compiler. From 3.10 they are in the interpreter's
 * state (Include/internal/pycore_interp.h), from 3.13 together
 * (pycore_object_state.h, pycore_freelist.h), from 3.14 all of one shape
 * (pycore_freelist_state.h). Offsets were read with a debugger from 3.10.13,
 * 3.11.7, 3.12.1 and 3.13.0, and from the headers of 3.14.10 and 3.15.2.
 *
 * Not here are lists of extension modules (to 3.13 _asyncio's FutureIter, at
 * most 255; to 3.8 blocks of _collections' deque, at most 16), and frames that
 * to 3.10 a code object keeps for itself.
 */
#ifndef INCLUDE_CPYTHON_LISTS_H
#define INCLUDE_CPYTHON_LISTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "include/attrs.h"

enum cpython_list_shape {
    CPYTHON_LIST_CHAIN,  /* a head and a count */
    CPYTHON_LIST_ARRAY,  /* of pointers, and a count */
    CPYTHON_LIST_TUPLES, /* a chain for each length */
    CPYTHON_LIST_SINGLE, /* one pointer, or NULL */
};

enum {
    CPYTHON_LIST_LENGTHS = 20, /* PyTuple_MAXSAVESIZE */
    CPYTHON_LIST_MOST = 2000,  /* residents of any list, of one length */
    CPYTHON_MOST_LISTS = 32,
    /* Of a dict's smallest keys: to 3.10, and with words for keys since. */
    CPYTHON_LIST_OLD_KEYS_BYTES = 40 + 8 + 5 * 24,
    CPYTHON_LIST_KEYS_BYTES = 32 + 8 + 5 * 16,
};

struct cpython_list {
    const char *name; /* that it is reported by */
    const char *type; /* of its residents; NULL: they are no objects */
    enum cpython_list_shape shape;
    uint32_t link_at;  /* in a resident, of a chain */
    uint32_t most;     /* residents, of one length */
    uint32_t head_at;  /* in PyInterpreterState, from 3.10 */
    uint32_t count_at; /* of 32 bits or, if of 64, never that many */
    uint32_t n_bytes;  /* of a resident that is no object; 0: it varies */
};

struct cpython_lists {
    const struct cpython_list *lists;
    size_t n_lists;
    /* Index of a tuple's list: its length less this. */
    uint32_t first_length;
    /* Apart by so much lie the heads, and the counts, of tuples. */
    uint32_t head_stride;
    uint32_t count_stride;
    /* 3.10 to 3.12: where _PyRuntime has its first interpreter. */
    uint32_t interpreters_at;
    bool is_static; /* heads are static variables */
};

/*
 * From 3.13 _PyRuntime begins with a cookie and a table of offsets
 * (Include/internal/pycore_runtime.h, pycore_debug_offsets.h). Before, the next
 * interpreter is the first word of each.
 */
#define CPYTHON_DEBUG_COOKIE "xdebugpy"
enum {
    CPYTHON_DEBUG_FREE_THREADED_AT = 16,
    CPYTHON_DEBUG_INTERPRETERS_AT = 40,
    CPYTHON_DEBUG_STATE_BYTES_AT = 48,
    CPYTHON_DEBUG_NEXT_AT = 64,
    CPYTHON_DEBUG_BYTES = 72, /* how much of it is read */
    CPYTHON_COLLECTOR_DEBUG_BYTES = 96,
};

/*
 * Where the links are: a float's and 2.7's unicode's over the words that every
 * object has; the others' at f_back, im_self and m_self, ob_item[0],
 * ctx_weakreflist, and an exception's dict. Keys of
 * dicts, of the smallest size, are no objects.
 */
#define CPYTHON_LIST_SINGLE_OF(name, head)                \
    {                                                     \
        name, name, CPYTHON_LIST_SINGLE, 0, 1, head, 0, 0 \
    }
#define CPYTHON_LIST_ARRAY_OF(name, head, count)              \
    {                                                         \
        name, name, CPYTHON_LIST_ARRAY, 0, 80, head, count, 0 \
    }
#define CPYTHON_LIST_CHAIN_OF(name, link, most, head, count)       \
    {                                                              \
        name, name, CPYTHON_LIST_CHAIN, link, most, head, count, 0 \
    }
#define CPYTHON_LIST_FLOATS(head, count)                           \
    {                                                              \
        "float", NULL, CPYTHON_LIST_CHAIN, 8, 100, head, count, 24 \
    }
#define CPYTHON_LIST_RAW_OF(name, most, head, count)            \
    {                                                           \
        name, NULL, CPYTHON_LIST_CHAIN, 0, most, head, count, 0 \
    }
#define CPYTHON_LIST_KEYS(head, count, n_bytes)                           \
    {                                                                     \
        "dictkeys", NULL, CPYTHON_LIST_ARRAY, 0, 80, head, count, n_bytes \
    }
#define CPYTHON_LIST_TUPLES_OF(link, head, count)                         \
    {                                                                     \
        "tuple", "tuple", CPYTHON_LIST_TUPLES, link, 2000, head, count, 0 \
    }

/* What 3.6 to 3.9 have in common. */
#define CPYTHON_LISTS_OF_STATICS                                      \
    CPYTHON_LIST_FLOATS(0, 0), CPYTHON_LIST_TUPLES_OF(24, 0, 0),      \
        CPYTHON_LIST_ARRAY_OF("list", 0, 0),                          \
        CPYTHON_LIST_ARRAY_OF("dict", 0, 0),                          \
        CPYTHON_LIST_KEYS(0, 0, CPYTHON_LIST_OLD_KEYS_BYTES),         \
        CPYTHON_LIST_CHAIN_OF("frame", 24, 200, 0, 0),                \
        CPYTHON_LIST_ARRAY_OF("async_generator_wrapped_value", 0, 0), \
        CPYTHON_LIST_ARRAY_OF("async_generator_asend", 0, 0),         \
        CPYTHON_LIST_CHAIN_OF("MemoryError", 16, 16, 0, 0),           \
        CPYTHON_LIST_SINGLE_OF("slice", 0)

#define CPYTHON_LISTS_OF_CALLS                      \
    CPYTHON_LIST_CHAIN_OF("method", 24, 256, 0, 0), \
        CPYTHON_LIST_CHAIN_OF("builtin_function_or_method", 24, 256, 0, 0)

#define CPYTHON_LISTS_OF_CONTEXTS \
    CPYTHON_LIST_CHAIN_OF("Context", 32, 255, 0, 0)

static const struct cpython_list cpython_lists_2_7[] = {
    CPYTHON_LIST_TUPLES_OF(24, 0, 0),
    CPYTHON_LIST_ARRAY_OF("list", 0, 0),
    CPYTHON_LIST_ARRAY_OF("dict", 0, 0),
    CPYTHON_LIST_ARRAY_OF("set", 0, 0),
    CPYTHON_LIST_CHAIN_OF("frame", 24, 200, 0, 0),
    CPYTHON_LIST_CHAIN_OF("instancemethod", 24, 256, 0, 0),
    CPYTHON_LIST_CHAIN_OF("builtin_function_or_method", 24, 256, 0, 0),
    CPYTHON_LIST_CHAIN_OF("unicode", 0, 1024, 0, 0),
};
static const struct cpython_list cpython_lists_3_6[] = {
    CPYTHON_LISTS_OF_STATICS,
    CPYTHON_LISTS_OF_CALLS,
};
static const struct cpython_list cpython_lists_3_7[] = {
    CPYTHON_LISTS_OF_STATICS,
    CPYTHON_LISTS_OF_CALLS,
    CPYTHON_LISTS_OF_CONTEXTS,
};
static const struct cpython_list cpython_lists_3_9[] = {
    CPYTHON_LISTS_OF_STATICS,
    CPYTHON_LISTS_OF_CONTEXTS,
};
static const struct cpython_list cpython_lists_3_10[] = {
    CPYTHON_LIST_FLOATS(9784, 9776),
    CPYTHON_LIST_SINGLE_OF("slice", 9792),
    CPYTHON_LIST_TUPLES_OF(24, 9800, 9960),
    CPYTHON_LIST_ARRAY_OF("list", 10040, 10680),
    CPYTHON_LIST_ARRAY_OF("dict", 10688, 11328),
    CPYTHON_LIST_KEYS(11336, 11976, CPYTHON_LIST_OLD_KEYS_BYTES),
    CPYTHON_LIST_CHAIN_OF("frame", 24, 200, 11984, 11992),
    CPYTHON_LIST_ARRAY_OF("async_generator_wrapped_value", 12000, 12640),
    CPYTHON_LIST_ARRAY_OF("async_generator_asend", 12648, 13288),
    CPYTHON_LIST_CHAIN_OF("Context", 32, 255, 13296, 13304),
    CPYTHON_LIST_CHAIN_OF("MemoryError", 16, 16, 13320, 13328),
};
static const struct cpython_list cpython_lists_3_11[] = {
    CPYTHON_LIST_FLOATS(3616, 3608),
    CPYTHON_LIST_SINGLE_OF("slice", 3624),
    CPYTHON_LIST_TUPLES_OF(24, 3632, 3792),
    CPYTHON_LIST_ARRAY_OF("list", 3872, 4512),
    CPYTHON_LIST_ARRAY_OF("dict", 4520, 5160),
    CPYTHON_LIST_KEYS(5168, 5808, CPYTHON_LIST_KEYS_BYTES),
    CPYTHON_LIST_ARRAY_OF("async_generator_wrapped_value", 5816, 6456),
    CPYTHON_LIST_ARRAY_OF("async_generator_asend", 6464, 7104),
    CPYTHON_LIST_CHAIN_OF("Context", 32, 255, 7112, 7120),
    CPYTHON_LIST_CHAIN_OF("MemoryError", 16, 16, 7136, 7144),
};
static const struct cpython_list cpython_lists_3_12[] = {
    CPYTHON_LIST_FLOATS(267416, 267408),
    CPYTHON_LIST_SINGLE_OF("slice", 269824),
    CPYTHON_LIST_TUPLES_OF(24, 269832, 269992),
    CPYTHON_LIST_ARRAY_OF("list", 270072, 270712),
    CPYTHON_LIST_ARRAY_OF("dict", 270736, 272016),
    CPYTHON_LIST_KEYS(271376, 272020, CPYTHON_LIST_KEYS_BYTES),
    CPYTHON_LIST_ARRAY_OF("async_generator_wrapped_value", 272088, 272728),
    CPYTHON_LIST_ARRAY_OF("async_generator_asend", 272736, 273376),
    CPYTHON_LIST_CHAIN_OF("Context", 32, 255, 273384, 273392),
    CPYTHON_LIST_CHAIN_OF("MemoryError", 16, 16, 273408, 273416),
};
static const struct cpython_list cpython_lists_3_13[] = {
    CPYTHON_LIST_FLOATS(10960, 10952),
    CPYTHON_LIST_TUPLES_OF(24, 10968, 11128),
    CPYTHON_LIST_ARRAY_OF("list", 11208, 11848),
    CPYTHON_LIST_ARRAY_OF("dict", 11856, 12496),
    CPYTHON_LIST_KEYS(12504, 13144, CPYTHON_LIST_KEYS_BYTES),
    CPYTHON_LIST_SINGLE_OF("slice", 13152),
    CPYTHON_LIST_CHAIN_OF("Context", 32, 255, 13160, 13168),
    CPYTHON_LIST_ARRAY_OF("async_generator_wrapped_value", 13176, 13816),
    CPYTHON_LIST_ARRAY_OF("async_generator_asend", 13824, 14464),
    CPYTHON_LIST_RAW_OF("object_stack_chunk", 4, 14472, 14480),
    CPYTHON_LIST_CHAIN_OF("MemoryError", 16, 16, 82648, 82656),
};

/* The number-th of the lists that start at base: {head, count} each. */
#define CPYTHON_LIST_PAIR(base, number) \
    (base) + 16 * (number), (base) + 16 * (number) + 8
#define CPYTHON_LIST_NTH(name, most, base, number) \
    {                                              \
        name, name, CPYTHON_LIST_CHAIN, 0, most,   \
            CPYTHON_LIST_PAIR(base, number), 0     \
    }
#define CPYTHON_LIST_NTH_RAW(name, most, base, number, n_bytes) \
    {                                                           \
        name, NULL, CPYTHON_LIST_CHAIN, 0, most,                \
            CPYTHON_LIST_PAIR(base, number), n_bytes            \
    }

/* What 3.14 and 3.15 have alike; `base` is that of ints, writers vary. */
#define CPYTHON_LISTS_OF_PAIRS(base)                                     \
    CPYTHON_LIST_NTH("int", 100, base, 0),                               \
        CPYTHON_LIST_TUPLES_OF(0, (base) + 16, (base) + 24),             \
        CPYTHON_LIST_NTH("list", 80, base, 21),                          \
        CPYTHON_LIST_NTH("list_iterator", 10, base, 22),                 \
        CPYTHON_LIST_NTH("tuple_iterator", 10, base, 23),                \
        CPYTHON_LIST_NTH("dict", 80, base, 24),                          \
        CPYTHON_LIST_NTH_RAW("dictkeys", 80, base, 25,                   \
                             CPYTHON_LIST_KEYS_BYTES),                   \
        CPYTHON_LIST_NTH("slice", 1, base, 26),                          \
        CPYTHON_LIST_NTH("range", 6, base, 27),                          \
        CPYTHON_LIST_NTH("range_iterator", 6, base, 28),                 \
        CPYTHON_LIST_NTH("Context", 255, base, 29),                      \
        CPYTHON_LIST_NTH("async_generator_wrapped_value", 80, base, 30), \
        CPYTHON_LIST_NTH("async_generator_asend", 80, base, 31),         \
        CPYTHON_LIST_NTH("FutureIter", 255, base, 32),                   \
        CPYTHON_LIST_NTH_RAW("object_stack_chunk", 4, base, 33, 0),      \
        CPYTHON_LIST_NTH_RAW("unicode_writer", 1, base, 34, 0)

#define CPYTHON_LISTS_OF_CALL_PAIRS(base)                        \
    CPYTHON_LIST_NTH("builtin_function_or_method", 16, base, 0), \
        CPYTHON_LIST_NTH("builtin_method", 16, base, 1),         \
        CPYTHON_LIST_NTH("method", 20, base, 2)

static const struct cpython_list cpython_lists_3_14[] = {
    CPYTHON_LIST_NTH("float", 100, 11120, 0),
    CPYTHON_LISTS_OF_PAIRS(11136),
    CPYTHON_LISTS_OF_CALL_PAIRS(11696),
    CPYTHON_LIST_CHAIN_OF("MemoryError", 16, 16, 79896, 79904),
};
static const struct cpython_list cpython_lists_3_15[] = {
    CPYTHON_LIST_NTH("float", 100, 11096, 0),
    CPYTHON_LIST_NTH("complex", 100, 11096, 1),
    CPYTHON_LISTS_OF_PAIRS(11128),
    CPYTHON_LIST_NTH_RAW("bytes_writer", 1, 11128, 35, 0),
    CPYTHON_LISTS_OF_CALL_PAIRS(11704),
    CPYTHON_LIST_CHAIN_OF("MemoryError", 16, 16, 79904, 79912),
};

#define CPYTHON_LISTS_ARE(version, first)                                   \
    (struct cpython_lists)                                                  \
    {                                                                       \
        .lists = cpython_lists_##version,                                   \
        .n_lists = countof(cpython_lists_##version), .first_length = first, \
        .head_stride = 8, .count_stride = 4,                                \
    }

/* n_lists 0: no lists are known of this version. */
static inline struct cpython_lists
cpython_lists(unsigned major, unsigned minor)
{
    struct cpython_lists lists = {0};
    if (major == 2 && minor == 7)
        lists = CPYTHON_LISTS_ARE(2_7, 0);
    else if (major != 3)
        return lists;
    switch (major == 3 ? minor : 0) {
    case 6:
        lists = CPYTHON_LISTS_ARE(3_6, 0);
        break;
    case 7:
    case 8:
        lists = CPYTHON_LISTS_ARE(3_7, 0);
        break;
    case 9:
        lists = CPYTHON_LISTS_ARE(3_9, 0);
        break;
    case 10:
        lists = CPYTHON_LISTS_ARE(3_10, 0);
        break;
    case 11:
        lists = CPYTHON_LISTS_ARE(3_11, 1);
        break;
    case 12:
        lists = CPYTHON_LISTS_ARE(3_12, 1);
        break;
    case 13:
        lists = CPYTHON_LISTS_ARE(3_13, 1);
        break;
    case 14:
        lists = CPYTHON_LISTS_ARE(3_14, 1);
        break;
    case 15:
        lists = CPYTHON_LISTS_ARE(3_15, 1);
        break;
    }
    lists.is_static = major == 2 || minor <= 9;
    lists.interpreters_at = minor == 10 ? 32 : 40;
    if (major == 3 && minor >= 14)
        lists.head_stride = lists.count_stride = 16;
    return lists;
}

#endif
