#include "collector/model/sites.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/check.h"

TestSuite(sites, .timeout = 60);

static struct catalogue *catalogue;
static struct sites *sites;
static struct livemap *map;

static void
set_up(void)
{
    catalogue = catalogue_create();
    sites = sites_create(catalogue);
    map = livemap_create();
}

static void
clean_up(void)
{
    livemap_destroy(map);
    sites_destroy(sites);
    catalogue_destroy(catalogue);
}

static void
tell_image(struct sites *of, const char *path, uint64_t start, uint64_t end)
{
    sites_image(of, &(struct sites_image){
                        .start = start,
                        .end = end,
                        .bias = start,
                        .module = {.path = path},
                    });
}

static void
tell_stack(struct sites *of, uint32_t number, uint64_t first, uint64_t second)
{
    const uint64_t frames[] = {first, second};
    sites_stack(of, number, frames, 2);
}

static void
give_birth(uint64_t addr, uint64_t n_bytes, uint32_t stack)
{
    const struct livemap_block block = {.addr = addr,
                                        .n_bytes = n_bytes,
                                        .asked_bytes = n_bytes,
                                        .stack = stack};
    livemap_birth(map, &block);
}

/* What a site has by now; nothing, if it is not listed. */
static struct sites_use
use_of(struct sites *of, uint32_t site)
{
    struct sites_use use = {0};
    size_t n;
    struct sites_use *uses = sites_list(of, map, &n);
    for (size_t i = 0; i < n; i++) {
        if (uses[i].site == site)
            use = uses[i];
    }
    free(uses);
    return use;
}

/* The frame of a site, as "path+offset" says it. */
static void
check_frame(uint32_t site, size_t depth, const char *path, uint64_t offset)
{
    const struct catalogue_site is = catalogue_get_site(catalogue, site);
    cr_assert(depth < is.n_frames);
    const struct catalogue_frame frame =
        catalogue_get_frame(catalogue, is.frames[depth]);
    check_eq(frame.offset, offset);
    if (path == NULL)
        check_eq(frame.module, 0);
    else
        check_text(catalogue_get_module(catalogue, frame.module).path, path);
}

Test(sites, numbers_become_frames_of_modules, .init = set_up, .fini = clean_up)
{
    tell_image(sites, "/lib/a", 0x10000, 0x20000);
    tell_image(sites, "/lib/b", 0x20000, 0x30000);
    tell_stack(sites, 5, 0x10123, 0x20001);
    give_birth(0x1000, 24, 5);
    give_birth(0x2000, 40, 5);
    livemap_death(map, 0x1000);
    const struct sites_use use = use_of(sites, 1);
    check_eq(use.live_blocks, 1);
    check_eq(use.live_bytes, 40);
    check_eq(use.alloc_blocks, 2);
    check_eq(use.alloc_bytes, 64);
    check_frame(1, 0, "/lib/a", 0x123);
    check_frame(1, 1, "/lib/b", 1);
    check_false(catalogue_get_site(catalogue, 1).is_cut);
    check_eq(sites_lies(sites), 0);
}

/* A call that never returns may be an image's last instruction. */
Test(sites, a_return_address_belongs_to_the_call_before_it, .init = set_up,
     .fini = clean_up)
{
    tell_image(sites, "/lib/a", 0x10000, 0x20000);
    tell_image(sites, "/lib/b", 0x20000, 0x30000);
    tell_stack(sites, 1, 0x20000, 0x30000);
    give_birth(0x1000, 24, 1);
    use_of(sites, 1);
    check_frame(1, 0, "/lib/a", 0x10000);
    check_frame(1, 1, "/lib/b", 0x10000);
}

Test(sites, the_same_frames_are_one_site, .init = set_up, .fini = clean_up)
{
    tell_image(sites, "/lib/a", 0x10000, 0x20000);
    tell_stack(sites, 1, 0x10010, 0x10020);
    tell_image(sites, "/lib/a", 0x50000, 0x60000); /* loaded once more */
    tell_stack(sites, 2, 0x50010, 0x50020);
    tell_stack(sites, 3, 0x50010, 0x50021);
    for (uint32_t i = 1; i <= 3; i++)
        give_birth(0x1000 * i, 24, i);
    check_eq(use_of(sites, 1).live_blocks, 2);
    check_eq(use_of(sites, 2).live_blocks, 1);
    check_eq(catalogue_n_sites(catalogue), 2);
}

Test(sites, what_is_told_in_any_order_is_known_in_the_end, .init = set_up,
     .fini = clean_up)
{
    give_birth(0x1000, 24, 7);
    check_eq(use_of(sites, 0).live_blocks, 1);
    tell_stack(sites, 7, 0x10010, 0x20020);
    tell_image(sites, "/lib/a", 0x10000, 0x20000);
    check_eq(catalogue_n_sites(catalogue), 0);
    check_eq(use_of(sites, 1).live_blocks, 1); /* as far as it is known */
    check_frame(1, 0, "/lib/a", 0x10);
    check_frame(1, 1, NULL, 0x20020);
    tell_image(sites, "/lib/b", 0x20000, 0x30000);
    check_eq(use_of(sites, 2).live_blocks, 1);
    check_frame(2, 1, "/lib/b", 0x20);
    check_eq(use_of(sites, 1).live_blocks, 0);
    tell_stack(sites, 7, 0x10010, 0x20020);
    check_eq(use_of(sites, 2).live_blocks, 1);
}

Test(sites, a_stack_that_ends_with_0_is_cut, .init = set_up, .fini = clean_up)
{
    const uint64_t nothing = 0;
    tell_image(sites, "/lib/a", 0x10000, 0x20000);
    tell_stack(sites, 1, 0x10010, 0);
    sites_stack(sites, 2, &(uint64_t){0x10010}, 1);
    sites_stack(sites, 3, &nothing, 1);
    for (uint32_t i = 1; i <= 3; i++)
        give_birth(0x1000 * i, 24, i);
    check_eq(use_of(sites, 1).live_blocks, 1);
    check_eq(use_of(sites, 2).live_blocks, 1);
    check_eq(use_of(sites, 0).live_blocks, 1);
    check_true(catalogue_get_site(catalogue, 1).is_cut);
    check_eq(catalogue_get_site(catalogue, 1).n_frames, 1);
    check_false(catalogue_get_site(catalogue, 2).is_cut);
    check_eq(sites_lies(sites), 0);
}

Test(sites, images_replace_what_they_overlap, .init = set_up, .fini = clean_up)
{
    tell_image(sites, "/old", 0x10000, 0x20000);
    tell_image(sites, "/next", 0x20000, 0x30000);
    tell_image(sites, "/mid", 0x14000, 0x15000);
    tell_image(sites, "/over", 0x1f000, 0x21000);
    static const struct {
        uint64_t addr;
        const char *path;
        uint64_t start;
    } expected[] = {
        {0x13fff, "/old",  0x10000},
        {0x14001, "/mid",  0x14000},
        {0x15000, "/mid",  0x14000},
        {0x15001, "/old",  0x10000},
        {0x1f001, "/over", 0x1f000},
        {0x21000, "/over", 0x1f000},
        {0x21001, "/next", 0x20000},
        {0x30001, NULL,    0      },
        {0x10000, NULL,    0      },
    };
    for (uint32_t i = 0; i < 9; i++) {
        sites_stack(sites, i + 1, &expected[i].addr, 1);
        give_birth(0x1000 * (i + 1), 24, i + 1);
    }
    use_of(sites, 1);
    unsigned n_found = 0;
    for (uint32_t i = 0; i < 9; i++) {
        for (uint32_t id = 1; id <= catalogue_n_sites(catalogue); id++) {
            const struct catalogue_frame frame = catalogue_get_frame(
                catalogue, catalogue_get_site(catalogue, id).frames[0]);
            const char *path =
                frame.module == 0
                    ? NULL
                    : catalogue_get_module(catalogue, frame.module).path;
            n_found += frame.offset == expected[i].addr - expected[i].start &&
                       (path == expected[i].path ||
                        (path != NULL && expected[i].path != NULL &&
                         strcmp(path, expected[i].path) == 0));
        }
    }
    check_eq(n_found, 9);
}

/* Each address belongs to the image that was told last of those that have it.
 */
Test(sites, images_in_any_order_are_where_the_latest_says, .init = set_up,
     .fini = clean_up)
{
    enum { ADDRS = 200, IMAGES = 300 };
    int owner[ADDRS];
    uint64_t state = 11;
    for (unsigned i = 0; i < ADDRS; i++)
        owner[i] = -1;
    for (int i = 0; i < IMAGES; i++) {
        char path[16];
        const uint64_t start = check_random(&state) % (ADDRS - 1);
        const uint64_t end =
            start + 1 + check_random(&state) % (ADDRS - start - 1);
        snprintf(path, sizeof(path), "/%d", i);
        tell_image(sites, path, 0x1000 + start, 0x1000 + end);
        for (uint64_t k = start; k < end; k++)
            owner[k] = i;
        const uint64_t at = check_random(&state) % ADDRS;
        sites_stack(sites, (uint32_t)i + 1, &(uint64_t){0x1000 + at + 1}, 1);
        give_birth(0x1000 * (uint64_t)(i + 1), 24, (uint32_t)i + 1);
        size_t n;
        free(sites_list(sites, map, &n));
        if (owner[at] < 0)
            continue;
        snprintf(path, sizeof(path), "/%d", owner[at]);
        bool is_found = false;
        for (uint32_t id = 1; id <= catalogue_n_frames(catalogue); id++) {
            const struct catalogue_frame frame =
                catalogue_get_frame(catalogue, id);
            is_found =
                is_found ||
                (frame.module != 0 &&
                 strcmp(catalogue_get_module(catalogue, frame.module).path,
                        path) == 0);
        }
        check_true(is_found);
    }
}

/* What it is told afterwards is its own, and what its parent is told too. */
Test(sites, a_child_goes_on_with_its_parents_numbers, .init = set_up,
     .fini = clean_up)
{
    tell_image(sites, "/lib/a", 0x10000, 0x20000);
    tell_stack(sites, 1, 0x10010, 0x10020);
    tell_stack(sites, 2, 0x10030, 0x20040); /* partly not known yet */
    struct sites *child = sites_clone(sites);
    tell_image(child, "/lib/child", 0x20000, 0x30000);
    tell_image(sites, "/lib/parent", 0x20000, 0x30000);
    tell_stack(sites, 3, 0x10050, 0x10060);
    for (uint32_t i = 1; i <= 3; i++)
        give_birth(0x1000 * i, 24, i);
    check_eq(use_of(child, 1).live_blocks, 1);
    check_eq(use_of(sites, 1).live_blocks, 1);
    check_eq(use_of(sites, 2).live_blocks, 1); /* number 3 */
    check_eq(use_of(child, 2).live_blocks, 0);
    check_eq(use_of(child, 0).live_blocks, 1);
    check_eq(use_of(child, 3).live_blocks, 1); /* number 2 */
    check_frame(3, 1, "/lib/child", 0x40);
    check_eq(use_of(sites, 4).live_blocks, 1);
    check_frame(4, 1, "/lib/parent", 0x40);
    sites_destroy(child);
}

Test(sites, lies_are_counted_and_harm_nobody, .init = set_up, .fini = clean_up)
{
    uint64_t many[SITES_MOST_FRAMES + 50];
    for (size_t i = 0; i < SITES_MOST_FRAMES + 50; i++)
        many[i] = 0x10010 + i;
    tell_image(sites, "/lib/a", 0x10000, 0x20000);
    tell_image(sites, "/lib/b", 0x20000, 0x20000);
    tell_image(sites, "/lib/b", UINT64_MAX, 0);
    check_eq(sites_lies(sites), 2);
    sites_stack(sites, 0, many, 2);
    sites_stack(sites, LIVEMAP_MOST_STACKS, many, 2);
    sites_stack(sites, UINT32_MAX, many, 2);
    sites_stack(sites, 1, NULL, 0);
    check_eq(sites_lies(sites), 6);
    sites_stack(sites, LIVEMAP_MOST_STACKS - 1, many, SITES_MOST_FRAMES + 50);
    check_eq(sites_lies(sites), 7);
    sites_stack(sites, 2, (const uint64_t[]){0x10010, 0, 0x10020}, 3);
    check_eq(sites_lies(sites), 8);
    check_true(catalogue_get_site(catalogue, 1).is_cut);
    check_eq(catalogue_get_site(catalogue, 1).n_frames, SITES_MOST_FRAMES);
    check_true(catalogue_get_site(catalogue, 2).is_cut);
    check_eq(catalogue_get_site(catalogue, 2).n_frames, 1);
}

/* ---- many of them ------------------------------------------------------ */

enum { BLOCKS = 500, NUMBERS = 40, PROCESSES = 5 };

struct truth {
    struct livemap_block blocks[BLOCKS];
    struct livemap_tally allocs[NUMBERS]; /* births alone */
};

/* Of several numbers that mean the same site; number 0 mod 8 is never told. */
static uint64_t
frame_of_number(uint32_t number)
{
    return 0x10010 + number / 3;
}

static void
check_uses(struct sites *of, const struct livemap *heap,
           const struct truth *truth)
{
    size_t n;
    struct sites_use *uses = sites_list(of, heap, &n);
    struct sites_use sum = {0};
    for (size_t i = 0; i < n; i++) {
        struct sites_use expected = {.site = uses[i].site};
        check_true(i == 0 || uses[i - 1].site < uses[i].site);
        for (uint32_t number = 0; number < NUMBERS; number++) {
            uint32_t site = 0;
            if (number % 8 != 0)
                site = catalogue_site(
                    catalogue,
                    &(struct catalogue_site){
                        .frames = &(uint32_t){catalogue_frame(
                            catalogue,
                            &(struct catalogue_frame){
                                frame_of_number(number) - 0x10000, 1})},
                        .n_frames = 1,
                    });
            if (site != uses[i].site)
                continue;
            expected.alloc_blocks += truth->allocs[number].alloc_blocks;
            expected.alloc_bytes += truth->allocs[number].alloc_bytes;
            for (unsigned k = 0; k < BLOCKS; k++) {
                const struct livemap_block *block = &truth->blocks[k];
                if (block->n_bytes == 0 || block->stack != number)
                    continue;
                expected.live_blocks++;
                expected.live_bytes += block->n_bytes;
            }
        }
        check_eq(uses[i].live_blocks, expected.live_blocks);
        check_eq(uses[i].live_bytes, expected.live_bytes);
        check_eq(uses[i].alloc_blocks, expected.alloc_blocks);
        check_eq(uses[i].alloc_bytes, expected.alloc_bytes);
        sum.live_blocks += uses[i].live_blocks;
        sum.live_bytes += uses[i].live_bytes;
    }
    check_eq(sum.live_blocks, livemap_totals(heap).live_blocks);
    check_eq(sum.live_bytes, livemap_totals(heap).live_bytes);
    free(uses);
}

/* Births, deaths, forks; stacks are told now and then, by whoever met them. */
Test(sites, sites_add_up_to_what_lives_in_every_process)
{
    static struct truth truths[PROCESSES];
    struct sites *all[PROCESSES] = {NULL};
    struct livemap *heaps[PROCESSES] = {NULL};
    uint64_t state = 17;
    catalogue = catalogue_create();
    all[0] = sites_create(catalogue);
    heaps[0] = livemap_create();
    tell_image(all[0], "/lib/a", 0x10000, 0x20000);
    for (unsigned i = 0; i < 60000; i++) {
        const size_t one = check_random(&state) % PROCESSES;
        const size_t other = check_random(&state) % PROCESSES;
        const size_t k = check_random(&state) % BLOCKS;
        const uint32_t number = (uint32_t)(check_random(&state) % NUMBERS);
        struct livemap_block *block = &truths[one].blocks[k];
        if (all[one] == NULL)
            continue;
        if (i % 1000 == 0 && one != other) {
            sites_destroy(all[other]);
            livemap_destroy(heaps[other]);
            all[other] = sites_clone(all[one]);
            heaps[other] = livemap_clone(heaps[one]);
            truths[other] = truths[one];
            memset(truths[other].allocs, 0, sizeof(truths[other].allocs));
        }
        if (block->n_bytes != 0) {
            livemap_death(heaps[one], block->addr);
            block->n_bytes = 0;
        } else {
            *block = (struct livemap_block){
                .addr = 0x1000 + 24 * k,
                .n_bytes = 24 + 16 * (check_random(&state) % 20),
                .stack = number,
            };
            livemap_birth(heaps[one], block);
            truths[one].allocs[number].alloc_blocks++;
            truths[one].allocs[number].alloc_bytes += block->n_bytes;
        }
        if (number % 8 != 0)
            sites_stack(all[one], number, &(uint64_t){frame_of_number(number)},
                        1);
        if (i % 1500 != 0)
            continue;
        for (uint32_t told = 1; told < NUMBERS; told++) {
            const uint64_t frame = frame_of_number(told);
            if (told % 8 != 0)
                sites_stack(all[one], told, &frame, 1);
        }
        check_uses(all[one], heaps[one], &truths[one]);
    }
    for (unsigned i = 0; i < PROCESSES; i++) {
        sites_destroy(all[i]);
        livemap_destroy(heaps[i]);
    }
    catalogue_destroy(catalogue);
}
