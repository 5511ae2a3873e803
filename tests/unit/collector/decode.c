#include "collector/decode.h"

#include <stdlib.h>

#include "collector/model/livemap_block.h"
#include "include/attrs.h"
#include "tests/unit/check.h"

/* ---- a batch being made ------------------------------------------------ */

struct making {
    char bytes[WIRE_BATCH_BYTES];
    size_t used;
};

static struct making
begin(void)
{
    struct making making = {.used = sizeof(struct wire_batch)};
    const struct wire_batch header = {
        .magic = WIRE_MAGIC,
        .version = WIRE_VERSION,
        .used_bytes = sizeof(header),
        .sequence = 1,
    };
    memcpy(making.bytes, &header, sizeof(header));
    return making;
}

static void
set_used(struct making *making, size_t used)
{
    struct wire_batch header;
    memcpy(&header, making->bytes, sizeof(header));
    header.used_bytes = (uint16_t)used;
    memcpy(making->bytes, &header, sizeof(header));
    making->used = used;
}

/* Any record: so many bytes of a kind, said to be `said` long, no path. */
static void
add(struct making *making, unsigned kind, size_t n_bytes, size_t said)
{
    const struct wire_record head = {
        .kind = (uint8_t)kind,
        .n_bytes = (uint16_t)said,
        .detail = kind == WIRE_KIND_MODULE ? 0 : kind,
    };
    memcpy(making->bytes + making->used, &head, sizeof(head));
    for (size_t i = sizeof(head); i < n_bytes; i++)
        making->bytes[making->used + i] = (char)(kind + i);
    set_used(making, making->used + n_bytes);
}

static void
add_death(struct making *making, uint64_t stamp)
{
    const struct wire_death death = {
        .record = {.kind = WIRE_KIND_DEATH, .n_bytes = sizeof(death)},
        .stamp = stamp,
    };
    memcpy(making->bytes + making->used, &death, sizeof(death));
    set_used(making, making->used + sizeof(death));
}

static const size_t sizes[] = {
#define X(NAME, name) [WIRE_KIND_##NAME] = sizeof(struct wire_##name),
    WIRE_RECORDS(X)
#undef X
};

/* ---- what is handed over ----------------------------------------------- */

enum { MOST_HEARD = 512 };

struct heard {
    unsigned kinds[MOST_HEARD];
    uint64_t stamps[MOST_HEARD]; /* of an event the word */
    size_t n;
    bool are_whole; /* the bytes that `add` wrote came back */
};

static void
note(struct heard *heard, const void *record, unsigned kind)
{
    const unsigned char *bytes = record;
    for (size_t i = sizeof(struct wire_record); i < sizes[kind]; i++)
        heard->are_whole =
            heard->are_whole && bytes[i] == (unsigned char)(kind + i);
    memcpy(&heard->stamps[heard->n], bytes + 8, sizeof(uint64_t));
    heard->kinds[heard->n++] = kind;
}

#define X(NAME, name)                                                      \
    static void on_##name(void *context, const struct wire_##name *record) \
    {                                                                      \
        note(context, record, WIRE_KIND_##NAME);                           \
    }
WIRE_RECORDS(X)
#undef X

static struct heard heard;

static void
on_events(void *context, const void *words, size_t n)
{
    struct heard *all = context;
    for (size_t i = 0; i < n; i++) {
        memcpy(&all->stamps[all->n], (const char *)words + 8 * i, 8);
        all->kinds[all->n++] = WIRE_N_KINDS;
    }
}

static struct decode_handler
handler(void)
{
    heard = (struct heard){.are_whole = true};
    return (struct decode_handler){.context = &heard,
                                   .events = on_events,
#define X(NAME, name) .name = on_##name,
                                   WIRE_RECORDS(X)
#undef X
    };
}

struct outcome {
    size_t at;
    uint64_t n_records;
    uint64_t n_events;
    uint64_t n_holes;
    bool is_sound;
};

/* Decodes a copy that ends where the batch does, for a sanitizer to see. */
static struct outcome
decode(const struct making *making, size_t at)
{
    const struct decode_handler all = handler();
    char *exact = malloc(making->used);
    memcpy(exact, making->bytes, making->used);
    struct outcome outcome = {0};
    struct decode_counts counts = {0};
    outcome.at = decode_batch(exact, at, &all, &counts, &outcome.is_sound);
    outcome.n_records = counts.records;
    outcome.n_events = counts.events;
    outcome.n_holes = counts.holes;
    free(exact);
    return outcome;
}

/* ---- headers ----------------------------------------------------------- */

static struct wire_batch
good_header(void)
{
    return (struct wire_batch){
        .magic = WIRE_MAGIC,
        .version = WIRE_VERSION,
        .used_bytes = sizeof(struct wire_batch),
        .buffer = 3,
        .sequence = 1,
    };
}

Test(decode, a_header_of_ours_is_one)
{
    struct wire_batch header = good_header();
    check_true(decode_is_batch(&header, 4));
    header.used_bytes = WIRE_BATCH_BYTES;
    header.sequence = WIRE_MAX_SEQUENCE;
    check_true(decode_is_batch(&header, 4));
}

Test(decode, a_header_with_one_thing_wrong_is_none)
{
    struct wire_batch header = good_header();
    header.magic++;
    check_false(decode_is_batch(&header, 4));
    header = good_header();
    header.version++;
    check_false(decode_is_batch(&header, 4));
    header = good_header();
    header.used_bytes -= 8;
    check_false(decode_is_batch(&header, 4));
    header = good_header();
    header.used_bytes += 4;
    check_false(decode_is_batch(&header, 4));
    header = good_header();
    header.used_bytes = WIRE_BATCH_BYTES + 8;
    check_false(decode_is_batch(&header, 4));
    header = good_header();
    check_false(decode_is_batch(&header, 3));
    header = good_header();
    header.sequence = 0;
    check_false(decode_is_batch(&header, 4));
    header = (struct wire_batch){0};
    check_false(decode_is_batch(&header, 4));
}

/* ---- records ----------------------------------------------------------- */

Test(decode, every_kind_is_handed_over_whole)
{
    struct making making = begin();
    for (unsigned kind = 1; kind < WIRE_N_KINDS; kind++)
        add(&making, kind, sizes[kind], sizes[kind]);
    const struct outcome outcome = decode(&making, 0);
    check_true(outcome.is_sound);
    check_eq(outcome.at, making.used);
    check_eq(outcome.n_records, WIRE_N_KINDS - 1);
    /* Turns and threads, modules and stacks are none. */
    check_eq(outcome.n_events, WIRE_N_KINDS - 1 - 4);
    check_eq(heard.n, WIRE_N_KINDS - 1);
    for (unsigned i = 0; i < heard.n; i++)
        check_eq(heard.kinds[i], i + 1);
    check_true(heard.are_whole);
}

Test(decode, an_empty_batch_has_no_records)
{
    const struct making making = begin();
    const struct outcome outcome = decode(&making, 0);
    check_true(outcome.is_sound);
    check_eq(outcome.n_records, 0);
    check_eq(outcome.at, sizeof(struct wire_batch));
}

Test(decode, a_full_batch_is_read_to_its_last_byte)
{
    struct making making = begin();
    uint64_t stamp = 0;
    while (making.used + sizeof(struct wire_death) < WIRE_BATCH_BYTES)
        add_death(&making, ++stamp);
    add(&making, WIRE_N_KINDS, WIRE_BATCH_BYTES - making.used,
        WIRE_BATCH_BYTES - making.used);
    const struct outcome outcome = decode(&making, 0);
    check_true(outcome.is_sound);
    check_eq(outcome.at, WIRE_BATCH_BYTES);
    check_eq(heard.n, stamp);
    check_eq(heard.stamps[heard.n - 1], stamp);
}

Test(decode, unknown_kinds_are_skipped_by_their_length)
{
    static const unsigned unknown[] = {WIRE_N_KINDS, WIRE_N_KINDS + 1, 100,
                                       UINT8_MAX};
    struct making making = begin();
    for (size_t i = 0; i < countof(unknown); i++) {
        add(&making, unknown[i], 8 + 8 * i, 8 + 8 * i);
        add_death(&making, i);
    }
    const struct outcome outcome = decode(&making, 0);
    check_true(outcome.is_sound);
    check_eq(outcome.n_records, 2 * countof(unknown));
    check_eq(heard.n, countof(unknown));
    for (size_t i = 0; i < countof(unknown); i++)
        check_eq(heard.stamps[i], i);
}

Test(decode, what_nobody_wants_is_skipped)
{
    struct making making = begin();
    add_death(&making, 1);
    add(&making, WIRE_KIND_MAP, sizes[WIRE_KIND_MAP], sizes[WIRE_KIND_MAP]);
    const struct decode_handler nobody = {0};
    struct decode_counts counts = {0};
    bool is_sound = false;
    decode_batch(making.bytes, 0, &nobody, &counts, &is_sound);
    check_true(is_sound);
    check_eq(counts.records, 2);
}

Test(decode, a_record_may_be_longer_than_we_know_it)
{
    struct making making = begin();
    for (unsigned kind = 1; kind < WIRE_N_KINDS; kind++)
        add(&making, kind, sizes[kind] + 16, sizes[kind] + 16);
    const struct outcome outcome = decode(&making, 0);
    check_true(outcome.is_sound);
    check_eq(heard.n, WIRE_N_KINDS - 1);
    check_true(heard.are_whole);
}

/* ---- what is malformed ------------------------------------------------- */

Test(decode, a_record_shorter_than_its_kind_is_malformed)
{
    for (unsigned kind = 1; kind < WIRE_N_KINDS; kind++) {
        for (size_t n = sizeof(struct wire_record); n < sizes[kind]; n += 8) {
            struct making making = begin();
            add_death(&making, 1);
            const size_t sound_bytes = making.used;
            add(&making, kind, n, n);
            add_death(&making, 2);
            const struct outcome outcome = decode(&making, 0);
            cr_assert(!outcome.is_sound, "kind %u of %zu bytes", kind, n);
            check_eq(outcome.at, sound_bytes);
            check_eq(heard.n, 1);
        }
    }
}

Test(decode, every_length_that_cannot_be_is_malformed)
{
    for (size_t said = 0; said <= UINT16_MAX; said++) {
        struct making making = begin();
        add_death(&making, 1);
        add(&making, WIRE_N_KINDS, 64, said);
        const struct outcome outcome = decode(&making, 0);
        /* What is behind a shorter one is seen as a record, and is none. */
        const bool can_be = said == 64;
        cr_assert(outcome.is_sound == can_be, "length %zu", said);
        check_ge(heard.n, 1);
        check_le(outcome.at, making.used);
    }
}

Test(decode, a_batch_cut_anywhere_gives_its_whole_records)
{
    struct making making = begin();
    size_t ends[8];
    for (uint64_t i = 0; i < countof(ends); i++) {
        add_death(&making, i + 1);
        ends[i] = making.used;
    }
    const size_t all = making.used;
    for (size_t used = sizeof(struct wire_batch); used <= all; used += 8) {
        set_used(&making, used);
        const struct outcome outcome = decode(&making, 0);
        size_t n_whole = 0;
        while (n_whole < countof(ends) && ends[n_whole] <= used)
            n_whole++;
        check_eq(heard.n, n_whole);
        check_eq(outcome.n_records, n_whole);
        const size_t whole =
            n_whole == 0 ? sizeof(struct wire_batch) : ends[n_whole - 1];
        check_eq(outcome.at, whole);
        check_eq(outcome.is_sound, whole == used);
    }
}

/* ---- events of one word ------------------------------------------------ */

static void
add_word(struct making *making, uint64_t word)
{
    memcpy(making->bytes + making->used, &word, sizeof(word));
    set_used(making, making->used + sizeof(word));
}

Test(decode, what_an_event_says_comes_back)
{
    uint64_t state = 3;
    for (unsigned i = 0; i < 100000; i++) {
        const uint64_t addr = check_random(&state) % ((uint64_t)1 << 43) * 16;
        const uint64_t n_bytes = 8 + check_random(&state) % 4094 * 16;
        const uint64_t slack = check_random(&state) % 32;
        const enum wire_caller caller =
            (enum wire_caller)(check_random(&state) % WIRE_N_CALLERS);
        if (slack > n_bytes)
            continue;
        check_true(wire_event_fits(addr, n_bytes, n_bytes - slack));
        const uint64_t event =
            wire_event(addr, n_bytes, n_bytes - slack, caller);
        check_true((event & WIRE_EVENT) != 0);
        check_true((event & (WIRE_EVENT_DEATH | WIRE_EVENT_OBJECT)) == 0);
        check_eq(wire_event_addr(event), addr);
        check_eq(wire_event_bytes(event), n_bytes);
        check_eq(wire_event_slack(event), slack);
        check_eq(wire_event_caller(event), caller);
    }
}

/* As the model reads it, which takes words as they come. */
Test(decode, what_an_object_says_comes_back)
{
    uint64_t state = 4;
    for (unsigned i = 0; i < 100000; i++) {
        const uint64_t addr = check_random(&state) % ((uint64_t)1 << 44) * 8;
        const uint64_t n_bytes = 8 + check_random(&state) % 64 * 8;
        const uint64_t slack = check_random(&state) % 8;
        const uint64_t event = wire_object(addr, n_bytes, n_bytes - slack);
        check_true((event & WIRE_EVENT) != 0);
        check_true((event & WIRE_EVENT_DEATH) == 0);
        const struct livemap_block block = livemap_word_block(event);
        check_true(block.is_object && block.is_python);
        check_eq(block.addr, addr);
        check_eq(block.n_bytes, n_bytes);
        check_eq(block.asked_bytes, n_bytes - slack);
    }
}

Test(decode, what_an_event_cannot_say_does_not_fit)
{
    check_true(wire_event_fits(0x7ffffffffff0, 24, 0));
    check_false(wire_event_fits(0x800000000000, 24, 0));
    check_false(wire_event_fits(0x7ffffffffff8, 24, 0));
    check_false(wire_event_fits(0x1000, 32, 32));
    check_true(wire_event_fits(0x1000, WIRE_EVENT_LEAST_LONG - 24, 65512));
    check_false(wire_event_fits(0x1000, WIRE_EVENT_LEAST_LONG - 8, 65528));
    check_true(wire_event_fits(0x1000, 1000, 1000 - 31));
    check_false(wire_event_fits(0x1000, 1000, 1000 - 32));
    check_false(wire_event_fits(0x1000, 24, 25));
}

Test(decode, events_and_records_come_in_their_order)
{
    struct making making = begin();
    add_word(&making, WIRE_EVENT | 1);
    add_death(&making, 2);
    add_word(&making, WIRE_EVENT | WIRE_EVENT_DEATH | 3);
    const struct outcome outcome = decode(&making, 0);
    check_true(outcome.is_sound);
    check_eq(outcome.n_records, 3);
    check_eq(heard.n, 3);
    check_eq(heard.stamps[0], WIRE_EVENT | 1);
    check_eq(heard.stamps[1], 2);
    check_eq(heard.stamps[2], WIRE_EVENT | WIRE_EVENT_DEATH | 3);
}

Test(decode, a_hole_in_a_closed_batch_is_a_lost_event)
{
    struct making making = begin();
    add_word(&making, WIRE_EVENT | 1);
    add_word(&making, 0);
    add_word(&making, WIRE_EVENT | 2);
    const struct outcome outcome = decode(&making, 0);
    check_true(outcome.is_sound);
    check_eq(outcome.n_records, 3);
    check_eq(outcome.n_holes, 1);
    check_eq(heard.n, 2);
}

Test(decode, a_batch_that_is_filled_ends_at_its_first_hole)
{
    struct making making = begin();
    add_word(&making, WIRE_EVENT | 1);
    const size_t end = making.used;
    add_word(&making, 0);
    add_word(&making, WIRE_EVENT | 2);
    set_used(&making, 0);
    making.used = WIRE_BATCH_BYTES; /* all of it may be read */
    const struct outcome outcome = decode(&making, 0);
    check_true(outcome.is_sound);
    check_eq(outcome.at, end);
    check_eq(outcome.n_records, 1);
    check_eq(outcome.n_holes, 0);
}

/* ---- what is as long as it says ---------------------------------------- */

static char path_heard[WIRE_BATCH_BYTES];
static uint64_t frames_heard[WIRE_BATCH_BYTES / 8];
static size_t n_frames_heard;
static unsigned n_tails_heard;

static void
on_whole_module(void *context, const struct wire_module *module)
{
    (void)context;
    n_tails_heard++;
    memcpy(path_heard, module->path, module->record.detail);
    path_heard[module->record.detail] = '\0';
}

static void
on_whole_stack(void *context, const struct wire_stack *stack)
{
    (void)context;
    n_tails_heard++;
    n_frames_heard = decode_n_frames(stack);
    memcpy(frames_heard, stack->frames, n_frames_heard * 8);
}

static bool
decode_tails(const struct making *making)
{
    const struct decode_handler tails = {
        .module = on_whole_module,
        .stack = on_whole_stack,
    };
    struct decode_counts counts = {0};
    bool is_sound = false;
    char *exact = malloc(making->used);
    memcpy(exact, making->bytes, making->used);
    n_tails_heard = 0;
    n_frames_heard = 0;
    decode_batch(exact, 0, &tails, &counts, &is_sound);
    free(exact);
    return is_sound;
}

/* A path of n_bytes in a record with room for so many. */
static void
add_module(struct making *making, uint32_t n_bytes, size_t room)
{
    const size_t used = making->used;
    const struct wire_record head = {
        .kind = WIRE_KIND_MODULE,
        .n_bytes = (uint16_t)(sizeof(struct wire_module) + room),
        .detail = n_bytes,
    };
    add(making, WIRE_KIND_MODULE, head.n_bytes, head.n_bytes);
    memcpy(making->bytes + used, &head, sizeof(head));
    memset(making->bytes + used + sizeof(struct wire_module), 'p', room);
}

Test(decode, a_path_comes_with_its_module)
{
    for (uint32_t n = 0; n <= 64; n++) {
        struct making making = begin();
        add_module(&making, n, (n + 7) / 8 * 8);
        add_death(&making, 1);
        check_true(decode_tails(&making));
        check_eq(n_tails_heard, 1);
        check_eq(strlen(path_heard), n);
        check_eq(strspn(path_heard, "p"), n);
    }
}

Test(decode, a_path_longer_than_its_record_is_malformed)
{
    static const uint32_t lies[] = {17, 24, 4096, UINT32_MAX};
    for (size_t i = 0; i < countof(lies); i++) {
        struct making making = begin();
        add_module(&making, lies[i], 16);
        add_death(&making, 1);
        check_false(decode_tails(&making));
        check_eq(n_tails_heard, 0);
    }
}

Test(decode, frames_come_with_their_stack)
{
    for (size_t n = 0; n <= 500; n++) {
        struct making making = begin();
        struct wire_record head = {
            .kind = WIRE_KIND_STACK,
            .n_bytes = (uint16_t)(8 + 8 * n),
            .detail = 9,
        };
        memcpy(making.bytes + making.used, &head, sizeof(head));
        for (uint64_t i = 0; i < n; i++)
            memcpy(making.bytes + making.used + 8 + 8 * i, &i, sizeof(i));
        set_used(&making, making.used + 8 + 8 * n);
        check_true(decode_tails(&making));
        check_eq(n_tails_heard, 1);
        check_eq(n_frames_heard, n);
        for (size_t i = 0; i < n; i++)
            check_eq(frames_heard[i], i);
    }
}

/* ---- going on where it was left ---------------------------------------- */

Test(decode, a_batch_that_grows_is_read_once)
{
    struct making making = begin();
    size_t at = 0;
    for (uint64_t stamp = 1; stamp <= 20; stamp++) {
        add_death(&making, stamp);
        const struct outcome outcome = decode(&making, at);
        check_true(outcome.is_sound);
        check_eq(heard.n, 1);
        check_eq(heard.stamps[0], stamp);
        at = outcome.at;
    }
    check_eq(decode(&making, at).at, at);
    check_eq(heard.n, 0);
}

Test(decode, an_offset_behind_the_end_reads_nothing)
{
    struct making making = begin();
    add_death(&making, 1);
    const struct outcome outcome = decode(&making, WIRE_BATCH_BYTES);
    check_eq(heard.n, 0);
    check_true(outcome.is_sound);
    check_eq(outcome.at, WIRE_BATCH_BYTES);
}

Test(decode, any_bytes_are_read_within_their_bounds)
{
    uint64_t state = 7;
    for (unsigned round = 0; round < 20000; round++) {
        struct making making = begin();
        const size_t used =
            sizeof(struct wire_batch) + check_random(&state) % 50 * 8;
        for (size_t i = sizeof(struct wire_batch); i < used; i++)
            making.bytes[i] =
                (char)(check_random(&state) % 3 == 0 ? check_random(&state) % 64
                                                     : 0);
        set_used(&making, used);
        const struct outcome outcome = decode(&making, 0);
        check_le(outcome.at, used);
        check_eq(outcome.is_sound, outcome.at == used);
        check_le(heard.n, outcome.n_records);
    }
}
