#include "collector/census/objects.h"

#include <stdio.h>
#include <string.h>

#include "include/attrs.h"
#include "include/cpython.h"
#include "include/xalloc.h"
#include "tests/unit/check.h"
#include "tests/unit/collector/fake_memory.h"

enum { PAGE = MEMORY_PAGE, SLOT = 256, BLOCK = 128 };

/* Types lie here, a slot each, and their names behind them. */
#define TYPES ((uint64_t)0x7f0000000000)
#define NAMES (TYPES + 2 * PAGE)
#define ARENA ((uint64_t)0x7f0100000000)

/* Where a table may lie, outside of arenas. */
#define TABLE ((uint64_t)0x555500001000)

static const struct {
    const char *name;
    uint64_t flags; /* besides READY */
    uint64_t basic_bytes;
} kinds[] = {
    {"type",      CPYTHON_TYPE_SUBCLASS | CPYTHON_TYPE_HAVE_GC,            408},
    {"list",      CPYTHON_TYPE_LIST | CPYTHON_TYPE_HAVE_GC,                40 },
    {"dict",      CPYTHON_TYPE_DICT | CPYTHON_TYPE_HAVE_GC,                48 },
    {"set",       CPYTHON_TYPE_HAVE_GC,                                    200},
    {"frozenset", CPYTHON_TYPE_HAVE_GC,                                    200},
    {"bytearray", 0,                                                       56 },
    {"tuple",     CPYTHON_TYPE_HAVE_GC,                                    24 },
    {"app.Dict",
     CPYTHON_TYPE_DICT | CPYTHON_TYPE_HAVE_GC | CPYTHON_TYPE_MANAGED_DICT, 48 },
    {"int",       (uint64_t)1 << 24,                                       24 },
    {"str",       CPYTHON_TYPE_UNICODE,                                    40 },
    {"int",       (uint64_t)1 << 24 | CPYTHON_TYPE_HEAPTYPE,               24 },
    {"str",       CPYTHON_TYPE_UNICODE | CPYTHON_TYPE_HEAPTYPE,            40 },
    {"str",       (uint64_t)1 << 27,                                       37 },
};

enum {
    TYPE,
    LIST,
    DICT,
    SET,
    FROZENSET,
    BYTEARRAY,
    TUPLE,
    SUBDICT,
    INT,
    STR,
    SOMEBODYS_INT,
    SOMEBODYS_STR,
    STR27
};

static struct memory memory;
static struct memory_runs runs;
static struct maps maps;
static struct census census;
static struct census_arena arena = {.address = ARENA, .n_bytes = 1 << 20};
static struct objects *objects;

static uint64_t
type_at(unsigned kind)
{
    return TYPES + (uint64_t)kind * SLOT;
}

static void
lay_type(unsigned kind)
{
    const uint64_t at = type_at(kind);
    const uint64_t name = NAMES + (uint64_t)kind * 64;
    fake_memory_put(&memory, at, 1);
    fake_memory_put(&memory, at + CPYTHON_OBJECT_TYPE_AT, TYPES);
    fake_memory_put(&memory, at + CPYTHON_TYPE_NAME_AT, name);
    fake_memory_put(&memory, at + CPYTHON_TYPE_BASICSIZE_AT,
                    kinds[kind].basic_bytes);
    fake_memory_put(&memory, at + CPYTHON_TYPE_FLAGS_AT,
                    kinds[kind].flags | CPYTHON_TYPE_READY);
    strcpy(fake_memory_at(&memory, name), kinds[kind].name);
}

static void
begin(unsigned major, unsigned minor)
{
    const struct census_request request = {
        .python_major = major,
        .python_minor = minor,
    };
    fake_memory_add(&memory, TYPES, 4 * PAGE);
    for (unsigned kind = 0; kind < countof(kinds); kind++)
        lay_type(kind);
    runs = fake_memory_runs(&memory);
    maps = maps_parse(xstrdup("7f0000000000-7f0000004000 rw-p 0 00:00 0\n"));
    census = (struct census){.arenas = &arena, .n_arenas = 1};
    objects = objects_create(&memory, &request, &maps, &runs, &census);
}

static void
end(void)
{
    check_eq(memory.n_bad_reads, 0);
    objects_destroy(objects);
    maps_finish(&maps);
    memory_runs_finish(&runs);
    fake_memory_finish(&memory);
}

TestSuite(objects, .timeout = 20);

/* ---- blocks ------------------------------------------------------------ */

/* A block with an object `pre` bytes into it, whose table is at `table`. */
struct laid {
    unsigned kind;
    uint32_t pre;
    uint32_t table_at;
    uint64_t references;
    uint64_t table;
};

static unsigned
classify(const struct laid *laid, size_t n_here)
{
    char bytes[BLOCK + 64] = {0};
    const uint64_t type = type_at(laid->kind);
    memcpy(bytes + laid->pre, &laid->references, 8);
    memcpy(bytes + laid->pre + 8, &type, 8);
    memcpy(bytes + laid->pre + laid->table_at, &laid->table, 8);
    /* Exactly as large as it is, for a sanitizer to see. */
    char *exact = xcalloc(n_here, 1);
    memcpy(exact, bytes, n_here);
    const struct objects_block block = {exact, n_here, 1000};
    const unsigned number = objects_classify(objects, &block);
    free(exact);
    return number;
}

static const char *
name_of(unsigned number)
{
    return typetable_type(objects_types(objects), number)->name;
}

static void
check_tables(const uint64_t *wanted, size_t n_wanted)
{
    size_t n = 0;
    const uint64_t *tables = objects_tables(objects, &n);
    check_eq(n, n_wanted);
    for (size_t i = 0; i < n; i++)
        check_eq(tables[i], wanted[i]);
}

Test(objects, containers_keep_a_table_elsewhere)
{
    static const struct laid laid[] = {
        {LIST,      16, 24, 1, TABLE + 500},
        {DICT,      16, 32, 2, TABLE + 100},
        {SET,       16, 40, 1, TABLE + 300},
        {FROZENSET, 16, 40, 1, TABLE + 200},
        {BYTEARRAY, 0,  32, 1, TABLE + 400},
        {SUBDICT,   32, 32, 1, TABLE + 600},
        {TUPLE,     16, 24, 1, TABLE + 700}, /* which has none */
    };
    static const uint64_t wanted[] = {TABLE + 100, TABLE + 200, TABLE + 300,
                                      TABLE + 400, TABLE + 500, TABLE + 600};
    begin(3, 11);
    for (size_t i = 0; i < countof(laid); i++)
        check_text(name_of(classify(&laid[i], 80)), kinds[laid[i].kind].name);
    check_tables(wanted, countof(wanted));
    end();
}

Test(objects, those_of_2_7_lie_where_they_lay)
{
    static const struct laid laid[] = {
        {LIST,      32, 24, 1, TABLE + 100},
        {DICT,      32, 40, 1, TABLE + 200},
        {SET,       32, 40, 1, TABLE + 300},
        {BYTEARRAY, 0,  40, 1, TABLE + 400},
    };
    static const uint64_t wanted[] = {TABLE + 100, TABLE + 200, TABLE + 300,
                                      TABLE + 400};
    begin(2, 7);
    for (size_t i = 0; i < countof(laid); i++)
        check_text(name_of(classify(&laid[i], 80)), kinds[laid[i].kind].name);
    check_tables(wanted, countof(wanted));
    end();
}

Test(objects, a_table_in_an_arena_or_of_nobody_is_not_noted)
{
    static const struct laid laid[] = {
        {LIST, 16, 24, 1, 0                }, /* it is empty */
        {LIST, 16, 24, 1, 100              },
        {LIST, 16, 24, 1, ARENA            },
        {DICT, 16, 32, 1, ARENA + 1000     },
        {LIST, 16, 24, 1, ARENA + (1 << 20)},
    };
    static const uint64_t wanted[] = {ARENA + (1 << 20)};
    begin(3, 11);
    for (size_t i = 0; i < countof(laid); i++)
        check_text(name_of(classify(&laid[i], 80)), kinds[laid[i].kind].name);
    check_tables(wanted, countof(wanted));
    end();
}

Test(objects, the_dead_keep_no_table)
{
    const struct laid laid = {LIST, 16, 24, 0, TABLE};
    begin(3, 11);
    check_eq(classify(&laid, 80), TYPE_FREE_LIST);
    check_tables(NULL, 0);
    end();
}

Test(objects, of_a_block_cut_short_no_more_is_read)
{
    const struct laid laid = {LIST, 16, 24, 1, TABLE};
    begin(3, 11);
    for (size_t n = 0; n < 32; n++)
        check_eq(classify(&laid, n), TYPE_RAW);
    for (size_t n = 32; n < 48; n++) {
        check_text(name_of(classify(&laid, n)), "list");
        check_tables(NULL, 0);
    }
    classify(&laid, 48);
    check_tables((const uint64_t[]){TABLE}, 1);
    end();
}

Test(objects, a_debug_allocator_shifts_both)
{
    const struct laid laid = {LIST, 16 + 16, 24, 1, TABLE + 16};
    begin(3, 11);
    check_eq(classify(&laid, 80), TYPE_RAW);
    objects_set_shift(objects, 16);
    check_text(name_of(classify(&laid, 80)), "list");
    check_tables((const uint64_t[]){TABLE}, 1);
    end();
}

Test(objects, what_is_no_object_is_raw)
{
    static const struct laid laid[] = {
        {LIST, 0,  24, 1,                 TABLE}, /* without its header */
        {LIST, 16, 24, (uint64_t)1 << 41, TABLE}, /* no count */
        {LIST, 16, 24, TYPES,             TABLE}, /* an object's address */
    };
    begin(3, 11);
    for (size_t i = 0; i < countof(laid); i++)
        check_eq(classify(&laid[i], 80), TYPE_RAW);
    const struct objects_block small = {"", 0, 0};
    check_eq(objects_classify(objects, &small), TYPE_RAW);
    check_tables(NULL, 0);
    end();
}

/* ---- singles ----------------------------------------------------------- */

/* What an object of a kind is whose words from the third on are these. */
static enum recording_single
single_of(unsigned kind, uint64_t tag, uint64_t digit, uint64_t state)
{
    const uint64_t words[] = {1, type_at(kind), tag, digit, state, 0, 0, 0};
    const struct objects_block block = {(const char *)words, sizeof(words),
                                        sizeof(words)};
    const unsigned number = objects_classify(objects, &block);
    check_text(name_of(number), kinds[kind].name);
    return objects_single(objects, number, &block);
}

Test(objects, a_string_says_whether_it_is_interned)
{
    begin(3, 13);
    check_eq(single_of(STR, 0, 0, 0x64), N_SINGLES);
    check_eq(single_of(STR, 0, 0, 0x65), SINGLE_interned_str);
    check_eq(single_of(STR, 0, 0, 0x66), SINGLE_immortal_str);
    check_eq(single_of(STR, 0, 0, 0x67), SINGLE_immortal_str);
    check_eq(single_of(SOMEBODYS_STR, 0, 0, 0x65), N_SINGLES);
    end();
    begin(2, 7);
    check_eq(single_of(STR27, 5, 0, 0x7400000001), SINGLE_interned_str);
    check_eq(single_of(STR27, 5, 0, 0x7400000000), N_SINGLES);
    end();
}

Test(objects, small_ints_are_those_from_minus_5_to_256)
{
    begin(3, 11);
    check_eq(single_of(INT, 0, 7, 0), SINGLE_small_int); /* zero */
    check_eq(single_of(INT, 1, 256, 0), SINGLE_small_int);
    check_eq(single_of(INT, 1, 257, 0), N_SINGLES);
    check_eq(single_of(INT, (uint64_t)-1, 5, 0), SINGLE_small_int);
    check_eq(single_of(INT, (uint64_t)-1, 6, 0), N_SINGLES);
    check_eq(single_of(INT, 2, 1, 0), N_SINGLES); /* two digits */
    check_eq(single_of(SOMEBODYS_INT, 1, 7, 0), N_SINGLES);
    end();
    begin(3, 12);
    check_eq(single_of(INT, 1, 7, 0), SINGLE_small_int); /* zero */
    check_eq(single_of(INT, 8, 256, 0), SINGLE_small_int);
    check_eq(single_of(INT, 8, 257, 0), N_SINGLES);
    check_eq(single_of(INT, 10, 5, 0), SINGLE_small_int);
    check_eq(single_of(INT, 10, 6, 0), N_SINGLES);
    check_eq(single_of(INT, 16, 1, 0), N_SINGLES);
    end();
    begin(2, 7); /* long ints alone are in arenas there */
    check_eq(single_of(INT, 1, 7, 0), N_SINGLES);
    check_false(objects_has_ints(objects));
    end();
}

Test(objects, of_a_single_cut_short_no_more_is_read)
{
    const uint64_t words[] = {1, 0, 1, 7, 1, 0, 0, 0};
    uint64_t bytes[countof(words)];
    memcpy(bytes, words, sizeof(words));
    begin(3, 11);
    for (unsigned kind = INT; kind <= STR; kind++) {
        const size_t least = kind == INT ? 28 : 36;
        bytes[1] = type_at(kind);
        for (size_t n = 16; n < sizeof(bytes); n++) {
            char *exact = xcalloc(n, 1);
            memcpy(exact, bytes, n);
            const struct objects_block block = {exact, n, sizeof(bytes)};
            const unsigned number = objects_classify(objects, &block);
            check_eq(objects_single(objects, number, &block) != N_SINGLES,
                     n >= least);
            free(exact);
        }
    }
    end();
}

Test(objects, destroying_nothing_does_nothing)
{
    objects_destroy(NULL);
}
