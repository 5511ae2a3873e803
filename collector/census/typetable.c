#include "collector/census/typetable.h"

#include <ctype.h>
#include <string.h>
#include <uthash.h>

#include "collector/census/images.h"
#include "collector/census/pages.h"
#include "include/xalloc.h"

enum {
    MOST_METATYPES = 6,
    LEAST_BASIC_BYTES = 16,
    MOST_BASIC_BYTES = 1 << 20,
    MOST_ITEM_BYTES = 4096,
    CACHE_SLOTS = 8192,
    HINTS = 4096,
    HINT_BYTES = CPYTHON_SMALL_ARENA, /* the smallest arena's */
    /* Beyond so many addresses a target only makes us work. */
    MOST_ENTRIES = 1 << 20,
};

#define LEAST_ADDRESS ((uint64_t)4096)
#define END_OF_ADDRESSES ((uint64_t)1 << 47)

struct entry {
    uint64_t addr;
    unsigned number; /* 0: not a type */
    UT_hash_handle hh;
};

struct cached {
    uint64_t addr;
    unsigned number;
};

struct typetable {
    struct memory *memory;
    const struct maps *maps;
    const struct memory_runs *runs;
    const struct census *census;
    struct cpython_layout layout;
    struct type *types;
    size_t n_types;
    size_t capacity;
    struct entry *entries;
    unsigned n_entries;
    struct cached cache[CACHE_SLOTS];
    uint32_t hints[HINTS]; /* in which arena an address may be */
};

struct typetable *
typetable_create(struct memory *memory, const struct maps *maps,
                 const struct memory_runs *runs, const struct census *census,
                 struct cpython_layout layout)
{
    struct typetable *table = xcalloc(1, sizeof(*table));
    table->memory = memory;
    table->maps = maps;
    table->runs = runs;
    table->census = census;
    table->layout = layout;
    table->capacity = 256;
    table->types = xcalloc(table->capacity, sizeof(table->types[0]));
    strcpy(table->types[TYPE_RAW].name, "(raw)");
    strcpy(table->types[TYPE_FREE_LIST].name, "(free list)");
    table->n_types = TYPE_FIRST;
    return table;
}

void
typetable_destroy(struct typetable *table)
{
    if (table == NULL)
        return;
    struct entry *entry;
    struct entry *next;
    HASH_ITER(hh, table->entries, entry, next)
    {
        HASH_DEL(table->entries, entry);
        free(entry);
    }
    free(table->types);
    free(table);
}

struct type *
typetable_type(struct typetable *table, unsigned number)
{
    return &table->types[number];
}

unsigned
typetable_n_types(const struct typetable *table)
{
    return (unsigned)table->n_types;
}

/* ---- what is a type ---------------------------------------------------- */

static uint64_t
word_at(const unsigned char *bytes, size_t offset)
{
    uint64_t word;
    memcpy(&word, bytes + offset, sizeof(word));
    return word;
}

/* The first arena that ends behind an address. */
static size_t
arena_near(const struct typetable *table, uint64_t addr)
{
    const struct census_arena *arenas = table->census->arenas;
    size_t low = 0;
    size_t high = table->census->n_arenas;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (arenas[middle].address + arenas[middle].n_bytes <= addr)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool
typetable_is_in_arena(struct typetable *table, uint64_t addr)
{
    const struct census_arena *arenas = table->census->arenas;
    const size_t n_arenas = table->census->n_arenas;
    uint32_t *hint = &table->hints[addr / HINT_BYTES % HINTS];
    if (*hint < n_arenas &&
        addr - arenas[*hint].address < arenas[*hint].n_bytes)
        return true;
    const size_t near = arena_near(table, addr);
    if (near == n_arenas || arenas[near].address > addr)
        return false;
    *hint = (uint32_t)near;
    return true;
}

/* Types are larger than any pymalloc block: none lies in an arena. */
static bool
may_be_type(struct typetable *table, uint64_t addr)
{
    if ((addr & 7) != 0 || addr < LEAST_ADDRESS || addr >= END_OF_ADDRESSES ||
        typetable_is_in_arena(table, addr))
        return false;
    const struct map *map = maps_at(table->maps, addr);
    return map != NULL && map->is_writable && map->is_readable;
}

static bool
read_resident(const struct typetable *table, uint64_t addr, void *where,
              size_t n_bytes)
{
    return pages_is_resident(table->runs, addr) &&
           pages_is_resident(table->runs, addr + n_bytes - 1) &&
           memory_read(table->memory, addr, where, n_bytes);
}

/* A part of a name, inside a page. */
static bool
read_letters(const struct typetable *table, uint64_t addr, char *where,
             size_t n_bytes)
{
    const struct map *map = maps_at(table->maps, addr);
    if (map != NULL && map->inode != 0)
        return images_read(table->memory, table->runs, map, addr, where,
                           n_bytes);
    return read_resident(table, addr, where, n_bytes);
}

/* A NUL-terminated printable name, or false. */
static bool
read_name(struct typetable *table, uint64_t addr, char *name)
{
    if (addr < LEAST_ADDRESS || addr >= END_OF_ADDRESSES)
        return false;
    size_t n_bytes = MEMORY_PAGE - addr % MEMORY_PAGE;
    if (n_bytes > TYPETABLE_NAME_BYTES - 1)
        n_bytes = TYPETABLE_NAME_BYTES - 1;
    memset(name, 0, TYPETABLE_NAME_BYTES);
    if (!read_letters(table, addr, name, n_bytes))
        return false;
    /* A name across a page's end, which is rare, comes in two reads. */
    if (memchr(name, '\0', n_bytes) == NULL &&
        n_bytes < TYPETABLE_NAME_BYTES - 1 &&
        !read_letters(table, addr + n_bytes, name + n_bytes,
                      TYPETABLE_NAME_BYTES - 1 - n_bytes))
        return false;
    for (const char *letter = name; *letter != '\0'; letter++) {
        if ((unsigned char)*letter < ' ' || *letter == 0x7f)
            return false;
    }
    return name[0] != '\0';
}

static bool
is_sane(const unsigned char *bytes)
{
    const uint64_t basic = word_at(bytes, CPYTHON_TYPE_BASICSIZE_AT);
    const uint64_t item = word_at(bytes, CPYTHON_TYPE_ITEMSIZE_AT);
    return word_at(bytes, 0) != 0 && basic >= LEAST_BASIC_BYTES &&
           basic <= MOST_BASIC_BYTES && item <= MOST_ITEM_BYTES;
}

static uint32_t
pre_bytes(const struct cpython_layout *layout, uint64_t flags)
{
    uint32_t n_bytes = 0;
    if ((flags & CPYTHON_TYPE_HAVE_GC) != 0)
        n_bytes += layout->gc_header_bytes;
    if ((flags & layout->pre_header_flags) != 0)
        n_bytes += 16;
    return n_bytes;
}

/* Of an object, in its block. */
static uint32_t
least_bytes(const unsigned char *type, uint32_t ascii_bytes)
{
    const uint64_t basic = word_at(type, CPYTHON_TYPE_BASICSIZE_AT);
    const uint64_t flags = word_at(type, CPYTHON_TYPE_FLAGS_AT);
    const bool is_str = ascii_bytes != 0 && (flags & CPYTHON_TYPE_UNICODE) != 0;
    return is_str ? ascii_bytes : (uint32_t)basic;
}

static enum type_container
container_of(const struct type *type)
{
    if ((type->flags & CPYTHON_TYPE_LIST) != 0)
        return CONTAINER_list;
    if ((type->flags & CPYTHON_TYPE_DICT) != 0)
        return CONTAINER_dict;
    if ((type->flags & CPYTHON_TYPE_UNICODE) != 0)
        return CONTAINER_unicode;
    if (strcmp(type->name, "set") == 0 || strcmp(type->name, "frozenset") == 0)
        return CONTAINER_set;
    return strcmp(type->name, "bytearray") == 0 ? CONTAINER_bytearray
                                                : CONTAINER_none;
}

static enum type_builtin
builtin_of(const struct type *type)
{
    if ((type->flags & CPYTHON_TYPE_HEAPTYPE) != 0)
        return BUILTIN_none;
    if ((type->flags & CPYTHON_TYPE_INT) != 0 && strcmp(type->name, "int") == 0)
        return BUILTIN_int;
    if ((type->flags & CPYTHON_TYPE_STR) != 0 && strcmp(type->name, "str") == 0)
        return BUILTIN_str;
    return BUILTIN_none;
}

static unsigned look_up(struct typetable *table, uint64_t addr, unsigned depth);

/* Reads and judges; whether the type was made ready is the caller's. */
static bool
read_type(struct typetable *table, uint64_t addr, unsigned depth,
          struct type *type)
{
    unsigned char bytes[CPYTHON_TYPE_BYTES];
    if (!read_resident(table, addr, bytes, sizeof(bytes)) || !is_sane(bytes))
        return false;
    const uint64_t metatype = word_at(bytes, CPYTHON_OBJECT_TYPE_AT);
    const uint64_t flags = word_at(bytes, CPYTHON_TYPE_FLAGS_AT);
    *type = (struct type){
        .flags = flags,
        .least_bytes = least_bytes(bytes, table->layout.ascii_bytes),
        .item_bytes = (uint32_t)word_at(bytes, CPYTHON_TYPE_ITEMSIZE_AT),
        .pre_bytes = pre_bytes(&table->layout, flags),
    };
    if (!read_name(table, word_at(bytes, CPYTHON_TYPE_NAME_AT), type->name))
        return false;
    type->container = container_of(type);
    type->builtin = builtin_of(type);
    if (metatype == addr)
        return strcmp(type->name, "type") == 0 &&
               (flags & CPYTHON_TYPE_SUBCLASS) != 0;
    const unsigned meta = look_up(table, metatype, depth + 1);
    return meta != 0 && (table->types[meta].flags & CPYTHON_TYPE_SUBCLASS) != 0;
}

/* Returns the new type's number or 0. */
static unsigned
examine(struct typetable *table, uint64_t addr, unsigned depth)
{
    struct type type;
    if (!read_type(table, addr, depth, &type) ||
        (type.flags & CPYTHON_TYPE_READY) == 0)
        return 0;
    XGROW(table->types, table->capacity, table->n_types);
    table->types[table->n_types] = type;
    return (unsigned)table->n_types++;
}

static unsigned
look_up(struct typetable *table, uint64_t addr, unsigned depth)
{
    if (depth > MOST_METATYPES || !may_be_type(table, addr))
        return 0;
    struct entry *entry;
    HASH_FIND(hh, table->entries, &addr, sizeof(addr), entry);
    if (entry != NULL)
        return entry->number;
    if (table->n_entries == MOST_ENTRIES)
        return 0;
    const unsigned number = examine(table, addr, depth);
    entry = xcalloc(1, sizeof(*entry));
    entry->addr = addr;
    entry->number = number;
    HASH_ADD(hh, table->entries, addr, sizeof(entry->addr), entry);
    table->n_entries++;
    return number;
}

unsigned
typetable_find(struct typetable *table, uint64_t addr)
{
    struct cached *cached = &table->cache[(addr >> 4) % CACHE_SLOTS];
    if (cached->addr == addr && addr != 0)
        return cached->number;
    /* Links between objects would drive the types out. */
    if ((addr & 7) != 0 || typetable_is_in_arena(table, addr))
        return 0;
    cached->addr = addr;
    cached->number = look_up(table, addr, 0);
    return cached->number;
}

bool
typetable_read_unready(struct typetable *table, uint64_t addr,
                       struct type *type)
{
    return may_be_type(table, addr) && read_type(table, addr, 0, type);
}

bool
typetable_is_object(struct typetable *table, uint64_t addr)
{
    uint64_t type;
    const struct map *map = maps_at(table->maps, addr);
    return (addr & 7) == 0 && map != NULL && map->is_readable &&
           read_resident(table, addr + CPYTHON_OBJECT_TYPE_AT, &type,
                         sizeof(type)) &&
           typetable_find(table, type) != 0;
}
