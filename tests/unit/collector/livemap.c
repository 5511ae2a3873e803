#include "collector/model/livemap.h"

#include <stdlib.h>
#include <string.h>

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

/* What an address has; no bytes: nothing. */
struct model {
    struct livemap_block blocks[PLACES];
};

static struct livemap_block
any_block(uint64_t *state, uint64_t addr)
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
    };
}

static void
check_same(const struct livemap_block *ours, const struct livemap_block *true_)
{
    check_eq(ours->addr, true_->addr);
    check_eq(ours->n_bytes, true_->n_bytes);
    check_eq(ours->asked_bytes, true_->asked_bytes);
    check_eq(ours->is_python, true_->is_python);
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
}

static void
step(struct livemap *map, struct model *model, uint64_t *state)
{
    const unsigned place = (unsigned)(check_random(state) % PLACES);
    struct livemap_block *truth = &model->blocks[place];
    if (check_random(state) % 5 < 2) {
        livemap_death(map, addr_of(place));
        *truth = (struct livemap_block){0};
    } else {
        *truth = any_block(state, addr_of(place));
        livemap_birth(map, truth);
    }
}

Test(livemap, it_has_what_a_table_of_all_addresses_has)
{
    static struct model model;
    uint64_t state = 5;
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
    for (unsigned i = 0; i < 40000; i++) {
        const unsigned one = (unsigned)(check_random(&state) % N);
        const unsigned other = (unsigned)(check_random(&state) % N);
        if (i % 500 == 0 && maps[one] != NULL && one != other) {
            livemap_destroy(maps[other]);
            maps[other] = livemap_clone(maps[one]);
            models[other] = models[one];
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
