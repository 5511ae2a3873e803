/*
 * What a heap's bytes are: against a model of single bytes, by hand, and
 * against what malloc_trim(3) does in a child.
 */
#include "collector/census/heapdeal.h"

#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "collector/census/pages.h"
#include "include/attrs.h"
#include "include/xalloc.h"
#include "tests/unit/check.h"
#include "tests/unit/collector/asking.h"
#include "tests/unit/collector/mallocs.h"

enum { PAGE = MEMORY_PAGE, PAGES = 48, HEAP_BYTES = PAGES * PAGE };

#define START ((uint64_t)0x555500000000)

TestSuite(heapdeal, .timeout = 60);

/* ---- heaps and pages, made up ------------------------------------------ */

static struct heap
heap_of(enum recording_heap_kind kind)
{
    struct heap heap = {
        .kind = kind,
        .start = START,
        .end = START + HEAP_BYTES,
    };
    chunks_begin(&heap.chunks, START);
    return heap;
}

static void
put_top(struct heap *heap)
{
    chunks_append(&heap->chunks, heap->end - heap->chunks.end, 0);
}

/* A run a page; n_runs grows only by what is there. */
static struct memory_runs
runs_of(const bool *is_resident)
{
    struct memory_runs runs = {.runs = xcalloc(PAGES, sizeof(runs.runs[0]))};
    for (uint64_t i = 0; i < PAGES; i++) {
        if (is_resident[i])
            runs.runs[runs.n_runs++] = (struct memory_run){
                .start = START + i * PAGE,
                .end = START + (i + 1) * PAGE,
            };
    }
    return runs;
}

static struct census *
deal_one(struct heap *heap, const struct memory_runs *runs,
         struct claims *layer)
{
    struct census *census = xcalloc(1, sizeof(*census));
    const struct heaps heaps = {.heaps = heap, .n_heaps = 1};
    const struct mmapped mmapped = {0};
    census->wants_proofs = true;
    heapdeal(&(struct heapdeal_what){.heaps = &heaps, .mmapped = &mmapped},
             runs, census, layer);
    check_eq(census->n_heaps, 1);
    return census;
}

/* ---- a model of bytes -------------------------------------------------- */

enum { NOBODY = N_CAUSES };

struct model {
    unsigned char causes[HEAP_BYTES];
    bool is_resident[PAGES];
    uint64_t ledger[N_CAUSES];
    uint64_t trimmable;
    uint64_t page_pinned;
    uint64_t resident;
};

static void
fill(struct model *model, uint64_t from, uint64_t to, unsigned cause)
{
    to = to > START + HEAP_BYTES ? START + HEAP_BYTES : to;
    for (uint64_t at = from; at < to; at++)
        model->causes[at - START] = (unsigned char)cause;
}

/* A block ends 8 bytes behind its chunk. */
static void
fill_chunks(struct model *model, const struct heap *heap)
{
    memset(model->causes, NOBODY, sizeof(model->causes));
    fill(model, START, heap->chunks.start + 8, CAUSE_native_overhead);
    for (struct chunk chunk = chunks_first(&heap->chunks); chunk.n_bytes != 0;
         chunk = chunks_next(&heap->chunks, &chunk)) {
        const uint64_t end = chunk.at + chunk.n_bytes + 8;
        const bool is_used =
            (chunk.flags & CHUNK_USED) != 0 && !(chunk.flags & CHUNK_CACHED);
        fill(model, chunk.at + 8, chunk.at + 16, CAUSE_native_overhead);
        if (chunk.n_bytes == 16)
            fill(model, chunk.at + 8, end, CAUSE_native_overhead);
        else if (!is_used)
            fill(model, chunk.at + 8, end, CAUSE_native_free);
        else
            fill(model, chunk.at + 16, end,
                 (chunk.flags & CHUNK_PYTHON) != 0 ? CAUSE_python_large
                                                   : CAUSE_native_live);
    }
}

static void
sum_pages(struct model *model)
{
    memset(model->ledger, 0, sizeof(model->ledger));
    model->trimmable = model->page_pinned = model->resident = 0;
    for (unsigned page = 0; page < PAGES; page++) {
        uint64_t n_free = 0;
        for (unsigned i = 0; i < PAGE && model->is_resident[page]; i++) {
            const unsigned cause = model->causes[page * PAGE + i];
            if (cause == NOBODY)
                continue;
            model->ledger[cause]++;
            model->resident++;
            n_free += cause == CAUSE_native_free;
        }
        *(n_free == PAGE ? &model->trimmable : &model->page_pinned) += n_free;
    }
}

static void
check_model(const struct model *model, const struct census *census)
{
    for (unsigned cause = 0; cause < N_CAUSES; cause++)
        check_eq(census->ledger[cause], model->ledger[cause]);
    const struct census_heap *row = &census->heaps[0];
    check_eq(row->resident_bytes, model->resident);
    check_eq(row->trimmable_bytes, model->trimmable);
    check_eq(row->page_pinned_bytes, model->page_pinned);
    uint64_t proved = 0;
    for (size_t i = 0; i < census->n_proofs; i++) {
        const struct census_proof *proof = &census->proofs[i];
        check_true(proof->start < proof->end);
        check_le(proof->n_bytes, proof->end - proof->start);
        check_true(proof->proof == PROOF_chunk || proof->proof == PROOF_heap);
        check_true(proof->address >= START);
        proved += proof->n_bytes;
    }
    check_eq(proved, model->resident);
}

static void
put_random(struct heap *heap, uint64_t *state)
{
    while (heap->chunks.end + 4096 < heap->end) {
        const uint64_t kind = check_random(state) % 16;
        const uint64_t n_grains = kind == 0   ? 1
                                  : kind == 1 ? 2 + check_random(state) % 1500
                                              : 2 + check_random(state) % 60;
        if (heap->chunks.end + n_grains * 16 > heap->end)
            break;
        unsigned flags = 0;
        if (check_random(state) % 2 == 0)
            flags = CHUNK_USED | ((unsigned)check_random(state) & 14);
        chunks_append(&heap->chunks, n_grains * 16, flags);
    }
}

/* The walk was given up: what is behind is nobody's. */
static void
deal_random(struct model *model, uint64_t *state)
{
    struct heap heap = heap_of(HEAP_main);
    chunks_finish(&heap.chunks);
    chunks_begin(&heap.chunks, START + check_random(state) % 200 * 16);
    put_random(&heap, state);
    heap.is_torn = check_random(state) % 4 == 0;
    if (!heap.is_torn)
        put_top(&heap);
    for (unsigned i = 0; i < PAGES; i++)
        model->is_resident[i] = check_random(state) % 4 != 0;
    fill_chunks(model, &heap);
    sum_pages(model);
    struct memory_runs runs = runs_of(model->is_resident);
    struct claims layer = {0};
    struct census *census = deal_one(&heap, &runs, &layer);
    check_model(model, census);
    check_eq(layer.n_claims, 1);
    check_eq(layer.claims[0].start, START);
    const uint64_t end = heap.chunks.end + 8;
    check_eq(layer.claims[0].end, heap.is_torn ? end : heap.end);
    check_eq(census->n_torn, heap.is_torn);
    census_destroy(census);
    claims_finish(&layer);
    memory_runs_finish(&runs);
    heap_finish(&heap);
}

Test(heapdeal, any_heap_is_dealt_to_the_byte)
{
    static struct model model;
    uint64_t state = 11;
    for (unsigned round = 0; round < 300; round++)
        deal_random(&model, &state);
}

/* ---- by hand ----------------------------------------------------------- */

static const bool all_resident[PAGES] = {
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
};

static struct census *
deal_all(struct heap *heap)
{
    struct memory_runs runs = runs_of(all_resident);
    struct claims layer = {0};
    struct census *census = deal_one(heap, &runs, &layer);
    claims_finish(&layer);
    memory_runs_finish(&runs);
    heap_finish(heap);
    return census;
}

Test(heapdeal, a_row_counts_chunks_and_what_their_blocks_have)
{
    struct heap heap = heap_of(HEAP_main);
    chunks_append(&heap.chunks, 32, CHUNK_USED);
    chunks_append(&heap.chunks, 48, CHUNK_USED | CHUNK_CACHED);
    chunks_append(&heap.chunks, 64, CHUNK_USED | CHUNK_CACHED | CHUNK_FAST);
    chunks_append(&heap.chunks, 1024, 0);
    chunks_append(&heap.chunks, 16, CHUNK_USED);
    chunks_append(&heap.chunks, 2048, CHUNK_USED | CHUNK_PYTHON);
    put_top(&heap);
    struct census *census = deal_all(&heap);
    const struct census_heap *row = &census->heaps[0];
    check_eq(row->n_bytes, HEAP_BYTES);
    check_eq(row->n_chunks, 2);
    check_eq(row->live_bytes, 24 + 2040);
    check_eq(row->n_cached, 2);
    check_eq(row->cached_bytes, 40 + 56);
    check_eq(row->n_free, 2);
    check_eq(row->free_bytes, 1016 + HEAP_BYTES - 3232 - 8);
    census_destroy(census);
}

Test(heapdeal, only_a_block_that_may_be_pythons_is_an_error)
{
    struct heap heap = heap_of(HEAP_main);
    chunks_append(&heap.chunks, 528, CHUNK_USED); /* pymalloc's own */
    chunks_append(&heap.chunks, 544, CHUNK_USED);
    chunks_append(&heap.chunks, 544, CHUNK_USED | CHUNK_PYTHON);
    chunks_append(&heap.chunks, 544, CHUNK_USED | CHUNK_CACHED);
    put_top(&heap);
    struct census *census = deal_all(&heap);
    check_eq(census->python_large_error, 544 - 8);
    census_destroy(census);
}

Test(heapdeal, a_free_chunk_gives_back_its_whole_pages)
{
    struct heap heap = heap_of(HEAP_main);
    chunks_append(&heap.chunks, 4048, CHUNK_USED);
    chunks_append(&heap.chunks, 3 * PAGE + 48, 0); /* from its second page */
    chunks_append(&heap.chunks, HEAP_BYTES - 4 * PAGE, CHUNK_USED);
    struct census *census = deal_all(&heap);
    const struct census_heap *row = &census->heaps[0];
    check_eq(row->trim_gain_bytes, 3 * PAGE);
    check_eq(row->trimmable_bytes, 3 * PAGE);
    check_eq(row->page_pinned_bytes, 40 + 8);
    census_destroy(census);
}

/* struct malloc_chunk stays: a page that holds it is not given back. */
Test(heapdeal, the_page_of_its_links_stays)
{
    struct heap heap = heap_of(HEAP_main);
    chunks_append(&heap.chunks, PAGE, CHUNK_USED);
    chunks_append(&heap.chunks, 3 * PAGE, 0);
    chunks_append(&heap.chunks, HEAP_BYTES - 4 * PAGE, CHUNK_USED);
    struct census *census = deal_all(&heap);
    check_eq(census->heaps[0].trim_gain_bytes, 2 * PAGE);
    check_eq(census->heaps[0].trimmable_bytes, 2 * PAGE);
    census_destroy(census);
}

Test(heapdeal, fastbins_are_merged_before_and_tcaches_are_not)
{
    const unsigned fast = CHUNK_USED | CHUNK_CACHED | CHUNK_FAST;
    struct heap heap = heap_of(HEAP_main);
    for (unsigned i = 0; i < 4 * PAGE / 32; i++)
        chunks_append(&heap.chunks, 32, fast);
    chunks_append(&heap.chunks, HEAP_BYTES - 4 * PAGE, CHUNK_USED);
    struct census *census = deal_all(&heap);
    check_eq(census->heaps[0].trim_gain_bytes, 3 * PAGE);
    census_destroy(census);

    heap = heap_of(HEAP_main);
    for (unsigned i = 0; i < 4 * PAGE / 32; i++)
        chunks_append(&heap.chunks, 32, CHUNK_USED | CHUNK_CACHED);
    chunks_append(&heap.chunks, HEAP_BYTES - 4 * PAGE, CHUNK_USED);
    census = deal_all(&heap);
    check_eq(census->heaps[0].trim_gain_bytes, 0);
    check_eq(census->heaps[0].trimmable_bytes, 3 * PAGE);
    census_destroy(census);
}

Test(heapdeal, the_top_of_the_main_heap_is_trimmed_and_no_others)
{
    struct heap heap = heap_of(HEAP_main);
    chunks_append(&heap.chunks, PAGE - 32, CHUNK_USED);
    put_top(&heap);
    struct census *census = deal_all(&heap);
    /* All but 33 bytes, down to whole pages. */
    check_eq(census->heaps[0].trim_gain_bytes, HEAP_BYTES - 2 * PAGE);
    check_eq(census->heaps[0].trimmable_bytes, HEAP_BYTES - PAGE);
    census_destroy(census);

    heap = heap_of(HEAP_thread);
    chunks_append(&heap.chunks, PAGE - 32, CHUNK_USED);
    put_top(&heap);
    census = deal_all(&heap);
    check_eq(census->heaps[0].trim_gain_bytes, 0);
    census_destroy(census);
}

Test(heapdeal, without_heaps_nothing_is_dealt)
{
    const struct heaps heaps = {0};
    const struct mmapped mmapped = {0};
    const struct memory_runs runs = {0};
    struct census *census = xcalloc(1, sizeof(*census));
    struct claims layer = {0};
    heapdeal(&(struct heapdeal_what){.heaps = &heaps, .mmapped = &mmapped},
             &runs, census, &layer);
    check_eq(census->n_heaps, 0);
    check_eq(layer.n_claims, 0);
    census_destroy(census);
}

/* ---- malloc_trim(3) itself --------------------------------------------- */

enum { N_BLOCKS = 20000 };

static void *blocks[N_BLOCKS];

/* Holes of many sizes; then, when it is told to go on, the trimming. */
static void
punch_and_trim(void *context)
{
    uint64_t state = *(const uint64_t *)context;
    for (size_t i = 0; i < N_BLOCKS; i++) {
        const size_t n_bytes = 16 + check_random(&state) % 1000;
        blocks[i] = __libc_malloc(n_bytes);
        memset(blocks[i], 1, n_bytes);
    }
    for (size_t i = 0; i < N_BLOCKS;) {
        const size_t n = check_random(&state) % 60;
        const bool is_freed = check_random(&state) % 2 == 0;
        for (size_t k = 0; k < n && i < N_BLOCKS; k++, i++) {
            if (is_freed)
                __libc_free(blocks[i]);
        }
    }
    raise(SIGSTOP);
    malloc_trim(0);
}

static void
go_on(const struct target *target)
{
    int status = 0;
    kill(target->pid, SIGCONT);
    check_eq(waitpid(target->pid, &status, WUNTRACED), target->pid);
    check_true(WIFSTOPPED(status));
}

/* What a census finds resident of heaps, and says would be given back. */
static uint64_t
heap_bytes(const struct target *target, uint64_t *gain)
{
    const struct census_request request = asking_request(NULL, 0);
    struct census *census = asking_take(target, &request);
    uint64_t resident = 0;
    *gain = 0;
    for (size_t i = 0; i < census->n_heaps; i++) {
        check_false(census->heaps[i].is_torn);
        resident += census->heaps[i].resident_bytes;
        *gain += census->heaps[i].trim_gain_bytes;
    }
    census_destroy(census);
    return resident;
}

Test(heapdeal, what_trimming_would_give_is_what_it_gives)
{
    for (uint64_t seed = 1; seed < 4; seed++) {
        uint64_t state = seed;
        struct target target = target_start(punch_and_trim, &state);
        uint64_t gain = 0;
        uint64_t left = 0;
        const uint64_t before = heap_bytes(&target, &gain);
        check_ge(gain, 100 * PAGE);
        go_on(&target);
        const uint64_t after = heap_bytes(&target, &left);
        check_eq(before - after, gain);
        check_eq(left, 0);
        target_end(&target);
    }
}
