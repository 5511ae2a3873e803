#include "tests/unit/collector/dead.h"

#include <string.h>

#include "include/attrs.h"
#include "tests/unit/collector/asking.h"
#include "tests/unit/collector/interpreter.h"
#include "tests/unit/collector/target.h"

enum {
    PAGE = MEMORY_PAGE,
    ARENA = CPYTHON_LARGE_ARENA,
    POOL = CPYTHON_LARGE_POOL,
    SMALL_POOL = CPYTHON_SMALL_POOL,
    SLOT = 256, /* of a type object */
};

struct dead dead;

void
dead_init(void)
{
    dead = (struct dead){
        .major = 3,
        .minor = 11,
        .heap = target_reserve(ARENA, ARENA),
        .types = target_reserve(PAGE, PAGE),
        .runtime = target_reserve(PAGE, PAGE),
        /* With room before it. */
        .state = target_reserve(DEAD_STATE_BYTES, PAGE) + PAGE,
    };
}

/* ---- laying out -------------------------------------------------------- */

char *
dead_type(enum dead_type type)
{
    return dead.types + (size_t)type * SLOT;
}

static void
lay_type(enum dead_type number, const char *name, uint64_t basic, uint64_t item,
         uint64_t flags)
{
    const struct interpreter_type type = {
        number == DEAD_TYPE ? NULL : dead_type(DEAD_TYPE), name, basic, item,
        flags};
    interpreter_lay_type(dead_type(number), &type);
}

static void
lay_types(void)
{
    lay_type(DEAD_TYPE, "type", 408, 40,
             CPYTHON_TYPE_SUBCLASS | CPYTHON_TYPE_HAVE_GC);
    lay_type(DEAD_FLOAT, "float", 24, 0, 0);
    lay_type(DEAD_LIST, "list", 40, 0, CPYTHON_TYPE_HAVE_GC);
    lay_type(DEAD_TUPLE, "tuple", 24, 8, CPYTHON_TYPE_HAVE_GC);
    lay_type(DEAD_ERROR, "MemoryError", 72, 0, CPYTHON_TYPE_HAVE_GC);
    lay_type(DEAD_OTHER, "set", 200, 0, CPYTHON_TYPE_HAVE_GC);
}

/* Pools of every size that the tests need, most of their blocks live. */
static const uint32_t sizes[] = {32, 48, 64, 96, 128, 176};
enum { N_CARVED = 22 };

static uint32_t
pool_bytes(void)
{
    return dead.major == 3 && dead.minor >= 10 ? (uint32_t)POOL
                                               : (uint32_t)SMALL_POOL;
}

char *
dead_block(uint32_t size, unsigned number)
{
    unsigned pool = 0;
    while (sizes[pool] != size)
        pool++;
    return interpreter_block(dead.heap + (size_t)pool * pool_bytes(), size,
                             number);
}

static void
lay_pools(void)
{
    for (unsigned i = 0; i < countof(sizes); i++) {
        const struct interpreter_pool plan = {pool_bytes(), sizes[i], N_CARVED,
                                              DEAD_N_LIVE, 0};
        interpreter_lay_pool(dead.heap + (size_t)i * pool_bytes(), &plan);
    }
}

void
dead_lay_heap(void)
{
    lay_types();
    lay_pools();
}

const struct cpython_list *
dead_list_of(const char *name)
{
    const struct cpython_lists lists = cpython_lists(dead.major, dead.minor);
    for (size_t i = 0; i < lists.n_lists; i++) {
        if (strcmp(lists.lists[i].name, name) == 0)
            return &lists.lists[i];
    }
    cr_assert_fail("no list %s", name);
    return NULL;
}

void
dead_put_count(char *at, int32_t n)
{
    memcpy(at, &n, sizeof(n));
}

char *
dead_lay_chain(uint32_t size, unsigned first, unsigned n, uint32_t pre,
               const void *type, uint32_t link_at)
{
    char *head = NULL;
    for (unsigned i = 0; i < n; i++) {
        char *object = dead_block(size, first + i) + pre;
        interpreter_lay_object(object, 0, 0, type);
        interpreter_put(object, link_at, (uintptr_t)head);
        head = object;
    }
    return head;
}

void
dead_lay_tuples(char *heads, char *counts, unsigned first_length,
                uint32_t stride)
{
    char *ones =
        dead_lay_chain(48, 0, DEAD_N_ONES, DEAD_GC, dead_type(DEAD_TUPLE), 24);
    for (char *at = ones; at != NULL;) {
        interpreter_put(at, CPYTHON_OBJECT_SIZE_AT, 1);
        memcpy(&at, at + 24, sizeof(at));
    }
    char *six = dead_lay_chain(96, 0, 1, DEAD_GC, dead_type(DEAD_TUPLE), 24);
    interpreter_put(six, CPYTHON_OBJECT_SIZE_AT, 6);
    interpreter_put(heads, 8 * (1 - first_length), (uintptr_t)ones);
    dead_put_count(counts + stride * (1 - first_length), DEAD_N_ONES);
    interpreter_put(heads, 8 * (6 - first_length), (uintptr_t)six);
    dead_put_count(counts + stride * (6 - first_length), 1);
}

void
dead_lay_array(char *heads, char *count)
{
    for (unsigned i = 0; i < DEAD_N_LISTS; i++) {
        char *object =
            dead_lay_chain(64, i, 1, DEAD_GC, dead_type(DEAD_LIST), 24);
        interpreter_put(heads, 8 * i, (uintptr_t)object);
    }
    dead_put_count(count, DEAD_N_LISTS);
}

/* ---- asking ------------------------------------------------------------ */

struct census *
dead_census(void (*lay_out)(void *))
{
    struct target target = target_start(lay_out, NULL);
    struct census_candidate candidate = asking_candidate(dead.heap, ARENA);
    struct census_request request = asking_request(&candidate, 1);
    if (dead.major == 2 || dead.minor < 10)
        candidate.n_bytes = CPYTHON_SMALL_ARENA;
    request.wants_types = dead.wants_types;
    request.python_major = dead.major;
    request.python_minor = dead.minor;
    request.python_runtime = (uintptr_t)dead.runtime;
    request.python_text.start = (uintptr_t)dead_census;
    struct census *census = asking_take(&target, &request);
    target_end(&target);
    return census;
}

int64_t
dead_residents(const struct census *census, const char *name, uint64_t *n_bytes)
{
    const struct census_never_returned *never = &census->never_returned;
    for (size_t i = 0; i < never->n_free_lists; i++) {
        if (strcmp(never->free_lists[i].name, name) != 0)
            continue;
        *n_bytes = never->free_lists[i].n_bytes;
        return (int64_t)never->free_lists[i].n_residents;
    }
    *n_bytes = 0;
    return -1;
}

enum {
    ALL_RESIDENTS =
        DEAD_N_FLOATS + DEAD_N_LISTS + DEAD_N_ONES + 1 + DEAD_N_ERRORS,
    ALL_BYTES = DEAD_N_FLOATS * 32 + DEAD_N_LISTS * 64 + DEAD_N_ONES * 48 + 96 +
                DEAD_N_ERRORS * 96,
};

void
dead_check_whole(const struct census *census)
{
    const struct census_never_returned *never = &census->never_returned;
    CHECK_DEAD(census, "float", DEAD_N_FLOATS, DEAD_N_FLOATS * 32);
    CHECK_DEAD(census, "list", DEAD_N_LISTS, DEAD_N_LISTS * 64);
    CHECK_DEAD(census, "tuple", DEAD_N_ONES + 1, DEAD_N_ONES * 48 + 96);
    CHECK_DEAD(census, "MemoryError", DEAD_N_ERRORS, DEAD_N_ERRORS * 96);
    CHECK_DEAD(census, "dict", 0, 0);
    CHECK_DEAD(census, "dictkeys", 0, 0);
    check_true(never->has_free_lists);
    check_eq(never->n_residents, ALL_RESIDENTS);
    check_eq(never->dealt_bytes, ALL_BYTES);
    for (size_t i = 1; i < never->n_residents; i++)
        check_true(never->residents[i - 1] < never->residents[i]);
    check_eq(census->ledger[CAUSE_python_never_returned], ALL_BYTES);
    check_eq(census->ledger[CAUSE_python_live], DEAD_LIVE_BYTES - ALL_BYTES);
    check_false(census->is_unknown[CAUSE_python_never_returned]);
}

void
dead_check_doubtful(void (*lay_out)(void *), const char *name)
{
    struct census *census = dead_census(lay_out);
    CHECK_DEAD(census, name, -1, 0);
    check_false(census->never_returned.has_free_lists);
    check_eq(census->ledger[CAUSE_python_never_returned], 0);
    check_eq(census->ledger[CAUSE_python_live], DEAD_LIVE_BYTES);
    check_true(census->is_unknown[CAUSE_python_never_returned]);
    census_destroy(census);
}
