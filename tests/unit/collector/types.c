/* Types of a child that lays out objects as an interpreter does. */
#include "collector/census/types.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "collector/census/census.h"
#include "include/attrs.h"
#include "tests/unit/check.h"
#include "tests/unit/collector/asking.h"
#include "tests/unit/collector/interpreter.h"
#include "tests/unit/collector/target.h"

enum {
    PAGE = MEMORY_PAGE,
    POOL = CPYTHON_LARGE_POOL,
    ARENA = CPYTHON_LARGE_ARENA,
    ARENAS = 4,
    SLOT = 256, /* of a type object */
    SLOTS = 64,
};

/*
 * Type objects lie in memory of their own: none fits into a pool. Behind them
 * is a page that is never touched.
 */
static char *heap;
static char *types;

static void
set_up(void)
{
    heap = target_reserve(ARENAS * ARENA, ARENA);
    types = target_reserve(SLOT * SLOTS + PAGE, PAGE);
}

TestSuite(types, .init = set_up, .timeout = 20);

static char *
slot(unsigned number)
{
    return types + (size_t)number * SLOT;
}

static char *
untouched_page(void)
{
    return types + SLOT * SLOTS;
}

/* The types that most tests use. */
enum { TYPE, FLOAT, LIST, INSTANCE, SLOTTED, OTHER };

static void
lay_types(void)
{
    const uint64_t subclass = CPYTHON_TYPE_SUBCLASS | CPYTHON_TYPE_HAVE_GC;
    interpreter_lay_type(slot(TYPE), &(struct interpreter_type){
                                         NULL, "type", 408, 40, subclass});
    interpreter_lay_type(
        slot(FLOAT), &(struct interpreter_type){slot(TYPE), "float", 24, 0, 0});
    interpreter_lay_type(slot(LIST),
                         &(struct interpreter_type){slot(TYPE), "list", 40, 0,
                                                    CPYTHON_TYPE_HAVE_GC});
    interpreter_lay_type(slot(INSTANCE),
                         &(struct interpreter_type){
                             slot(TYPE), "app.Instance", 16, 0,
                             CPYTHON_TYPE_HAVE_GC | CPYTHON_TYPE_MANAGED_DICT});
    interpreter_lay_type(
        slot(SLOTTED), &(struct interpreter_type){slot(TYPE), "app.Slotted", 32,
                                                  0, CPYTHON_TYPE_HAVE_GC});
}

/* ---- asking ------------------------------------------------------------ */

static struct {
    unsigned major;
    unsigned minor;
    bool is_pinned;
} version = {3, 11, false};

static bool
yes(void *context)
{
    (void)context;
    return true;
}

static struct census *
take(const struct target *target)
{
    struct census_candidate candidates[ARENAS];
    for (unsigned i = 0; i < ARENAS; i++)
        candidates[i] = (struct census_candidate){
            .start = (uintptr_t)heap + (uint64_t)i * ARENA,
            .n_bytes = ARENA,
            .has_been_full = version.is_pinned,
            .was_low = version.is_pinned,
        };
    const struct census_request request = {
        .kind = CENSUS_periodic,
        .python_major = version.major,
        .python_minor = version.minor,
        .candidates = candidates,
        .n_candidates = ARENAS,
        .wants_types = true,
    };
    const struct census_patience patience = {.may_go_on = yes};
    struct memory *memory = target_memory(target, target->pid);
    struct census *census = asking_all(memory, &request, &patience);
    memory_destroy(memory);
    check_true(census->is_read && census->is_whole);
    return census;
}

/* Of a target with this layout; the target is gone afterwards. */
static struct census *
census_of(void (*lay_out)(void *))
{
    struct target target = target_start(lay_out, NULL);
    struct census *census = take(&target);
    target_end(&target);
    check_true(census->has_types);
    check_true(census->has_low_types);
    return census;
}

/* The row of that name; all zeroes if there is none. */
static struct census_type
row_of(const struct census *census, const char *name)
{
    struct census_type found = {0};
    unsigned n_found = 0;
    for (size_t i = 0; i < census->n_types; i++) {
        check_true(i == 0 ||
                   census->types[i - 1].n_bytes >= census->types[i].n_bytes);
        if (strcmp(census->types[i].name, name) == 0) {
            found = census->types[i];
            n_found++;
        }
    }
    cr_assert(n_found <= 1, "%s has %u rows", name, n_found);
    return found;
}

#define CHECK_TYPE(census, name, count, bytes)             \
    do {                                                   \
        check_eq(row_of(census, name).n_objects, (count)); \
        check_eq(row_of(census, name).n_bytes, (bytes));   \
    } while (0)

/* A pool whose live blocks are all objects of one kind. */
static void
lay_objects(unsigned pool, uint32_t size, uint32_t n_live, uint32_t pre,
            const void *type)
{
    char *at = heap + (size_t)pool * POOL;
    interpreter_lay_pool(
        at, &(struct interpreter_pool){POOL, size, n_live + 1, n_live, 0});
    for (uint32_t i = 0; i < n_live; i++)
        interpreter_lay_object(interpreter_block(at, size, i), pre, 1, type);
}

/* ---- objects ----------------------------------------------------------- */

static void
lay_ordinary(void *context)
{
    (void)context;
    lay_types();
    lay_objects(0, 32, 100, 0, slot(FLOAT));
    lay_objects(1, 64, 50, 16, slot(LIST));
    lay_objects(2, 48, 20, 32, slot(INSTANCE));
    lay_objects(3, 48, 10, 16, slot(SLOTTED));
    lay_objects(4, 48, 7, 0, "no type at all");
}

Test(types, objects_are_counted_by_their_types)
{
    struct census *census = census_of(lay_ordinary);
    CHECK_TYPE(census, "float", 100, 100 * 32);
    CHECK_TYPE(census, "list", 50, 50 * 64);
    CHECK_TYPE(census, "app.Instance", 20, 20 * 48);
    CHECK_TYPE(census, "app.Slotted", 10, 10 * 48);
    CHECK_TYPE(census, "(raw)", 7, 7 * 48);
    check_eq(census->n_types, 5);
    census_destroy(census);
}

static void
lay_old(void *context)
{
    (void)context;
    lay_types();
    lay_objects(0, 32, 3, 0, slot(FLOAT));
    lay_objects(1, 96, 5, 32, slot(LIST));
    lay_objects(2, 96, 7, 16, slot(LIST)); /* where no list can start */
}

Test(types, up_to_3_7_the_collectors_header_is_larger)
{
    static const unsigned minors[] = {6, 7};
    for (unsigned i = 0; i < countof(minors); i++) {
        version.minor = minors[i];
        struct census *census = census_of(lay_old);
        CHECK_TYPE(census, "float", 3, 3 * 32);
        CHECK_TYPE(census, "list", 5, 5 * 96);
        CHECK_TYPE(census, "(raw)", 7, 7 * 96);
        census_destroy(census);
    }
    version.major = 2;
    version.minor = 7;
    struct census *census = census_of(lay_old);
    CHECK_TYPE(census, "list", 5, 5 * 96);
    census_destroy(census);
}

static void
lay_weak(void *context)
{
    (void)context;
    lay_types();
    interpreter_lay_type(
        slot(OTHER), &(struct interpreter_type){
                         slot(TYPE), "app.Weak", 16, 0,
                         CPYTHON_TYPE_HAVE_GC | CPYTHON_TYPE_MANAGED_WEAKREF});
    lay_objects(0, 48, 5, 32, slot(OTHER));
    lay_objects(1, 48, 3, 16, slot(OTHER));
}

Test(types, weak_references_precede_objects_from_3_12_on)
{
    version.minor = 11;
    struct census *census = census_of(lay_weak);
    CHECK_TYPE(census, "app.Weak", 3, 3 * 48);
    census_destroy(census);
    version.minor = 12;
    census = census_of(lay_weak);
    CHECK_TYPE(census, "app.Weak", 5, 5 * 48);
    census_destroy(census);
}

static void
lay_unreferenced(void *context)
{
    (void)context;
    lay_types();
    lay_objects(0, 32, 10, 0, slot(FLOAT));
    char *pool = heap;
    for (uint32_t i = 0; i < 4; i++)
        interpreter_put(interpreter_block(pool, 32, i), 0, 0);
}

Test(types, an_object_without_references_is_on_a_free_list)
{
    struct census *census = census_of(lay_unreferenced);
    CHECK_TYPE(census, "float", 6, 6 * 32);
    CHECK_TYPE(census, "(free list)", 4, 4 * 32);
    census_destroy(census);
}

static void
lay_flagged(void *context)
{
    (void)context;
    lay_types();
    lay_objects(0, 32, 4, 0, slot(FLOAT));
    /* Immortal; with flags above the count; neither; on a free list. */
    static const uint64_t words[] = {0x00000000c0000000, 0x0004000000000003,
                                     0x0000001200000003, 0x0004000000000000};
    for (uint32_t i = 0; i < countof(words); i++)
        interpreter_put(interpreter_block(heap, 32, i), 0, words[i]);
}

Test(types, from_3_14_on_flags_stand_above_the_count)
{
    version.minor = 14;
    struct census *census = census_of(lay_flagged);
    CHECK_TYPE(census, "float", 2, 2 * 32);
    CHECK_TYPE(census, "(free list)", 1, 32);
    CHECK_TYPE(census, "(raw)", 1, 32);
    census_destroy(census);
}

static void
lay_pairs(void *context)
{
    (void)context;
    lay_types();
    /* Raw memory {address of an object, address of a type}. */
    lay_objects(0, 32, 5, 0, slot(FLOAT));
    for (uint32_t i = 0; i < 3; i++)
        interpreter_put(interpreter_block(heap, 32, i), 0,
                        (uintptr_t)slot(LIST));
    interpreter_put(interpreter_block(heap, 32, 3), 0, (uint64_t)1 << 41);
}

Test(types, an_address_is_no_reference_count)
{
    struct census *census = census_of(lay_pairs);
    CHECK_TYPE(census, "float", 1, 32);
    CHECK_TYPE(census, "(raw)", 4, 4 * 32);
    census_destroy(census);
}

static void
lay_too_large(void *context)
{
    (void)context;
    lay_types();
    interpreter_lay_type(slot(OTHER), &(struct interpreter_type){
                                          slot(TYPE), "app.Large", 40, 0, 0});
    lay_objects(0, 32, 5, 0, slot(OTHER));
    lay_objects(1, 16, 5, 0, slot(FLOAT));
}

Test(types, an_object_must_fit_into_its_block)
{
    struct census *census = census_of(lay_too_large);
    CHECK_TYPE(census, "(raw)", 10, 5 * 32 + 5 * 16);
    census_destroy(census);
}

static void
lay_strings(void *context)
{
    (void)context;
    lay_types();
    const struct interpreter_type str = {slot(TYPE), "str", 72, 0,
                                         CPYTHON_TYPE_UNICODE};
    interpreter_lay_type(slot(OTHER), &str);
    lay_objects(0, 64, 5, 0, slot(OTHER));
    lay_objects(1, 48, 7, 0, slot(OTHER));
}

Test(types, a_str_of_ascii_is_shorter_than_its_type)
{
    struct census *census = census_of(lay_strings);
    CHECK_TYPE(census, "str", 5, 5 * 64);
    CHECK_TYPE(census, "(raw)", 7, 7 * 48);
    census_destroy(census);
    version.minor = 12;
    census = census_of(lay_strings);
    CHECK_TYPE(census, "str", 12, 5 * 64 + 7 * 48);
    census_destroy(census);
}

static void
lay_untracked(void *context)
{
    (void)context;
    lay_types();
    lay_objects(0, 64, 10, 16, slot(LIST));
    for (uint32_t i = 0; i < 10; i++) /* each was a float */
        interpreter_put(interpreter_block(heap, 64, i), 8,
                        (uintptr_t)slot(FLOAT));
}

Test(types, what_an_earlier_block_left_is_no_object)
{
    struct census *census = census_of(lay_untracked);
    CHECK_TYPE(census, "list", 10, 10 * 64);
    CHECK_TYPE(census, "(free list)", 0, 0);
    census_destroy(census);
}

/* ---- what is a type ---------------------------------------------------- */

static struct interpreter_type doubtful;

static void
lay_doubtful(void *context)
{
    (void)context;
    lay_types();
    interpreter_lay_type(slot(OTHER), &doubtful);
    lay_objects(0, 32, 5, 0, slot(OTHER));
}

static void
check_doubtful(struct interpreter_type type, bool is_type)
{
    doubtful = type;
    struct census *census = census_of(lay_doubtful);
    const struct census_type raw = row_of(census, "(raw)");
    cr_assert(raw.n_objects == (is_type ? 0 : 5), "\"%s\" is%s a type",
              type.name == NULL ? "" : type.name, is_type ? " not" : "");
    census_destroy(census);
}

Test(types, a_type_must_make_sense)
{
    check_doubtful((struct interpreter_type){slot(TYPE), "fine", 16, 0, 0},
                   true);
    check_doubtful((struct interpreter_type){slot(TYPE), "small", 15, 0, 0},
                   false);
    check_doubtful(
        (struct interpreter_type){slot(TYPE), "large", (1 << 20) + 1, 0, 0},
        false);
    check_doubtful((struct interpreter_type){slot(TYPE), "items", 16, 4097, 0},
                   false);
    check_doubtful((struct interpreter_type){slot(TYPE), "", 16, 0, 0}, false);
    check_doubtful((struct interpreter_type){slot(TYPE), NULL, 16, 0, 0},
                   false);
    check_doubtful((struct interpreter_type){slot(TYPE), "new\nline", 16, 0, 0},
                   false);
    check_doubtful(
        (struct interpreter_type){slot(TYPE), "caf\xc3\xa9", 16, 0, 0}, true);
    /* An instance of something whose instances are no types. */
    check_doubtful((struct interpreter_type){slot(FLOAT), "float", 16, 0, 0},
                   false);
    /* Its own metatype, as only `type` is. */
    check_doubtful(
        (struct interpreter_type){NULL, "liar", 16, 0, CPYTHON_TYPE_SUBCLASS},
        false);
    check_doubtful((struct interpreter_type){NULL, "type", 16, 0, 0}, false);
}

static void
lay_metatypes(void *context)
{
    (void)context;
    lay_types();
    const uint64_t subclass = CPYTHON_TYPE_SUBCLASS;
    for (unsigned i = 0; i < 8; i++)
        interpreter_lay_type(slot(OTHER + i),
                             &(struct interpreter_type){
                                 i == 0 ? slot(TYPE) : slot(OTHER + i - 1),
                                 "Meta", 24, 0, subclass});
    for (unsigned i = 0; i < 8; i++)
        lay_objects(i, 32, 1, 0, slot(OTHER + i));
}

Test(types, metatypes_are_followed_but_not_for_ever)
{
    struct census *census = census_of(lay_metatypes);
    check_ge(row_of(census, "Meta").n_objects, 4);
    check_ge(row_of(census, "Meta").n_objects +
                 row_of(census, "(raw)").n_objects,
             8);
    census_destroy(census);
}

static void
lay_circle(void *context)
{
    (void)context;
    lay_types();
    const uint64_t subclass = CPYTHON_TYPE_SUBCLASS;
    for (unsigned i = 0; i < 5; i++)
        interpreter_lay_type(slot(OTHER + i), &(struct interpreter_type){
                                                  slot(OTHER + (i + 1) % 5),
                                                  "Round", 24, 0, subclass});
    for (unsigned i = 0; i < 5; i++)
        lay_objects(i, 32, 3, 0, slot(OTHER + i));
}

Test(types, metatypes_in_a_circle_are_no_types)
{
    struct census *census = census_of(lay_circle);
    CHECK_TYPE(census, "(raw)", 15, 15 * 32);
    census_destroy(census);
}

static void
lay_in_pool(void *context)
{
    (void)context;
    lay_types();
    /* A perfect type object, but in a block. */
    interpreter_lay_pool(heap, &(struct interpreter_pool){POOL, 512, 2, 1, 0});
    char *block = interpreter_block(heap, 512, 0);
    interpreter_lay_type(
        block, &(struct interpreter_type){slot(TYPE), "inside", 16, 0, 0});
    interpreter_put(block, 0, UINT64_MAX); /* and no object either */
    lay_objects(1, 32, 5, 0, block);
    lay_objects(2, 32, 3, 0, slot(FLOAT) + 4); /* not where types lie */
}

Test(types, no_type_lies_in_an_arena_or_at_an_odd_address)
{
    struct census *census = census_of(lay_in_pool);
    check_eq(row_of(census, "(raw)").n_objects, 9);
    check_eq(row_of(census, "inside").n_objects, 0);
    census_destroy(census);
}

static void
lay_namesakes(void *context)
{
    (void)context;
    lay_types();
    for (unsigned i = 0; i < 3; i++) {
        interpreter_lay_type(
            slot(OTHER + i),
            &(struct interpreter_type){slot(TYPE), "Same", 24, 0, 0});
        lay_objects(i, 32, 10 + i, 0, slot(OTHER + i));
    }
}

Test(types, types_of_one_name_are_one_row)
{
    struct census *census = census_of(lay_namesakes);
    CHECK_TYPE(census, "Same", 33, 33 * 32);
    check_eq(census->n_types, 1);
    census_destroy(census);
}

static char *long_name;

static void
lay_long_name(void *context)
{
    (void)context;
    lay_types();
    /* Its end lies on the next page. */
    memset(long_name + PAGE - 60, 'x', 200);
    long_name[PAGE + 20] = '\0';
    interpreter_lay_type(slot(OTHER),
                         &(struct interpreter_type){
                             slot(TYPE), long_name + PAGE - 60, 24, 0, 0});
    interpreter_lay_type(slot(OTHER + 1),
                         &(struct interpreter_type){
                             slot(TYPE), long_name + PAGE + 21, 24, 0, 0});
    lay_objects(0, 32, 4, 0, slot(OTHER));
    lay_objects(1, 32, 5, 0, slot(OTHER + 1));
}

Test(types, a_name_may_cross_a_page_and_is_cut_where_it_is_long)
{
    char name[128];
    long_name = target_reserve(2 * PAGE, PAGE);
    struct census *census = census_of(lay_long_name);
    memset(name, 'x', sizeof(name));
    name[80] = '\0';
    check_eq(row_of(census, name).n_objects, 4);
    check_eq(census->n_types, 2);
    for (size_t i = 0; i < census->n_types; i++)
        check_true(strlen(census->types[i].name) < 128);
    census_destroy(census);
}

/* ---- PYTHONMALLOC=debug ------------------------------------------------ */

static unsigned char forbidden;

static void
lay_debugged(void *context)
{
    (void)context;
    lay_types();
    lay_objects(0, 48, 10, CPYTHON_DEBUG_PREFIX_BYTES, slot(FLOAT));
    lay_objects(1, 96, 5, CPYTHON_DEBUG_PREFIX_BYTES + 16, slot(LIST));
    for (unsigned pool = 0; pool < 2; pool++) {
        for (uint32_t i = 0; i < 5; i++) {
            char *block = interpreter_block(heap + (size_t)pool * POOL,
                                            pool == 0 ? 48 : 96, i);
            memset(block, 0, CPYTHON_DEBUG_LETTER_AT);
            block[CPYTHON_DEBUG_LETTER_AT] = 'o';
            memset(block + CPYTHON_DEBUG_FORBIDDEN_AT, forbidden,
                   CPYTHON_DEBUG_FORBIDDEN_BYTES);
        }
    }
}

Test(types, debug_hooks_shift_every_object)
{
    static const unsigned char words[] = {CPYTHON_DEBUG_FORBIDDEN,
                                          CPYTHON_DEBUG_FORBIDDEN_BEFORE};
    for (unsigned i = 0; i < countof(words); i++) {
        forbidden = words[i];
        struct census *census = census_of(lay_debugged);
        CHECK_TYPE(census, "float", 10, 10 * 48);
        CHECK_TYPE(census, "list", 5, 5 * 96);
        census_destroy(census);
    }
    forbidden = 0xfc;
    struct census *census = census_of(lay_debugged);
    check_eq(row_of(census, "float").n_objects, 0);
    census_destroy(census);
}

/* ---- who holds --------------------------------------------------------- */

enum { PER_ARENA = ARENA / POOL };

/* Arena 0: floats alone. 1: floats and lists. 2: empty. 3: lists alone. */
static void
lay_held(void *context)
{
    (void)context;
    lay_types();
    lay_objects(0, 32, 10, 0, slot(FLOAT));
    memset(heap + 8 * POOL, 1, POOL); /* what is held */
    lay_objects(PER_ARENA, 32, 30, 0, slot(FLOAT));
    lay_objects(PER_ARENA + 1, 64, 5, 16, slot(LIST));
    memset(heap + (PER_ARENA + 8) * POOL, 0, 3 * POOL);
    interpreter_lay_pool(heap + (size_t)2 * ARENA,
                         &(struct interpreter_pool){POOL, 32, 9, 0, 0});
    lay_objects(3 * PER_ARENA, 64, 3, 16, slot(LIST));
}

Test(types, what_is_held_is_shared_out_without_rest)
{
    version.is_pinned = true;
    struct census *census = census_of(lay_held);
    const struct census_type floats = row_of(census, "float");
    const struct census_type lists = row_of(census, "list");
    check_eq(census->n_arenas, 4);
    const struct census_arena *arenas = census->arenas;
    uint64_t held[4];
    for (unsigned i = 0; i < 4; i++)
        held[i] = arenas[i].resident_bytes - arenas[i].live_bytes;

    check_eq(floats.held_exclusive, held[0]);
    check_eq(lists.held_exclusive, held[3]);
    check_eq(floats.held_split + lists.held_split, held[1]);
    /* By live bytes: 960 to 320. */
    check_eq(floats.held_split, held[1] * 3 / 4);
    check_eq(floats.exclusive_bytes, 10 * 32);
    check_eq(lists.exclusive_bytes, 3 * 64);

    check_eq(floats.pinned_exclusive, floats.held_exclusive);
    check_eq(floats.pinned_split, floats.held_split);
    check_eq(floats.pinned_bytes, 40 * 32);
    check_eq(floats.n_pinned, 40);
    check_eq(lists.n_pinned, 8);
    census_destroy(census);
}

Test(types, without_pins_nothing_is_pinned)
{
    struct census *census = census_of(lay_held);
    const struct census_type floats = row_of(census, "float");
    check_true(floats.held_exclusive != 0);
    check_eq(floats.pinned_exclusive, 0);
    check_eq(floats.pinned_split, 0);
    check_eq(floats.pinned_bytes, 0);
    check_eq(floats.n_pinned, 0);
    census_destroy(census);
}

/* ---- lists that are torn ----------------------------------------------- */

static void
lay_torn(void *context)
{
    (void)context;
    lay_types();
    lay_objects(0, 32, 10, 0, slot(FLOAT));
    lay_objects(1, 32, 10, 0, slot(FLOAT));
    /* The list of the second pool ends nowhere. */
    interpreter_put(interpreter_block(heap + POOL, 32, 10), 0, 12345);
}

Test(types, a_pool_whose_list_is_torn_has_no_objects)
{
    struct census *census = census_of(lay_torn);
    CHECK_TYPE(census, "float", 10, 10 * 32);
    check_eq(census->n_torn, 1);
    census_destroy(census);
}

/* ---- leaving no trace -------------------------------------------------- */

static char *untouched;

/* Words that look like types and lie where nothing has been touched. */
static void
lay_pointers(void *context)
{
    (void)context;
    lay_types();
    lay_objects(0, 32, 100, 0, slot(FLOAT));
    for (uint32_t i = 0; i < 50; i++)
        interpreter_lay_object(interpreter_block(heap, 32, i), 0, 1,
                               untouched + (size_t)i * 2 * 1024 * 1024);
    interpreter_lay_type(
        slot(OTHER),
        &(struct interpreter_type){slot(TYPE), untouched_page(), 16, 0, 0});
    lay_objects(1, 32, 5, 0, slot(OTHER));
}

/*
 * "Untouched pages stay untouched" (DESIGN 5). Fails while typetable.c reads
 * what blocks point to without asking whether it is resident: each such read
 * makes a page, or at least a page table, in the target.
 */
Test(types, pointers_into_untouched_memory_are_not_followed)
{
    const size_t n_bytes = (size_t)128 * 1024 * 1024;
    untouched = target_reserve(n_bytes, (size_t)2 * 1024 * 1024);
    struct target target = target_start(lay_pointers, NULL);
    const int64_t tables = target_says(&target, "status", "VmPTE:");
    const int64_t rss = target_says(&target, "smaps_rollup", "\nRss:");
    census_destroy(take(&target));
    check_eq(target_says(&target, "smaps_rollup", "\nRss:"), rss);
    check_eq(target_says(&target, "status", "VmPTE:"), tables);
    target_end(&target);
}
