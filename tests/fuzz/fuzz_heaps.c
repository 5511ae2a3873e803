/*
 * The input is a target with three mappings, [heap], one where a thread's heap
 * may begin and libc's data: what each page is, three blocks that it told, and
 * words to be put at places. Whatever they say, every resident byte is dealt
 * once, and nothing that is not resident is read.
 */
#include <string.h>

#include "collector/census/heapdeal.h"
#include "collector/census/pages.h"
#include "collector/census/ranges.h"
#include "include/attrs.h"
#include "include/glibc.h"
#include "include/xalloc.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/collector/fake_memory.h"

enum { PAGE = MEMORY_PAGE, N_BLOCKS = 3 };

static const struct {
    uint64_t start;
    uint64_t n_pages;
} regions[] = {
    {0x555500000000, 8},
    {0x7f0000000000, 4},
    {0x7f1000000000, 2},
};

static const char text[] =
    "555500000000-555500008000 rw-p 0 00:00 0 [heap]\n"
    "7f0000000000-7f0000002000 rw-p 0 00:00 0\n"
    "7f0000002000-7f0000004000 rw-p 0 00:00 0\n"
    "7f1000000000-7f1000002000 rw-p 0 fe:00 9 /usr/lib/libc.so.6\n";

struct input {
    const uint8_t *bytes;
    size_t left;
};

/* What is behind its end is zero. */
static uint64_t
take(struct input *input, size_t n_bytes)
{
    uint64_t word = 0;
    const size_t n = n_bytes < input->left ? n_bytes : input->left;
    memcpy(&word, input->bytes, n);
    input->bytes += n;
    input->left -= n;
    return word;
}

/* ---- the target -------------------------------------------------------- */

static void
put_word(struct memory *memory, uint64_t place, uint64_t word)
{
    for (size_t i = 0; i < countof(regions); i++) {
        const uint64_t n_words = regions[i].n_pages * PAGE / 8;
        if (place < n_words) {
            fake_memory_put(memory, regions[i].start + place * 8, word);
            return;
        }
        place -= n_words;
    }
}

static void
lay_out(struct memory *memory, struct census_block *blocks, struct input *input)
{
    for (size_t i = 0; i < countof(regions); i++) {
        const uint64_t start = regions[i].start;
        fake_memory_add(memory, start, regions[i].n_pages * PAGE);
        for (uint64_t at = start; at < start + regions[i].n_pages * PAGE;
             at += PAGE)
            fake_memory_set(memory, at, at + PAGE, take(input, 1) % 4);
    }
    for (size_t i = 0; i < N_BLOCKS; i++) {
        blocks[i].addr = take(input, 8);
        blocks[i].n_bytes = take(input, 8);
        const uint64_t flags = take(input, 1);
        blocks[i].is_python = (flags & 1) != 0;
        blocks[i].is_gone = (flags & 2) != 0;
    }
    while (input->left != 0) {
        const uint64_t place = take(input, 2);
        put_word(memory, place, take(input, 8));
    }
}

/* ---- what must hold ---------------------------------------------------- */

static void
check_heaps(const struct heaps *heaps)
{
    uint64_t floor = 0;
    for (size_t i = 0; i < heaps->n_heaps; i++) {
        const struct heap *heap = &heaps->heaps[i];
        fuzz_holds(heap->start >= floor && heap->start < heap->end);
        fuzz_holds(heap->chunks.start >= heap->start);
        fuzz_holds(heap->chunks.end <= heap->end);
        uint64_t at = heap->chunks.start;
        for (struct chunk chunk = chunks_first(&heap->chunks);
             chunk.n_bytes != 0; chunk = chunks_next(&heap->chunks, &chunk)) {
            fuzz_holds(chunk.at == at);
            at += chunk.n_bytes;
        }
        fuzz_holds(at == heap->chunks.end);
        floor = heap->end;
    }
}

static void
check_sums(const struct census *census, uint64_t resident)
{
    uint64_t sum = 0;
    uint64_t proved = 0;
    for (unsigned cause = 0; cause < N_CAUSES; cause++)
        sum += census->ledger[cause];
    for (size_t i = 0; i < census->n_proofs; i++) {
        const struct census_proof *proof = &census->proofs[i];
        fuzz_holds(proof->n_bytes <= proof->end - proof->start);
        proved += proof->n_bytes;
    }
    fuzz_holds(sum == resident);
    fuzz_holds(proved == resident);
}

static bool
go_on(void *context)
{
    (void)context;
    return true;
}

static void
deal_all(struct memory *memory, const struct census_request *request)
{
    struct maps maps = maps_parse(xstrdup(text));
    struct memory_runs runs = fake_memory_runs(memory);
    struct claims claims = ranges_maps(&maps, request);
    const struct heaps_target target = {
        .memory = memory,
        .maps = &maps,
        .runs = &runs,
        .claims = &claims,
        .request = request,
    };
    const struct census_patience patience = {.may_go_on = go_on};
    struct heaps heaps;
    struct mmapped mmapped;
    heaps_read(&heaps, &target, &patience);
    check_heaps(&heaps);
    mmapped_read(&mmapped, &target, &heaps);
    const uint64_t table = request->blocks[0].addr;
    heaps_mark_python(&heaps, &table, 1);
    mmapped_mark_python(&mmapped, &table, 1);
    struct census census = {.wants_proofs = true};
    struct claims layer = {0};
    heapdeal(&(struct heapdeal_what){.heaps = &heaps, .mmapped = &mmapped},
             &runs, &census, &layer);
    claims_cover(&claims, &layer, CAUSE_unexplained);
    claims_deal(&claims, &runs, &census);
    check_sums(&census, pages_resident(&runs));
    free(census.heaps);
    free(census.proofs);
    claims_finish(&layer);
    claims_finish(&claims);
    mmapped_finish(&mmapped);
    heaps_finish(&heaps);
    memory_runs_finish(&runs);
    maps_finish(&maps);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct input input = {bytes, n_bytes};
    struct memory memory = {0};
    struct census_block blocks[N_BLOCKS] = {{0}};
    const struct census_request request = {
        .blocks = blocks,
        .n_blocks = N_BLOCKS,
    };
    lay_out(&memory, blocks, &input);
    deal_all(&memory, &request);
    fuzz_holds(memory.n_bad_reads == 0);
    fake_memory_finish(&memory);
    return 0;
}
