#include "collector/census/freelists.h"

#include <string.h>

#include "collector/census/deal.h"
#include "collector/census/pages.h"
#include "collector/census/residents.h"
#include "collector/census/statics.h"
#include "include/attrs.h"
#include "include/cpython_lists.h"
#include "include/xalloc.h"

enum {
    MOST_ROUNDS = 4,
    MOST_INTERPRETERS = 256,
    /* How far from where they should be lists are looked for. */
    MOST_SHIFT = 512,
    SHIFT_STEP = 8,
    WORD = sizeof(uint64_t),
};

/*
 * Members of a state that stand together: the lists, and the one of memory
 * errors, which from 3.13 is far from the others. How many lists that are not
 * empty show that they are where they should be.
 */
enum group { GROUP_OBJECTS, GROUP_ERRORS, N_GROUPS };
static const unsigned evidence[N_GROUPS] = {2, 1};

struct reading {
    const struct census_request *request;
    struct residents residents;
    bool is_known[CPYTHON_MOST_LISTS];
    uint64_t interpreters[MOST_INTERPRETERS];
    size_t n_interpreters;
    int64_t shifts[N_GROUPS];
    bool has_shift[N_GROUPS];
};

/* ---- states of interpreters -------------------------------------------- */

/* Where the runtime has its first interpreter, and each the next. */
static bool
find_links(const struct reading *reading, uint64_t *first, uint64_t *next)
{
    const uint64_t runtime = reading->request->python_runtime;
    *first = reading->residents.lists.interpreters_at;
    *next = 0;
    if (reading->request->python_minor < 13)
        return true;
    uint64_t offsets[CPYTHON_DEBUG_BYTES / WORD];
    if (!peek_read(reading->residents.peek, runtime, offsets,
                   sizeof(offsets)) ||
        memcmp(offsets, CPYTHON_DEBUG_COOKIE, WORD) != 0)
        return false;
    *first = offsets[CPYTHON_DEBUG_INTERPRETERS_AT / WORD];
    *next = offsets[CPYTHON_DEBUG_NEXT_AT / WORD];
    return true;
}

/* All of them, or false. */
static bool
find_interpreters(struct reading *reading)
{
    uint64_t first;
    uint64_t next;
    uint64_t addr;
    reading->n_interpreters = 0;
    if (reading->request->python_runtime == 0 ||
        !find_links(reading, &first, &next) ||
        !peek_word(reading->residents.peek,
                   reading->request->python_runtime + first, &addr))
        return false;
    while (addr != 0) {
        if (reading->n_interpreters == MOST_INTERPRETERS || addr % WORD != 0)
            return false;
        reading->interpreters[reading->n_interpreters++] = addr;
        if (!peek_read_zeroed(reading->residents.peek, addr + next, &addr,
                              sizeof(addr)))
            return false;
    }
    return reading->n_interpreters != 0;
}

static enum group
group_of(const struct cpython_list *list)
{
    return strcmp(list->name, "MemoryError") == 0 ? GROUP_ERRORS
                                                  : GROUP_OBJECTS;
}

/* How many lists of a state, shifted so far, hold what they should. */
static unsigned
count_evidence(struct reading *reading, uint64_t state, enum group group,
               int64_t shift)
{
    struct residents *residents = &reading->residents;
    const size_t before = residents->n_residents;
    unsigned n = 0;
    for (unsigned i = 0; i < residents->lists.n_lists; i++) {
        const struct cpython_list *list = &residents->lists.lists[i];
        const uint64_t base = state + (uint64_t)shift;
        if (group_of(list) != group ||
            !residents_take(residents, i, base + list->head_at,
                            base + list->count_at))
            continue;
        n += residents->n_residents != before;
        residents->n_residents = before;
    }
    return n;
}

/* The nearest shift for which there is evidence, in the oldest interpreter. */
static void
find_shift(struct reading *reading, enum group group)
{
    const uint64_t state = reading->interpreters[reading->n_interpreters - 1];
    for (int64_t away = 0; away <= MOST_SHIFT; away += SHIFT_STEP) {
        for (int sign = -1; sign <= 1; sign += 2) {
            if (count_evidence(reading, state, group, sign * away) <
                evidence[group])
                continue;
            reading->shifts[group] = sign * away;
            reading->has_shift[group] = true;
            return;
        }
    }
}

/* The same list of all interpreters. */
static bool
take_of_states(struct reading *reading, unsigned index)
{
    struct residents *residents = &reading->residents;
    const struct cpython_list *list = &residents->lists.lists[index];
    const enum group group = group_of(list);
    const size_t before = residents->n_residents;
    if (!reading->has_shift[group])
        return false;
    for (size_t i = 0; i < reading->n_interpreters; i++) {
        const uint64_t base =
            reading->interpreters[i] + (uint64_t)reading->shifts[group];
        if (!residents_take(residents, index, base + list->head_at,
                            base + list->count_at)) {
            residents->n_residents = before;
            return false;
        }
    }
    return true;
}

static void
read_states(struct reading *reading)
{
    if (!find_interpreters(reading))
        return;
    for (unsigned group = 0; group < N_GROUPS; group++) {
        if (!reading->has_shift[group])
            find_shift(reading, group);
    }
    for (unsigned i = 0; i < reading->residents.lists.n_lists; i++) {
        if (!reading->is_known[i])
            reading->is_known[i] = take_of_states(reading, i);
    }
}

/* ---- static variables -------------------------------------------------- */

static void
read_statics(struct reading *reading, struct memory *memory,
             const struct maps *maps, const struct memory_runs *runs)
{
    struct residents *residents = &reading->residents;
    struct statics_place places[CPYTHON_MOST_LISTS];
    statics_find(residents, memory, maps, runs,
                 reading->request->python_text.start, places);
    for (unsigned i = 0; i < residents->lists.n_lists; i++) {
        if (reading->is_known[i])
            continue;
        reading->is_known[i] =
            places[i].verdict == STATICS_EMPTY ||
            (places[i].verdict == STATICS_FOUND &&
             residents_take(residents, i, places[i].head, places[i].count));
    }
}

/* ---- what was taken ---------------------------------------------------- */

static int
compare_residents(const void *left, const void *right)
{
    const struct resident *a = left;
    const struct resident *b = right;
    return (a->block.addr > b->block.addr) - (a->block.addr < b->block.addr);
}

/* Nothing is on two lists, or twice on one. */
static void
doubt_twins(struct reading *reading)
{
    const struct residents *residents = &reading->residents;
    for (size_t i = 1; i < residents->n_residents; i++) {
        const struct resident *twins = &residents->residents[i - 1];
        if (twins[0].block.addr != twins[1].block.addr)
            continue;
        reading->is_known[twins[0].list] = false;
        reading->is_known[twins[1].list] = false;
    }
}

/* How many residents from the first on are in its pool. */
static size_t
count_neighbours(const struct resident *first, size_t most)
{
    size_t n = 1;
    while (n < most && first[n].block.pool == first->block.pool)
        n++;
    return n;
}

/*
 * Judges the residents of one pool. Returns the bytes of those that the arenas'
 * reading has dealt as live: it leaves pools alone that are not resident.
 */
static void
judge_pool(struct reading *reading, const struct resident *first, size_t n,
           uint64_t *dealt)
{
    struct block blocks[POOL_MOST_BLOCKS];
    bool are_live[POOL_MOST_BLOCKS];
    const size_t n_blocks = n < countof(blocks) ? n : countof(blocks);
    for (size_t i = 0; i < n_blocks; i++)
        blocks[i] = first[i].block;
    const enum block_verdict verdict =
        block_are_live(reading->residents.peek, blocks, n_blocks, are_live);
    for (size_t i = 0; i < n && verdict != BLOCK_UNKNOWN; i++) {
        if (i >= n_blocks || !are_live[i])
            reading->is_known[first[i].list] = false;
        else
            dealt[first[i].list] += first[i].block.n_bytes;
    }
}

/* Residents must be live blocks, all of them; dealt is by list. */
static void
judge_residents(struct reading *reading, uint64_t *dealt)
{
    struct residents *residents = &reading->residents;
    if (residents->n_residents != 0)
        qsort(residents->residents, residents->n_residents,
              sizeof(residents->residents[0]), compare_residents);
    doubt_twins(reading);
    size_t at = 0;
    while (at < residents->n_residents) {
        const struct resident *first = &residents->residents[at];
        const size_t n = count_neighbours(first, residents->n_residents - at);
        if (first->block.pool != 0)
            judge_pool(reading, first, n, dealt);
        at += n;
    }
}

static void
hand_over(const struct reading *reading, const uint64_t *dealt,
          struct census_never_returned *never)
{
    const struct residents *residents = &reading->residents;
    const size_t n_lists = residents->lists.n_lists;
    struct census_free_list sums[CPYTHON_MOST_LISTS] = {0};
    never->residents =
        xcalloc(residents->n_residents, sizeof(never->residents[0]));
    for (size_t i = 0; i < residents->n_residents; i++) {
        const struct resident *resident = &residents->residents[i];
        if (!reading->is_known[resident->list])
            continue;
        sums[resident->list].n_residents++;
        sums[resident->list].n_bytes += resident->block.n_bytes;
        never->residents[never->n_residents++] = resident->block.addr;
    }
    never->free_lists = xcalloc(n_lists, sizeof(never->free_lists[0]));
    never->has_free_lists = true;
    for (size_t i = 0; i < n_lists; i++) {
        if (!reading->is_known[i]) {
            never->has_free_lists = false;
            continue;
        }
        sums[i].name = residents->lists.lists[i].name;
        never->free_lists[never->n_free_lists++] = sums[i];
        never->dealt_bytes += dealt[i];
    }
}

/* ---- all --------------------------------------------------------------- */

static bool
is_all_known(const struct reading *reading)
{
    for (unsigned i = 0; i < reading->residents.lists.n_lists; i++) {
        if (!reading->is_known[i])
            return false;
    }
    return true;
}

void
freelists_read(struct memory *memory, const struct census_request *request,
               const struct maps *maps, const struct memory_runs *runs,
               struct typetable *table, const struct census_patience *patience,
               struct census *census)
{
    struct reading reading = {
        .request = request,
        .residents = {.peek = peek_create(memory, runs),
                      .census = census,
                      .table = table,
                      .lists = cpython_lists(request->python_major,
                      request->python_minor)},
    };
    reading.residents.debug_bytes =
        block_debug_bytes(census, reading.residents.peek);
    for (unsigned round = 0; round < MOST_ROUNDS; round++) {
        if (is_all_known(&reading) || !patience->may_go_on(patience->context))
            break;
        peek_forget(reading.residents.peek);
        if (reading.residents.lists.is_static)
            read_statics(&reading, memory, maps, runs);
        else
            read_states(&reading);
    }
    uint64_t dealt[CPYTHON_MOST_LISTS] = {0};
    peek_forget(reading.residents.peek);
    judge_residents(&reading, dealt);
    if (reading.residents.lists.n_lists != 0)
        hand_over(&reading, dealt, &census->never_returned);
    residents_finish(&reading.residents);
    peek_destroy(reading.residents.peek);
}

size_t
freelists_first_resident(const struct census_never_returned *never,
                         uint64_t addr)
{
    size_t low = 0;
    size_t high = never->n_residents;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (never->residents[middle] < addr)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Pool by pool, so that each page's proof says so too. */
static void
deal_pieces(struct census *census)
{
    const struct census_never_returned *never = &census->never_returned;
    const size_t n_pieces = census->n_proofs;
    for (size_t i = 0; i < n_pieces; i++) {
        const struct census_proof *piece = &census->proofs[i];
        if (piece->cause != CAUSE_python_live || piece->block_bytes == 0)
            continue;
        const size_t n_residents =
            freelists_first_resident(never, piece->end) -
            freelists_first_resident(never, piece->start);
        deal_again(census, i, n_residents * piece->block_bytes,
                   CAUSE_python_never_returned);
    }
}

void
freelists_deal(struct census *census)
{
    const uint64_t n_bytes = census->never_returned.dealt_bytes;
    if (!census->never_returned.has_free_lists ||
        n_bytes > census->ledger[CAUSE_python_live])
        return;
    census->is_unknown[CAUSE_python_never_returned] = false;
    if (census->wants_proofs) {
        deal_pieces(census);
        return;
    }
    census->ledger[CAUSE_python_live] -= n_bytes;
    census->ledger[CAUSE_python_never_returned] += n_bytes;
}
