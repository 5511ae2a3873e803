#include "collector/model/blocks.h"

#include <stdlib.h>

#include "tests/unit/check.h"

enum { ADDRESSES = 12, MOST_EVENTS = 60 };

#define START ((uint64_t)0x7f0000000010)
#define NEVER UINT64_MAX

TestSuite(blocks, .timeout = 30);

/* Of one address, births and deaths take turns; n_bytes 0: a death. */
struct event {
    uint64_t stamp;
    unsigned address;
    uint64_t n_bytes;
    uint64_t heard_us;
};

static uint64_t
addr_of(unsigned address)
{
    return START + (uint64_t)address * 0x40000;
}

static void
tell(struct blocks *blocks, const struct event *event)
{
    const struct blocks_block block = {
        .addr = addr_of(event->address),
        .n_bytes = event->n_bytes,
        .is_python = event->n_bytes % 2 == 1,
    };
    if (event->n_bytes != 0)
        blocks_birth(blocks, event->stamp, &block);
    else
        blocks_death(blocks, event->stamp, block.addr, event->heard_us);
}

/* What is known of an address by its events up to a stamp, which ascend. */
struct known {
    uint64_t n_bytes;    /* of the last birth; 0: none was told */
    uint64_t gone_bytes; /* of the one before it, that went lately; 0: none */
    bool is_gone;
};

static void
judge(const struct event *events, size_t n, uint64_t stamp, uint64_t since_us,
      struct known *known)
{
    for (unsigned address = 0; address < ADDRESSES; address++) {
        uint64_t birth = 0;
        uint64_t death = 0;
        uint64_t heard_us = 0;
        uint64_t gone_bytes = 0;
        known[address] = (struct known){0};
        for (size_t i = 0; i < n; i++) {
            const struct event *event = &events[i];
            if (event->address != address || event->stamp > stamp)
                continue;
            if (event->n_bytes != 0 && event->stamp > birth) {
                birth = event->stamp;
                gone_bytes = known[address].n_bytes;
                known[address].n_bytes = event->n_bytes;
            } else if (event->n_bytes == 0 && event->stamp > death) {
                death = event->stamp;
                heard_us = event->heard_us;
            }
        }
        known[address].is_gone = death > birth;
        if (death > birth && heard_us < since_us)
            known[address] = (struct known){0};
        if (birth > death && death != 0 && heard_us >= since_us)
            known[address].gone_bytes = gone_bytes;
    }
}

static void
check_list(const struct blocks *blocks, uint64_t since_us,
           const struct known *known)
{
    size_t n = 0;
    size_t at = 0;
    struct blocks_block *list = blocks_list(blocks, since_us, &n);
    for (unsigned address = 0; address < ADDRESSES; address++) {
        if (known[address].n_bytes == 0)
            continue;
        if (known[address].gone_bytes != 0) {
            check_true(at < n);
            check_eq(list[at].addr, addr_of(address));
            check_eq(list[at].n_bytes, known[address].gone_bytes);
            check_true(list[at].is_gone);
            at++;
        }
        check_true(at < n);
        check_eq(list[at].addr, addr_of(address));
        check_eq(list[at].n_bytes, known[address].n_bytes);
        check_eq(list[at].is_python, known[address].n_bytes % 2 == 1);
        check_eq(list[at].is_gone, known[address].is_gone);
        at++;
    }
    check_eq(at, n);
    free(list);
}

/* Stamps ascend; each address is born, dies, is born again. */
static size_t
make_up(uint64_t *state, struct event *events)
{
    bool is_alive[ADDRESSES] = {false};
    const size_t n = 1 + check_random(state) % (MOST_EVENTS - 1);
    for (size_t i = 0; i < n; i++) {
        const unsigned address = (unsigned)(check_random(state) % ADDRESSES);
        events[i] = (struct event){
            .stamp = i + 1,
            .address = address,
            .n_bytes = is_alive[address] ? 0 : 100 + check_random(state) % 1000,
            .heard_us = 10 * i,
        };
        is_alive[address] = !is_alive[address];
    }
    return n;
}

static void
shuffle(uint64_t *state, struct event *events, size_t n)
{
    for (size_t i = n; i > 1; i--) {
        const size_t k = check_random(state) % i;
        const struct event event = events[i - 1];
        events[i - 1] = events[k];
        events[k] = event;
    }
}

Test(blocks, of_none_there_is_an_empty_list)
{
    struct blocks *blocks = blocks_create();
    size_t n = 1;
    free(blocks_list(blocks, 0, &n));
    check_eq(n, 0);
    blocks_destroy(blocks);
    blocks_destroy(NULL);
}

Test(blocks, in_any_order_the_greater_stamp_is_true)
{
    uint64_t state = 1;
    for (unsigned round = 0; round < 2000; round++) {
        struct event events[MOST_EVENTS];
        struct known known[ADDRESSES];
        struct known lately[ADDRESSES];
        const size_t n = make_up(&state, events);
        const uint64_t since_us = check_random(&state) % (10 * MOST_EVENTS);
        judge(events, n, NEVER, NEVER, known);
        judge(events, n, NEVER, since_us, lately);
        shuffle(&state, events, n);
        struct blocks *blocks = blocks_create();
        for (size_t i = 0; i < n; i++)
            tell(blocks, &events[i]);
        check_list(blocks, NEVER, known);
        check_list(blocks, since_us, lately);
        blocks_destroy(blocks);
    }
}

/* It is made when the child tells of itself, long after the fork. */
Test(blocks, a_clone_is_what_there_was_at_its_stamp)
{
    uint64_t state = 2;
    for (unsigned round = 0; round < 2000; round++) {
        struct event events[MOST_EVENTS];
        struct known known[ADDRESSES];
        const size_t n = make_up(&state, events);
        struct blocks *blocks = blocks_create();
        for (size_t i = 0; i < n; i++)
            tell(blocks, &events[i]);
        const uint64_t stamp = check_random(&state) % (n + 2);
        struct blocks *clone = blocks_clone(blocks, stamp);
        blocks_destroy(blocks); /* they share nothing */
        judge(events, n, stamp, NEVER, known);
        check_list(clone, NEVER, known);
        blocks_destroy(clone);
    }
}

/* ---- deaths that are remembered ---------------------------------------- */

static void
kill_others(struct blocks *blocks, uint64_t first_stamp, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++)
        blocks_death(blocks, first_stamp + i, START + (1000000 + i) * 0x1000,
                     5);
}

Test(blocks, a_birth_may_come_long_after_its_death)
{
    struct blocks *blocks = blocks_create();
    kill_others(blocks, 100, 4095);
    tell(blocks, &(struct event){.stamp = 50, .address = 1, .heard_us = 7});
    kill_others(blocks, 10000, 2000);
    tell(blocks, &(struct event){.stamp = 40, .address = 1, .n_bytes = 9});
    size_t n = 1;
    free(blocks_list(blocks, NEVER, &n));
    check_eq(n, 0);
    blocks_destroy(blocks);
}

Test(blocks, who_has_just_died_is_still_told)
{
    struct blocks *blocks = blocks_create();
    size_t n = 0;
    for (unsigned i = 1; i < 10000; i++) {
        tell(blocks,
             &(struct event){.stamp = 2 * i, .address = i, .n_bytes = 8});
        tell(blocks,
             &(struct event){.stamp = 2 * i + 1, .address = i, .heard_us = i});
        if (i % 89 != 0)
            continue;
        free(blocks_list(blocks, i - 80, &n));
        check_eq(n, 81);
    }
    blocks_destroy(blocks);
}

Test(blocks, the_dead_do_not_pile_up_and_the_living_stay)
{
    struct blocks *blocks = blocks_create();
    for (unsigned i = 0; i < ADDRESSES; i++)
        tell(blocks,
             &(struct event){.stamp = i + 1, .address = i, .n_bytes = 8});
    for (uint64_t i = 1; i < 100; i++)
        kill_others(blocks, 10000 * i, 3000);
    for (unsigned i = 0; i < 20000; i++)
        tell(blocks, &(struct event){.stamp = 10000000 + i,
                                     .address = 100 + i,
                                     .n_bytes = 8});
    for (unsigned i = 0; i < 20000; i++)
        tell(blocks, &(struct event){.stamp = 20000000 + i,
                                     .address = 100 + i,
                                     .heard_us = 1});
    size_t n = 0;
    free(blocks_list(blocks, NEVER, &n));
    check_eq(n, ADDRESSES);
    free(blocks_list(blocks, 0, &n));
    check_eq(n, ADDRESSES + 4096);
    blocks_destroy(blocks);
}

Test(blocks, there_is_a_most_of_them)
{
    enum { MOST = 1 << 19 };
    struct blocks *blocks = blocks_create();
    for (unsigned i = 0; i < MOST + 100; i++)
        tell(blocks,
             &(struct event){.stamp = i + 1, .address = i, .n_bytes = 8});
    for (unsigned i = MOST - 10; i < MOST + 100; i++)
        tell(blocks, &(struct event){.stamp = 2 * MOST + i, .address = i});
    size_t n = 0;
    free(blocks_list(blocks, NEVER, &n));
    check_eq(n, MOST - 10);
    blocks_destroy(blocks);
}
