/*
 * typetable.h - which addresses of a target are type objects
 *
 * A type object is recognised by its content: flags that say ready, sane sizes,
 * a printable name, and a metatype for which the same holds and whose instances
 * are types. `type` is its own metatype. What is not resident is not read, and
 * is no type. Answers, also the negative ones, are kept for the length of a
 * census.
 */
#ifndef COLLECTOR_CENSUS_TYPETABLE_H
#define COLLECTOR_CENSUS_TYPETABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/census/maps.h"
#include "collector/census/memory.h"
#include "collector/census/result.h"

enum { TYPETABLE_NAME_BYTES = 128 };

/* Containers that keep a second block. */
enum type_container {
    CONTAINER_none,
    CONTAINER_list,
    CONTAINER_dict,
    CONTAINER_set, /* a frozenset, too */
    CONTAINER_bytearray,
    CONTAINER_unicode, /* of 2.7; in 3.x the text lies in the str */
};

/* The interpreter's own, not what somebody calls the same. */
enum type_builtin { BUILTIN_none, BUILTIN_int, BUILTIN_str };

struct type {
    char name[TYPETABLE_NAME_BYTES];
    uint64_t flags;
    enum type_container container;
    enum type_builtin builtin;
    uint32_t least_bytes; /* of an object */
    uint32_t item_bytes;
    uint32_t pre_bytes; /* what precedes its objects in their blocks */
    /* What types.c counts. */
    uint64_t n_objects;
    uint64_t n_bytes;
    uint64_t held_exclusive;
    uint64_t held_split;
    uint64_t exclusive_bytes;
    uint64_t pinned_exclusive;
    uint64_t pinned_split;
    uint64_t pinned_bytes;
    uint64_t n_pinned;
    uint64_t low_held;
    uint64_t low_bytes;
    uint64_t n_low;
    /* Of arenas that are not low, for what a sample of them tells. */
    double rest_objects;
    double rest_objects_squared; /* the sum of the arenas' squares */
    double rest_bytes;
    double rest_bytes_squared;
    uint64_t arena_bytes; /* in the arena that is being read */
    uint64_t arena_objects;
};

/* Numbers of types; the first two are no types. */
enum { TYPE_RAW, TYPE_FREE_LIST, TYPE_FIRST };

struct typetable;

/* Memory, maps, runs and arenas must outlive the table. */
struct typetable *typetable_create(struct memory *memory,
                                   const struct maps *maps,
                                   const struct memory_runs *runs,
                                   const struct census *census,
                                   struct cpython_layout layout);
void typetable_destroy(struct typetable *table);

/* The number of the type at addr, or 0: there is none. */
unsigned typetable_find(struct typetable *table, uint64_t addr);

/*
 * What lies at addr, be it ready or not, if it is a type otherwise: to 3.9 the
 * interpreter has objects of one that it never made ready. Nothing is kept.
 */
bool typetable_read_unready(struct typetable *table, uint64_t addr,
                            struct type *type);

/* Whether addr is the address of an object with a type. */
bool typetable_is_object(struct typetable *table, uint64_t addr);

/* Whether addr lies in one of the interpreter's arenas. */
bool typetable_is_in_arena(struct typetable *table, uint64_t addr);

/* Valid until the next find. */
struct type *typetable_type(struct typetable *table, unsigned number);
unsigned typetable_n_types(const struct typetable *table);

#endif
