#include "collector/census/statics.h"

#include <limits.h>
#include <string.h>

#include "collector/census/claims.h"
#include "collector/census/images.h"
#include "collector/census/pages.h"
#include "include/attrs.h"
#include "include/xalloc.h"

enum {
    WORD = sizeof(uint64_t),
    /* A count was seen at most half of this from its list. */
    MOST_DISTANCE = 1024,
    CLOSE_BY = 16,
    ARRAY_ALIGNMENT = 32, /* of a large variable; what is before it is less */
    /* More words than any image's lists have point to dead objects only in a
       target that makes us work. */
    MOST_SUSPECTS = 4096,
};

/* A word of the image's data that points to what may be on a list. */
struct suspect {
    uint64_t at;
    uint64_t object;
    unsigned list;
};

struct suspects {
    struct suspect *suspects; /* ascending by `at` */
    size_t n;
    size_t capacity;
};

struct search {
    struct residents *residents;
    struct memory *memory;
    const struct maps *maps;
    const struct memory_runs *runs;
    struct suspects suspects;
    unsigned n_before; /* arrays that have their counts there, and not ... */
    unsigned n_behind;
};

/* ---- looking at each word ---------------------------------------------- */

/* Whether an object may lie there: in memory that no file is behind. */
static bool
may_be_object(const struct search *search, uint64_t addr)
{
    if (addr % WORD != 0 || addr < MEMORY_PAGE)
        return false;
    const struct map *map = maps_at(search->maps, addr);
    return map != NULL && map->is_writable && map_is_anonymous(map);
}

static void
look_at_page(struct search *search, uint64_t page)
{
    uint64_t words[MEMORY_PAGE / WORD];
    struct suspects *suspects = &search->suspects;
    if (!peek_read(search->residents->peek, page, words, sizeof(words)))
        return;
    for (size_t i = 0; i < countof(words); i++) {
        if (!may_be_object(search, words[i]) || suspects->n == MOST_SUSPECTS)
            continue;
        const unsigned list = residents_list_of(search->residents, words[i]);
        if (list == search->residents->lists.n_lists)
            continue;
        XGROW(suspects->suspects, suspects->capacity, suspects->n);
        suspects->suspects[suspects->n++] = (struct suspect){
            .at = page + i * WORD, .object = words[i], .list = list};
    }
}

/*
 * False: a page is in swap. Pages that were never written hold no head, nor do
 * those that are still the file's.
 */
static bool
look_at_range(struct search *search, uint64_t start, uint64_t end)
{
    const struct memory_runs *runs = search->runs;
    for (size_t i = pages_first(runs, start); i < runs->n_runs; i++) {
        const struct memory_run *run = &runs->runs[i];
        if (run->start >= end)
            break;
        if (run->is_swapped)
            return false;
        if (run->is_file)
            continue;
        const uint64_t from = run->start < start ? start : run->start;
        const uint64_t to = run->end > end ? end : run->end;
        for (uint64_t page = from; page < to; page += MEMORY_PAGE)
            look_at_page(search, page);
    }
    return true;
}

/* Where the .bss ends that begins at start, or start: there is none. */
static uint64_t
bss_end(const struct claims *bss, uint64_t start)
{
    for (size_t i = 0; i < bss->n_claims; i++) {
        if (bss->claims[i].start == start)
            return bss->claims[i].end;
    }
    return start;
}

static bool
look_at_image(struct search *search, uint64_t addr)
{
    const struct map *text = maps_at(search->maps, addr);
    if (text == NULL || text->inode == 0)
        return false;
    struct claims bss = {0};
    images_claim_bss(search->memory, search->maps, search->runs, &bss);
    bool is_whole = true;
    for (size_t i = 0; i < search->maps->n_maps && is_whole; i++) {
        const struct map *map = &search->maps->maps[i];
        if (map->inode == text->inode && map->is_writable && !map->is_shared &&
            strcmp(map->name, text->name) == 0)
            is_whole =
                look_at_range(search, map->start, bss_end(&bss, map->end));
    }
    claims_finish(&bss);
    return is_whole;
}

/* ---- the count beside a list ------------------------------------------- */

static bool
is_count(struct search *search, uint64_t at, int32_t n)
{
    int32_t is;
    return peek_read_zeroed(search->residents->peek, at, &is, sizeof(is)) &&
           is == n;
}

/* Whether counts for all lengths stand there. */
static bool
are_counts(struct search *search, uint64_t at, const int *lengths)
{
    /* The first is that of the empty tuple, which is alive. */
    for (unsigned i = 1; i < CPYTHON_LIST_LENGTHS; i++) {
        if (!is_count(search, at + i * sizeof(int32_t), lengths[i]))
            return false;
    }
    return true;
}

/*
 * The count, of n_bytes, that is nearest to a list at [start, end): lengths[0],
 * or all of them. 0: there is none.
 */
static uint64_t
find_count(struct search *search, uint64_t start, uint64_t end,
           const int *lengths, unsigned n_lengths)
{
    const uint64_t n_bytes = n_lengths * sizeof(int32_t);
    for (uint64_t away = 0; away < MOST_DISTANCE; away += sizeof(int32_t)) {
        const uint64_t places[] = {end + away, start - n_bytes - away};
        for (unsigned i = 0; i < countof(places); i++) {
            if (n_lengths == 1 ? is_count(search, places[i], lengths[0])
                               : are_counts(search, places[i], lengths))
                return places[i];
        }
    }
    return 0;
}

/* ---- one list ---------------------------------------------------------- */

/*
 * A place where the list may be: the one with most residents is it. A pointer
 * that an array left behind may lead to a resident of another list by now, and
 * so to a part of that list. Two that lead to the same are told apart by how
 * near their counts are.
 */
struct proposal {
    struct statics_place place;
    uint64_t first; /* resident */
    int n;
    uint64_t away; /* of the count */
};

static void
propose(struct proposal *best, int n, uint64_t first, uint64_t head,
        uint64_t count)
{
    const uint64_t away = count > head ? count - head : head - count;
    if (n < best->n || (n == best->n && first == best->first &&
                        (count == 0 || best->away <= away)))
        return;
    const bool is_other = n == best->n && first != best->first;
    *best = (struct proposal){
        .place = {is_other || count == 0 ? STATICS_UNKNOWN : STATICS_FOUND,
                  head, count},
        .first = first,
        .n = n,
        .away = count == 0 ? UINT64_MAX : away,
    };
}

/* Suspects in a row, each of another object. */
struct row {
    int n;
    int n_least; /* up to the last that nobody refers to */
};

static struct row
find_row(struct search *search, size_t i)
{
    const struct suspects *suspects = &search->suspects;
    const struct suspect *first = &suspects->suspects[i];
    struct row row = {0};
    for (; i + (size_t)row.n < suspects->n; row.n++) {
        const struct suspect *next = first + row.n;
        bool is_new = next->list == first->list &&
                      next->at == first->at + (uint64_t)row.n * WORD;
        for (int k = 0; k < row.n && is_new; k++)
            is_new = first[k].object != next->object;
        uint64_t references;
        if (!is_new ||
            !peek_word(search->residents->peek, next->object, &references))
            break;
        if (references == 0)
            row.n_least = row.n + 1;
    }
    return row;
}

/*
 * Where in [start, end) a number stands that may be the row's count: the only
 * one, but for zeroes. 0: nowhere.
 */
static uint64_t
find_between(struct search *search, uint64_t start, uint64_t end,
             const struct row *row)
{
    uint64_t found = 0;
    int32_t n = -1;
    for (uint64_t at = start; at < end; at += sizeof(n)) {
        int32_t is;
        if (!peek_read_zeroed(search->residents->peek, at, &is, sizeof(is)) ||
            is < row->n_least || is > row->n || (is == 0 && n >= 0))
            continue;
        if (n > 0)
            return 0; /* two */
        n = is;
        found = at;
    }
    return found;
}

/*
 * An array keeps pointers behind its last resident. Those to objects are no
 * suspects, as they live. Keys of a dict that lives look like dead ones that
 * were given up with its reference: how many of a row are dead, the count has
 * to tell. One compiler has counts before their arrays, at most an alignment
 * away, another has them right behind; what it does, other arrays show.
 */
static uint64_t
find_array_count(struct search *search, uint64_t start, uint64_t end,
                 const struct row *row)
{
    if (row->n_least == row->n)
        return find_count(search, start, end, &row->n, 1);
    if (search->n_before != 0 && search->n_behind == 0)
        return find_between(search, start - ARRAY_ALIGNMENT, start, row);
    if (search->n_behind != 0 && search->n_before == 0)
        return find_between(search, end, end + sizeof(int32_t), row);
    return 0;
}

/* What an array with so many residents shows of where its count is. */
static void
learn(struct search *search, uint64_t start, uint64_t end, int32_t n)
{
    bool is_before = false;
    const bool is_behind = is_count(search, end, n);
    for (uint64_t at = start - ARRAY_ALIGNMENT; at < start; at += sizeof(n))
        is_before = is_before || is_count(search, at, n);
    search->n_before += is_before && !is_behind;
    search->n_behind += is_behind && !is_before;
}

static void
settle_array(struct search *search, unsigned list, struct proposal *best)
{
    const uint64_t n_bytes =
        (uint64_t)search->residents->lists.lists[list].most * WORD;
    const struct suspects *suspects = &search->suspects;
    uint64_t end = 0;
    for (size_t i = 0; i < suspects->n; i++) {
        const struct suspect *suspect = &suspects->suspects[i];
        if (suspect->list != list || suspect->at < end)
            continue;
        end = suspect->at + n_bytes;
        const struct row row = find_row(search, i);
        if (row.n_least == row.n)
            learn(search, suspect->at, end, row.n);
        propose(best, row.n, suspect->object, suspect->at,
                find_array_count(search, suspect->at, end, &row));
    }
}

/*
 * A block of no type may be any that begins with zeroes: if it is alone its
 * count must stand close by, and if its links lead nowhere it is none.
 */
static void
settle_chain(struct search *search, unsigned list, struct proposal *best)
{
    const bool is_typed = search->residents->lists.lists[list].type != NULL;
    for (size_t i = 0; i < search->suspects.n; i++) {
        const struct suspect *suspect = &search->suspects.suspects[i];
        if (suspect->list != list)
            continue;
        const uint64_t at = suspect->at;
        int n = residents_follow(search->residents, list, suspect->object, 0);
        uint64_t count = n > 0 ? find_count(search, at, at + WORD, &n, 1) : 0;
        if (n < 0 && is_typed)
            n = INT_MAX; /* nobody knows how many */
        if (n == 1 && !is_typed && count != at + WORD &&
            (count >= at || at - count > CLOSE_BY))
            count = 0;
        propose(best, n, suspect->object, at, count);
    }
}

static void
settle_single(struct search *search, unsigned list, struct proposal *best)
{
    for (size_t i = 0; i < search->suspects.n; i++) {
        const struct suspect *suspect = &search->suspects.suspects[i];
        if (suspect->list == list)
            propose(best, 1, suspect->object, suspect->at, suspect->at);
    }
}

/* The chains' lengths of tuples; false: it is no array of their heads. */
static bool
follow_tuples(struct search *search, unsigned list, uint64_t head,
              int lengths[CPYTHON_LIST_LENGTHS])
{
    struct residents *residents = search->residents;
    lengths[0] = 0;
    for (unsigned i = 1; i < CPYTHON_LIST_LENGTHS; i++) {
        uint64_t addr;
        if (!peek_read_zeroed(residents->peek, head + i * WORD, &addr, WORD))
            return false;
        lengths[i] = residents_follow(residents, list, addr, i);
        if (lengths[i] < 0)
            return false;
    }
    return true;
}

static void
settle_tuples(struct search *search, unsigned list, struct proposal *best)
{
    for (size_t i = 0; i < search->suspects.n; i++) {
        const struct suspect *suspect = &search->suspects.suspects[i];
        uint64_t length;
        int lengths[CPYTHON_LIST_LENGTHS];
        if (suspect->list != list ||
            !peek_word(search->residents->peek,
                       suspect->object + CPYTHON_OBJECT_SIZE_AT, &length))
            continue;
        const uint64_t head = suspect->at - length * WORD;
        if (head == best->place.head ||
            !follow_tuples(search, list, head, lengths))
            continue;
        const uint64_t end = head + CPYTHON_LIST_LENGTHS * WORD;
        int n = 0;
        for (unsigned k = 0; k < CPYTHON_LIST_LENGTHS; k++)
            n += lengths[k];
        propose(best, n, head, head,
                find_count(search, head, end, lengths, CPYTHON_LIST_LENGTHS));
    }
}

/* ---- all --------------------------------------------------------------- */

static bool
is_suspected(const struct search *search, unsigned list)
{
    for (size_t i = 0; i < search->suspects.n; i++) {
        if (search->suspects.suspects[i].list == list)
            return true;
    }
    return false;
}

static struct statics_place
settle(struct search *search, unsigned list)
{
    struct proposal best = {0};
    if (!is_suspected(search, list))
        return (struct statics_place){.verdict = STATICS_EMPTY};
    switch (search->residents->lists.lists[list].shape) {
    case CPYTHON_LIST_CHAIN:
        settle_chain(search, list, &best);
        break;
    case CPYTHON_LIST_ARRAY:
        settle_array(search, list, &best);
        break;
    case CPYTHON_LIST_TUPLES:
        settle_tuples(search, list, &best);
        break;
    case CPYTHON_LIST_SINGLE:
        settle_single(search, list, &best);
        break;
    }
    return best.place;
}

void
statics_find(struct residents *residents, struct memory *memory,
             const struct maps *maps, const struct memory_runs *runs,
             uint64_t addr, struct statics_place *places)
{
    struct search search = {
        .residents = residents, .memory = memory, .maps = maps, .runs = runs};
    const size_t n_lists = residents->lists.n_lists;
    memset(places, 0, n_lists * sizeof(places[0]));
    if (look_at_image(&search, addr) && search.suspects.n < MOST_SUSPECTS) {
        /* Keys last: what other arrays show is known then. */
        for (unsigned round = 0; round < 2; round++) {
            for (unsigned i = 0; i < n_lists; i++) {
                if ((residents->lists.lists[i].type == NULL) == (round == 1))
                    places[i] = settle(&search, i);
            }
        }
    }
    free(search.suspects.suspects);
}
