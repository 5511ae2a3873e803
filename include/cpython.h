/*
 * cpython.h - how CPython lays out its memory, by version, on x86-64
 *
 * Offsets were read with a debugger from builds of 2.7.18, 3.6.15, 3.7.16,
 * 3.8.18, 3.9.18, 3.10.13, 3.11.7, 3.12.1 and 3.13.0, and from the debugging
 * symbols of Debian's 3.14 and 3.15; the rules behind them stand in
 * Objects/obmalloc.c (pools, arenas), Include/object.h (objects, types) and
 * Modules/gcmodule.c or Python/gc.c (the collector's header).
 *
 * Only default builds: free-threaded ones have no pymalloc.
 */
#ifndef INCLUDE_CPYTHON_H
#define INCLUDE_CPYTHON_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- pymalloc ---------------------------------------------------------- */

enum {
    CPYTHON_POOL_HEADER_BYTES = 48,
    CPYTHON_ALIGNMENT = 16,
    CPYTHON_OLD_ALIGNMENT = 8, /* before 2.7.17 and 3.6.9 or so */
    CPYTHON_LARGEST_BLOCK = 512,
    CPYTHON_N_CLASSES = CPYTHON_LARGEST_BLOCK / CPYTHON_OLD_ALIGNMENT,
    CPYTHON_SMALL_POOL = 4096,  /* to 3.9 */
    CPYTHON_LARGE_POOL = 16384, /* from 3.10 */
    CPYTHON_SMALL_ARENA = 256 * 1024,
    CPYTHON_LARGE_ARENA = 1024 * 1024,
    CPYTHON_HUGE_ARENA = 2 * 1024 * 1024, /* 3.15 with huge pages */
};

/*
 * struct pool_header, the same from 2.7 to 3.15. Blocks follow at
 * CPYTHON_POOL_HEADER_BYTES, size bytes each. Blocks below nextoffset were
 * carved; those in use number `count`, the rest are on the list from
 * freeblock, linked through their first word. So count + length of the list ==
 * carved blocks, which no other memory does by chance.
 */
struct cpython_pool {
    uint32_t count;
    uint32_t count_padding; /* of a union with a pointer: 0 */
    uint64_t freeblock;
    uint64_t nextpool;
    uint64_t prevpool;
    uint32_t arenaindex;
    uint32_t szidx; /* size == (szidx + 1) * alignment */
    uint32_t nextoffset;
    uint32_t maxnextoffset; /* == pool size - size */
};

static_assert(sizeof(struct cpython_pool) == CPYTHON_POOL_HEADER_BYTES,
              "as obmalloc lays it out");

/*
 * What precedes a block's data under PYTHONMALLOC=debug: its size big-endian,
 * a letter for the domain, seven forbidden bytes (_PyMem_DebugRawAlloc).
 */
enum {
    CPYTHON_DEBUG_PREFIX_BYTES = 16,
    CPYTHON_DEBUG_LETTER_AT = 8,
    CPYTHON_DEBUG_FORBIDDEN_AT = 9,
    CPYTHON_DEBUG_FORBIDDEN_BYTES = 7,
    CPYTHON_DEBUG_FORBIDDEN = 0xfd,        /* from 3.8 */
    CPYTHON_DEBUG_FORBIDDEN_BEFORE = 0xfb, /* to 3.7 */
};

/*
 * From 3.11 each thread's data stack lies in chunks that the arena allocator
 * gives (Include/internal/pycore_interp.h, struct _stack_chunk).
 */
struct cpython_stack_chunk {
    uint64_t previous;
    uint64_t size; /* of the whole mapping */
    uint64_t top;  /* in words, below size / 8 */
};

enum { CPYTHON_STACK_CHUNK_BYTES = 16384 };

/* ---- objects ----------------------------------------------------------- */

/* The words of a type object that are read (struct _typeobject). */
enum {
    CPYTHON_OBJECT_TYPE_AT = 8,
    CPYTHON_OBJECT_SIZE_AT = 16, /* ob_size, where items follow */
    CPYTHON_TYPE_NAME_AT = 24,
    CPYTHON_TYPE_BASICSIZE_AT = 32,
    CPYTHON_TYPE_ITEMSIZE_AT = 40,
    CPYTHON_TYPE_FLAGS_AT = 168,
    CPYTHON_TYPE_BYTES = 176, /* how much of it is read */
};

/*
 * 2.7 keeps ints and floats in blocks that it asks malloc for: a link to an
 * older block, then objects {references, type, value}. Free objects are linked
 * through their type, whatever their first word (Objects/intobject.c and
 * Objects/floatobject.c, struct _intblock and _floatblock, fill_free_list).
 */
enum {
    CPYTHON_BLOCK27_BYTES = 992,
    CPYTHON_BLOCK27_SLOTS = 41,
    CPYTHON_BLOCK27_SLOTS_AT = 8,
    CPYTHON_BLOCK27_SLOT_BYTES = 24,
};

static_assert(CPYTHON_BLOCK27_SLOTS_AT +
                      CPYTHON_BLOCK27_SLOTS * CPYTHON_BLOCK27_SLOT_BYTES ==
                  CPYTHON_BLOCK27_BYTES,
              "as 2.7 lays it out");

/*
 * Objects that are there once for all who use them. Ints of -5 to 256 are made
 * when the interpreter begins: in 2.7 in its blocks of ints, in 3.9 and 3.10 in
 * arenas, else in its image (Objects/intobject.c and longobject.c,
 * pycore_global_objects.h). An interned string says so itself: two bits, 0 for
 * no, 1 for as long as it is used, 2 and 3 for ever (ob_sstate of 2.7's
 * PyStringObject, state.interned of PyASCIIObject).
 */
enum {
    CPYTHON_LEAST_SMALL_INT = -5,
    CPYTHON_MOST_SMALL_INT = 256,
    CPYTHON_INT27_VALUE_AT = 16,
    /* ob_size of 3.x, from 3.12 lv_tag: the count of digits, and the sign. */
    CPYTHON_INT_TAG_AT = 16,
    CPYTHON_INT_TAG_SHIFT = 3,
    CPYTHON_INT_TAG_ZERO = 1,
    CPYTHON_INT_TAG_NEGATIVE = 2,
    CPYTHON_INT_DIGIT_AT = 24,
    CPYTHON_STR_STATE_AT = 32,
    CPYTHON_STR_INTERNED = 3,
    CPYTHON_STR_IMMORTAL = 2,
};

#define CPYTHON_TYPE_HEAPTYPE ((uint64_t)1 << 9) /* made by a `class` */
#define CPYTHON_TYPE_INT ((uint64_t)3 << 23)     /* of int: 2.7's and 3.x's */
#define CPYTHON_TYPE_STR ((uint64_t)3 << 27)     /* of str: 2.7's and 3.x's */
#define CPYTHON_TYPE_MANAGED_WEAKREF ((uint64_t)1 << 3) /* from 3.12 */
#define CPYTHON_TYPE_MANAGED_DICT ((uint64_t)1 << 4)    /* from 3.11 */
#define CPYTHON_TYPE_READY ((uint64_t)1 << 12)
#define CPYTHON_TYPE_HAVE_GC ((uint64_t)1 << 14)
#define CPYTHON_TYPE_LIST ((uint64_t)1 << 25)     /* of list */
#define CPYTHON_TYPE_UNICODE ((uint64_t)1 << 28)  /* of str, from 3.0 */
#define CPYTHON_TYPE_DICT ((uint64_t)1 << 29)     /* of dict */
#define CPYTHON_TYPE_SUBCLASS ((uint64_t)1 << 31) /* of type itself */

/* What differs between versions. */
struct cpython_layout {
    uint32_t gc_header_bytes;
    uint64_t pre_header_flags; /* a type with any has 16 bytes more before it */
    /*
     * A str of ASCII letters is shorter than its type's basic size: its text
     * lies behind a head of its own (Include/cpython/unicodeobject.h,
     * PyASCIIObject), with at least a NUL. 0: there are none.
     */
    uint32_t ascii_bytes;
};

static inline struct cpython_layout
cpython_layout(unsigned major, unsigned minor)
{
    struct cpython_layout layout = {
        .gc_header_bytes = major < 3 || minor <= 7 ? 32 : 16,
        .ascii_bytes = major < 3     ? 0
                       : minor <= 11 ? 49
                                     : 41,
    };
    if (major >= 3 && minor >= 11)
        layout.pre_header_flags = CPYTHON_TYPE_MANAGED_DICT;
    if (major >= 3 && minor >= 12)
        layout.pre_header_flags |= CPYTHON_TYPE_MANAGED_WEAKREF;
    return layout;
}

/*
 * Where containers keep the address of the block that grows with them: ob_item
 * of a list, ma_keys of a dict (2.7: ma_table), table of a set, ob_bytes of a
 * bytearray (Include/cpython/listobject.h, dictobject.h, setobject.h,
 * bytearrayobject.h). The same in all versions 3.x.
 */
struct cpython_containers {
    uint32_t list_items_at;
    uint32_t dict_table_at;
    uint32_t set_table_at;
    uint32_t bytearray_at;
    uint32_t unicode_at; /* 2.7's str of a unicode; 3.x has it inline: 0 */
};

static inline struct cpython_containers
cpython_containers(unsigned major)
{
    return (struct cpython_containers){
        .list_items_at = 24,
        .dict_table_at = major < 3 ? 40 : 32,
        .set_table_at = 40,
        .bytearray_at = major < 3 ? 40 : 32,
        .unicode_at = major < 3 ? 24 : 0,
    };
}

/*
 * The collector of cycles (Include/internal/pycore_gc.h and mem.h, struct
 * _gc_runtime_state): its three generations, each the head of a list of objects
 * with two ints behind it, threshold and count; and how many objects the last
 * full collection has left, with those that came to them since. To 3.8 it is a
 * member of the runtime, then of the interpreter's state; from 3.13 its place
 * is published. The incremental collector of 3.14.0 to 3.14.4 has three such
 * heads in the same places, but not the numbers behind them.
 */
struct cpython_collector {
    uint32_t interpreters_at;  /* the list of them, in the runtime; 0: none */
    uint32_t state_at;         /* in that, or in an interpreter's state */
    uint32_t published_at;     /* 0, or where the runtime tells the former */
    uint32_t generations_at;   /* in the collector's state */
    uint32_t generation_bytes; /* 0: none of this is known */
    uint32_t threshold_at;     /* in a generation; the count is behind it */
    uint32_t survivors_at;     /* in the collector's state; 0: not known */
};

static inline struct cpython_collector
cpython_collector(unsigned major, unsigned minor)
{
    static const struct cpython_collector collectors[] = {
        [7] = {0,  320, 0,  32, 48, 32, 336},
        [8] = {0,  344, 0,  24, 24, 16, 224},
        [9] = {32, 616, 0,  24, 24, 16, 224},
        [10] = {32, 616, 0,  24, 24, 16, 224},
        [11] = {40, 648, 0,  24, 24, 16, 224},
        [12] = {40, 112, 0,  24, 24, 16, 224},
        [13] = {0,  0,   80, 24, 24, 16, 224},
        [14] = {0,  0,   88, 24, 24, 16, 0  },
    };
    return major == 3 && minor < sizeof(collectors) / sizeof(collectors[0])
               ? collectors[minor]
               : (struct cpython_collector){0};
}

/* Versions whose layout is known. */
static inline bool
cpython_is_known(unsigned major, unsigned minor)
{
    return (major == 2 && minor == 7) ||
           (major == 3 && minor >= 6 && minor <= 15);
}

#endif
