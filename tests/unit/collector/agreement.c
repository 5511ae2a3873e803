#include "collector/agreement.h"

#include "include/attrs.h"
#include "include/recording.h"
#include "tests/unit/check.h"

TestSuite(agreement, .timeout = 60);

enum { BLOCKS = 1000, BYTES = 64 };

#define FIRST ((uint64_t)0x7f0000001030)

/* All of one size, and a block of malloc's, which is nobody's business here. */
static struct livemap *
told(void)
{
    struct livemap *map = livemap_create();
    for (uint64_t i = 0; i < BLOCKS; i++)
        livemap_birth(map, &(struct livemap_block){
                               .addr = FIRST + i * BYTES,
                               .n_bytes = BYTES,
                               .asked_bytes = BYTES,
                               .is_python = true,
                               .is_object = true,
                           });
    livemap_birth(map, &(struct livemap_block){.addr = 0x555500001000,
                                               .n_bytes = BYTES + 8});
    return map;
}

static struct census
found(struct census_object *objects)
{
    for (uint64_t i = 0; i < BLOCKS; i++)
        objects[i] = (struct census_object){
            (FIRST + i * BYTES) & (((uint64_t)1 << 48) - 1), BYTES};
    return (struct census){
        .has_types = true,
        .lists_objects = true,
        .objects = objects,
        .n_objects = BLOCKS,
    };
}

static void
check_found(const struct census *census, int64_t n, int64_t only_told,
            int64_t only_found)
{
    struct livemap *map = told();
    struct recording_objects objects = agreement_told(map);
    check_eq(objects.births, BLOCKS);
    check_eq(objects.live_blocks, BLOCKS);
    check_eq(objects.live_bytes, BLOCKS * BYTES);
    check_eq(objects.found_blocks, RECORDING_UNKNOWN);
    agreement_find(&objects, map, census);
    check_eq(objects.found_blocks, n);
    check_eq(objects.only_told, only_told);
    check_eq(objects.only_found, only_found);
    livemap_destroy(map);
}

Test(agreement, the_same_blocks_differ_in_nothing)
{
    struct census_object objects[BLOCKS];
    const struct census census = found(objects);
    check_found(&census, BLOCKS, 0, 0);
}

Test(agreement, what_one_of_both_lacks_is_counted)
{
    struct census_object objects[BLOCKS];
    struct census census = found(objects);
    census.n_objects -= 3;
    check_found(&census, BLOCKS - 3, 3, 0);
    objects[0].addr ^= 16;
    check_found(&census, BLOCKS - 3, 4, 1);
    objects[1].n_bytes ^= 16;
    check_found(&census, BLOCKS - 3, 5, 2);
    objects[2].addr = 0x555500001000; /* malloc's */
    check_found(&census, BLOCKS - 3, 6, 3);
}

/* Overlapping arenas, which no heap has: the list names a block twice. */
Test(agreement, what_is_listed_twice_proves_nothing)
{
    struct census_object objects[BLOCKS + 1];
    struct census census = found(objects);
    objects[census.n_objects++] = objects[0];
    check_found(&census, RECORDING_UNKNOWN, RECORDING_UNKNOWN,
                RECORDING_UNKNOWN);
}

/* A census without all types, or with a torn pool, is no witness. */
Test(agreement, what_was_not_read_is_not_compared)
{
    struct census_object objects[BLOCKS];
    struct census census = found(objects);
    census.has_types = false;
    check_found(&census, RECORDING_UNKNOWN, RECORDING_UNKNOWN,
                RECORDING_UNKNOWN);
    census = found(objects);
    census.n_torn = 1;
    check_found(&census, RECORDING_UNKNOWN, RECORDING_UNKNOWN,
                RECORDING_UNKNOWN);
    census = found(objects);
    census.lists_objects = false;
    check_found(&census, RECORDING_UNKNOWN, RECORDING_UNKNOWN,
                RECORDING_UNKNOWN);
}
