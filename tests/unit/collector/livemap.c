#include "collector/model/livemap.h"

#include <stdlib.h>
#include <string.h>

#include "include/attrs.h"
#include "tests/unit/check.h"

enum { PLACES = 400 };

TestSuite(livemap, .timeout = 60);

/* Places of 8 bytes in three regions, some of them far away. */
static uint64_t
addr_of(unsigned place)
{
    static const uint64_t starts[] = {0x555500000ff0, 0x7f1234000000 - 800,
                                      0x7ffff7000000};
    return starts[place % 3] + place / 3 * 8;
}

enum { STACKS = 7 };

/* Numbers that a test gives to blocks: none, neighbours, the greatest. */
static const uint32_t stacks[STACKS] = {0,   1,   2, LIVEMAP_MOST_STACKS - 1,
                                        300, 301, 0};

/* What an address has, no bytes: nothing; and the births by stack. */
struct model {
    struct livemap_block blocks[PLACES];
    bool has_stacks;
    uint64_t alloc_blocks[LIVEMAP_MOST_STACKS];
    uint64_t alloc_bytes[LIVEMAP_MOST_STACKS];
};

static struct livemap_block
any_block(const struct model *model, uint64_t *state, uint64_t addr)
{
    static const uint64_t sizes[] = {24, 40,  1032, 131048,
                                     8,  100, 4080, (uint64_t)3 << 30};
    const uint64_t n_bytes = sizes[check_random(state) % 8];
    const uint64_t slack = check_random(state) % 40;
    return (struct livemap_block){
        .addr = addr,
        .n_bytes = n_bytes,
        .asked_bytes = slack > n_bytes ? 0 : n_bytes - slack,
        .is_python = check_random(state) % 2 == 0,
        .stack = model->has_stacks ? stacks[check_random(state) % STACKS] : 0,
    };
}

static void
check_same(const struct livemap_block *ours, const struct livemap_block *true_)
{
    check_eq(ours->addr, true_->addr);
    check_eq(ours->n_bytes, true_->n_bytes);
    check_eq(ours->asked_bytes, true_->asked_bytes);
    check_eq(ours->is_python, true_->is_python);
    check_eq(ours->is_object, true_->is_object);
    check_eq(ours->stack, true_->stack);
}

/* Each stack has what its blocks have, and all of them what there is. */
static void
check_tallies(const struct livemap *map, const struct model *model)
{
    struct livemap_tally sum = {0};
    size_t n;
    const struct livemap_tally *tallies = livemap_tallies(map, &n);
    for (size_t i = 0; i < n; i++) {
        sum.live_blocks += tallies[i].live_blocks;
        sum.live_bytes += tallies[i].live_bytes;
    }
    check_eq(sum.live_blocks, livemap_totals(map).live_blocks);
    check_eq(sum.live_bytes, livemap_totals(map).live_bytes);
    for (size_t i = 0; i < STACKS; i++) {
        struct livemap_tally truth = {0};
        for (unsigned place = 0; place < PLACES; place++) {
            const struct livemap_block *block = &model->blocks[place];
            const bool is_its =
                block->n_bytes != 0 && block->stack == stacks[i];
            truth.live_blocks += is_its;
            truth.live_bytes += is_its ? block->n_bytes : 0;
        }
        const struct livemap_tally ours = livemap_tally(map, stacks[i]);
        check_eq(ours.stack, stacks[i]);
        check_eq(ours.alloc_blocks, model->alloc_blocks[stacks[i]]);
        check_eq(ours.alloc_bytes, model->alloc_bytes[stacks[i]]);
        check_eq(ours.live_blocks, truth.live_blocks);
        check_eq(ours.live_bytes, truth.live_bytes);
    }
}

static void
check_map(const struct livemap *map, const struct model *model)
{
    uint64_t n_bytes = 0;
    size_t n_live = 0;
    size_t n = 0;
    struct livemap_block *list = livemap_list(map, &n);
    for (size_t i = 1; i < n; i++)
        check_true(list[i - 1].addr < list[i].addr);
    for (unsigned place = 0; place < PLACES; place++) {
        const struct livemap_block *truth = &model->blocks[place];
        struct livemap_block ours;
        const bool is_alive = livemap_find(map, addr_of(place), &ours);
        check_eq(is_alive, truth->n_bytes != 0);
        if (!is_alive)
            continue;
        check_same(&ours, truth);
        n_live++;
        n_bytes += truth->n_bytes;
    }
    free(list);
    check_eq(n, n_live);
    check_eq(livemap_totals(map).live_blocks, n_live);
    check_eq(livemap_totals(map).live_bytes, n_bytes);
    check_tallies(map, model);
}

static void
step(struct livemap *map, struct model *model, uint64_t *state)
{
    const unsigned place = (unsigned)(check_random(state) % PLACES);
    struct livemap_block *truth = &model->blocks[place];
    if (check_random(state) % 5 < 2) {
        check_eq(livemap_death(map, addr_of(place)), truth->stack);
        *truth = (struct livemap_block){0};
        return;
    }
    *truth = any_block(model, state, addr_of(place));
    if (check_random(state) % 8 == 0) {
        livemap_revival(map, truth);
        return;
    }
    livemap_birth(map, truth);
    model->alloc_blocks[truth->stack]++;
    model->alloc_bytes[truth->stack] += truth->n_bytes;
}

/* A fork: what its parent had, and nothing that it did itself. */
static struct livemap *
fork_of(struct livemap *map, const struct model *model, struct model *child)
{
    *child = *model;
    memset(child->alloc_blocks, 0, sizeof(child->alloc_blocks));
    memset(child->alloc_bytes, 0, sizeof(child->alloc_bytes));
    return livemap_clone(map);
}

static void
check_against_table(bool has_stacks)
{
    static struct model model;
    uint64_t state = 5;
    model = (struct model){.has_stacks = has_stacks};
    struct livemap *map = livemap_create();
    for (unsigned i = 0; i < 30000; i++) {
        step(map, &model, &state);
        if (i % 300 == 0)
            check_map(map, &model);
    }
    check_map(map, &model);
    livemap_destroy(map);
    livemap_destroy(NULL);
}

Test(livemap, it_has_what_a_table_of_all_addresses_has)
{
    check_against_table(false);
    check_against_table(true);
}

Test(livemap, every_number_has_a_tally_of_its_own)
{
    struct livemap *map = livemap_create();
    for (uint32_t i = 0; i < LIVEMAP_MOST_STACKS; i++) {
        const uint32_t stack = i * 40503u % LIVEMAP_MOST_STACKS;
        const struct livemap_block block = {
            .addr = 0x10000 + (uint64_t)stack * 16,
            .n_bytes = 24 + stack % 5 * 16,
            .stack = stack,
        };
        livemap_birth(map, &block);
    }
    for (uint32_t stack = 0; stack < LIVEMAP_MOST_STACKS; stack++) {
        const struct livemap_tally tally = livemap_tally(map, stack);
        check_eq(tally.live_blocks, 1);
        check_eq(tally.alloc_bytes, 24 + stack % 5 * 16);
    }
    livemap_destroy(map);
}

Test(livemap, a_number_that_cannot_be_is_no_stack)
{
    static const uint32_t lies[] = {LIVEMAP_MOST_STACKS, UINT32_MAX};
    struct livemap *map = livemap_create();
    for (size_t i = 0; i < 2; i++) {
        const struct livemap_block block = {
            .addr = 0x1000 + 64 * i,
            .n_bytes = 24,
            .stack = lies[i],
        };
        livemap_birth(map, &block);
        check_eq(livemap_tally(map, 0).live_blocks, i + 1);
        livemap_revival(map, &block);
        check_eq(livemap_tally(map, 0).live_blocks, i + 1);
    }
    check_eq(livemap_death(map, 0x1000), 0);
    livemap_destroy(map);
}

Test(livemap, what_was_not_told_is_counted)
{
    const struct livemap_block block = {.addr = 0x1000, .n_bytes = 24};
    struct livemap *map = livemap_create();
    livemap_death(map, 0x1000);
    livemap_death(map, 0x7fffffffffff);
    check_eq(livemap_totals(map).orphans, 2);
    livemap_birth(map, &block);
    livemap_birth(map, &block);
    check_eq(livemap_totals(map).doubles, 1);
    check_eq(livemap_totals(map).live_blocks, 1);
    livemap_death(map, 0x1008);
    check_eq(livemap_totals(map).orphans, 3);
    livemap_death(map, 0x1000);
    check_eq(livemap_totals(map).live_bytes, 0);
    livemap_destroy(map);
}

Test(livemap, where_no_block_can_be_none_is)
{
    const uint64_t end = (uint64_t)1 << 47;
    const uint64_t lies[] = {end, end + 0x1000, (uint64_t)1 << 63,
                             UINT64_MAX - 15, UINT64_MAX};
    struct livemap_block block = {.addr = end - 16, .n_bytes = 24, .stack = 1};
    struct livemap_block found;
    struct livemap *map = livemap_create();
    livemap_birth(map, &block);
    for (size_t i = 0; i < countof(lies); i++) {
        block.addr = lies[i];
        livemap_birth(map, &block);
        livemap_revival(map, &block);
        check_false(livemap_find(map, lies[i], &found));
        check_eq(livemap_totals(map).live_blocks, 1);
        check_eq(livemap_tally(map, 1).alloc_blocks, 1);
        livemap_death(map, lies[i]);
        check_eq(livemap_totals(map).orphans, i + 1);
    }
    check_eq(livemap_death(map, end - 16), 1);
    livemap_destroy(map);
}

Test(livemap, the_peak_stays)
{
    struct livemap *map = livemap_create();
    for (uint64_t i = 1; i <= 10; i++)
        livemap_birth(
            map, &(struct livemap_block){.addr = i << 20, .n_bytes = 1000});
    for (uint64_t i = 1; i <= 10; i++)
        livemap_death(map, i << 20);
    check_eq(livemap_totals(map).peak_bytes, 10000);
    check_eq(livemap_totals(map).live_bytes, 0);
    livemap_destroy(map);
}

/* Clones and clones of clones go their ways; some end, in any order. */
Test(livemap, a_clone_and_its_origin_know_nothing_of_one_another)
{
    enum { N = 6 };
    static struct model models[N];
    struct livemap *maps[N] = {livemap_create()};
    uint64_t state = 9;
    models[0].has_stacks = true;
    for (unsigned i = 0; i < 40000; i++) {
        const unsigned one = (unsigned)(check_random(&state) % N);
        const unsigned other = (unsigned)(check_random(&state) % N);
        if (i % 500 == 0 && maps[one] != NULL && one != other) {
            livemap_destroy(maps[other]);
            maps[other] = fork_of(maps[one], &models[one], &models[other]);
        }
        if (maps[one] != NULL)
            step(maps[one], &models[one], &state);
        if (i % 1000 == 0 && maps[one] != NULL)
            check_map(maps[one], &models[one]);
    }
    for (unsigned i = 0; i < N; i++) {
        if (maps[i] != NULL)
            check_map(maps[i], &models[i]);
        livemap_destroy(maps[i]);
    }
}

/* ---- objects ----------------------------------------------------------- */

static struct livemap_block
object_at(uint64_t addr)
{
    return (struct livemap_block){
        .addr = addr,
        .n_bytes = 48,
        .asked_bytes = 40,
        .is_python = true,
        .is_object = true,
    };
}

static void
check_objects(const struct livemap *map, uint64_t n, uint64_t n_orphans)
{
    const struct livemap_totals totals = livemap_totals(map);
    check_eq(totals.object_blocks, n);
    check_eq(totals.object_bytes, n * 48);
    check_eq(totals.object_orphans, n_orphans);
}

/* The second of two that share 16 bytes has the address of their half. */
Test(livemap, objects_are_counted_apart)
{
    struct livemap *map = livemap_create();
    const uint64_t addrs[] = {0x555500001000, 0x555500001008, 0x555500002018};
    struct livemap_block found;
    for (size_t i = 0; i < countof(addrs); i++) {
        const struct livemap_block object = object_at(addrs[i]);
        livemap_birth(map, &object);
        check_true(livemap_find(map, addrs[i], &found));
        check_true(found.is_object);
        check_same(&found, &object);
    }
    check_false(livemap_find(map, 0x555500002010, &found));
    check_objects(map, 3, 0);
    check_eq(livemap_totals(map).live_blocks, 0);
    check_eq(livemap_totals(map).peak_bytes, 0);
    check_eq(livemap_tally(map, 0).alloc_blocks, 0);

    livemap_object_death(map, addrs[1], false);
    livemap_object_death(map, addrs[1], true);
    check_objects(map, 2, 0);
    livemap_object_death(map, addrs[1], false);
    check_objects(map, 2, 1);
    check_eq(livemap_totals(map).object_births, 3);
    check_eq(livemap_totals(map).object_deaths, 1);

    struct livemap *clone = livemap_clone(map);
    livemap_object_death(map, addrs[0], false);
    check_objects(map, 1, 1);
    check_objects(clone, 2, 0);
    livemap_destroy(clone);
    livemap_destroy(map);
}

/* What the object allocator was asked for and malloc gave is malloc's. */
Test(livemap, of_a_block_of_mallocs_no_object_is_told)
{
    struct livemap *map = livemap_create();
    const struct livemap_block block = {
        .addr = 0x555500001000, .n_bytes = 24, .asked_bytes = 24};
    const struct livemap_block object = object_at(block.addr);
    livemap_birth(map, &block);
    livemap_birth(map, &object);
    check_objects(map, 0, 0);
    livemap_object_death(map, block.addr, false);
    check_objects(map, 0, 0);
    check_eq(livemap_totals(map).live_blocks, 1);
    livemap_death(map, block.addr);
    check_eq(livemap_totals(map).live_blocks, 0);
    check_eq(livemap_totals(map).orphans, 0);
    livemap_destroy(map);
}

/* Events that were lost are no reason to mix up both allocators' figures. */
Test(livemap, what_malloc_has_in_an_objects_place_is_no_object)
{
    struct livemap *map = livemap_create();
    const struct livemap_block object = object_at(0x555500001000);
    const struct livemap_block block = {
        .addr = object.addr, .n_bytes = 24, .asked_bytes = 24};
    livemap_birth(map, &object);
    livemap_birth(map, &block); /* its death was lost */
    check_objects(map, 0, 0);
    check_eq(livemap_totals(map).object_deaths, 1);
    check_eq(livemap_totals(map).doubles, 0);
    livemap_death(map, block.addr);

    livemap_birth(map, &object);
    livemap_death(map, block.addr); /* so was malloc's birth */
    check_objects(map, 0, 0);
    check_eq(livemap_totals(map).object_deaths, 2);
    check_eq(livemap_totals(map).orphans, 1);
    livemap_destroy(map);
}

/* A stack that is told with an object is not left for who comes next. */
Test(livemap, an_object_has_no_stack)
{
    struct livemap *map = livemap_create();
    struct livemap_block object = object_at(0x555500001000);
    object.stack = 5;
    livemap_birth(map, &object);
    livemap_object_death(map, object.addr, false);
    const struct livemap_block block = {
        .addr = object.addr, .n_bytes = 24, .asked_bytes = 24};
    livemap_birth(map, &block);
    check_eq(livemap_death(map, block.addr), 0);
    check_eq(livemap_tally(map, 5).live_blocks, 0);
    check_eq(livemap_tally(map, 0).live_blocks, 0);
    livemap_destroy(map);
}

/* ---- words ------------------------------------------------------------- */

enum { RUN = 300, RUNS = 400 };

/* Of few pages, of which some hold odd blocks too, and of one far away. */
static uint64_t
any_word(uint64_t *state)
{
    const uint64_t random = check_random(state);
    const uint64_t addr = (random % 7 == 0 ? 0x7f1234000000 : 0x555500000000) +
                          (random >> 8) % 700 * 16;
    const uint64_t said = (random >> 32 & 0x7ffff) | (uint64_t)1 << 6;
    return addr / 16 << LIVEMAP_ADDR_SHIFT | said |
           (random % 2 == 0 ? LIVEMAP_DEATH : 0) |
           ((said & LIVEMAP_OBJECT) != 0 ? LIVEMAP_PYTHON : 0);
}

static void
tell_one(struct livemap *map, uint64_t word)
{
    const struct livemap_block block = livemap_word_block(word);
    if ((word & LIVEMAP_DEATH) == 0)
        livemap_birth(map, &block);
    else if (block.is_object)
        livemap_object_death(map, block.addr, (word & LIVEMAP_MOVED) != 0);
    else
        livemap_death(map, block.addr);
}

static void
check_alike(const struct livemap *ours, const struct livemap *truth)
{
    const struct livemap_totals a = livemap_totals(ours);
    const struct livemap_totals b = livemap_totals(truth);
    check_eq(a.live_blocks, b.live_blocks);
    check_eq(a.live_bytes, b.live_bytes);
    check_eq(a.peak_bytes, b.peak_bytes);
    check_eq(a.orphans, b.orphans);
    check_eq(a.doubles, b.doubles);
    check_eq(a.object_blocks, b.object_blocks);
    check_eq(a.object_bytes, b.object_bytes);
    check_eq(a.object_births, b.object_births);
    check_eq(a.object_deaths, b.object_deaths);
    check_eq(a.object_orphans, b.object_orphans);
    const struct livemap_tally ours_of_none = livemap_tally(ours, 0);
    const struct livemap_tally true_of_none = livemap_tally(truth, 0);
    check_eq(ours_of_none.live_bytes, true_of_none.live_bytes);
    check_eq(ours_of_none.alloc_blocks, true_of_none.alloc_blocks);
    check_eq(ours_of_none.alloc_bytes, true_of_none.alloc_bytes);
    size_t n;
    size_t n_true;
    struct livemap_block *list = livemap_list(ours, &n);
    struct livemap_block *true_list = livemap_list(truth, &n_true);
    check_eq(n, n_true);
    for (size_t i = 0; i < n; i++)
        check_same(&list[i], &true_list[i]);
    free(list);
    free(true_list);
}

static void
tell_run(struct livemap *ours, struct livemap *truth, uint64_t *state)
{
    uint64_t words[RUN];
    const size_t n = check_random(state) % RUN;
    for (size_t i = 0; i < n; i++) {
        words[i] = any_word(state);
        tell_one(truth, words[i]);
    }
    char unaligned[sizeof(words) + 1];
    memcpy(unaligned + 1, words, sizeof(words));
    livemap_words(ours, unaligned + 1, n);
    const struct livemap_block odd = {
        .addr = 0x555500000000 + check_random(state) % 700 * 16 + 8,
        .n_bytes = 100,
        .asked_bytes = 100,
    };
    livemap_birth(ours, &odd);
    livemap_birth(truth, &odd);
}

Test(livemap, words_say_what_births_and_deaths_do)
{
    uint64_t state = 11;
    struct livemap *ours = livemap_create();
    struct livemap *truth = livemap_create();
    for (unsigned i = 0; i < RUNS; i++) {
        tell_run(ours, truth, &state);
        check_alike(ours, truth);
        if (i % 50 != 49)
            continue;
        struct livemap *our_child = livemap_clone(ours);
        struct livemap *true_child = livemap_clone(truth);
        tell_run(our_child, true_child, &state);
        tell_run(ours, truth, &state);
        check_alike(our_child, true_child);
        check_alike(ours, truth);
        livemap_destroy(i % 100 == 49 ? ours : our_child);
        livemap_destroy(i % 100 == 49 ? truth : true_child);
        ours = i % 100 == 49 ? our_child : ours;
        truth = i % 100 == 49 ? true_child : truth;
    }
    livemap_destroy(ours);
    livemap_destroy(truth);
}

Test(livemap, a_leaf_is_emptied_and_filled_again_and_again)
{
    struct livemap *map = livemap_create();
    const uint64_t born = (uint64_t)0x1000 << LIVEMAP_ADDR_SHIFT | 5 << 6;
    const uint64_t far = born + ((uint64_t)4096 << LIVEMAP_ADDR_SHIFT);
    const uint64_t words[] = {
        born, born | LIVEMAP_DEATH, far,  far | LIVEMAP_DEATH,
        far,  far | LIVEMAP_DEATH,  born, born | LIVEMAP_DEATH};
    for (unsigned i = 0; i < 100; i++)
        livemap_words(map, words, 8);
    check_eq(livemap_totals(map).live_blocks, 0);
    check_eq(livemap_totals(map).orphans, 0);
    check_eq(livemap_totals(map).doubles, 0);
    check_eq(livemap_tally(map, 0).alloc_blocks, 400);
    livemap_destroy(map);
}
