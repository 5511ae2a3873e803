#include "collector/census/heapdeal.h"

#include "collector/census/deal.h"
#include "collector/census/pages.h"
#include "include/glibc.h"
#include "include/xalloc.h"

/* Largest block that pymalloc gives: what is larger may be the interpreter's.
 */
enum { LARGEST_SMALL_CHUNK = 512 + 16 };

/* What a page has of one cause. */
struct share {
    uint64_t n_bytes;
    uint64_t address; /* of the first chunk that has it */
    enum recording_proof proof;
};

/* Pieces come in order of their addresses; a page at a time is gathered. */
struct dealer {
    struct census *census;
    struct census_heap *row;
    const struct memory_runs *runs;
    size_t run; /* the first that ends behind the page */
    uint64_t page;
    bool is_resident;
    struct share shares[N_CAUSES];
    const struct blocks27_block *block27; /* the next of them */
    size_t n_blocks27;                    /* it and those behind */
};

struct piece {
    uint64_t from;
    uint64_t to;
    enum recording_cause cause;
    enum recording_proof proof;
    uint64_t address;
};

/* ---- pages ------------------------------------------------------------- */

static void
flush(struct dealer *dealer)
{
    const uint64_t n_free = dealer->shares[CAUSE_native_free].n_bytes;
    for (unsigned cause = 0; cause < N_CAUSES && dealer->is_resident; cause++) {
        const struct share *share = &dealer->shares[cause];
        if (share->n_bytes != 0)
            deal(dealer->census, &(struct census_proof){
                                     .start = dealer->page,
                                     .end = dealer->page + MEMORY_PAGE,
                                     .n_bytes = share->n_bytes,
                                     .address = share->address,
                                     .cause = (enum recording_cause)cause,
                                     .proof = share->proof,
                                 });
        dealer->row->resident_bytes += share->n_bytes;
    }
    *(n_free == MEMORY_PAGE ? &dealer->row->trimmable_bytes
                            : &dealer->row->page_pinned_bytes) += n_free;
    for (unsigned cause = 0; cause < N_CAUSES; cause++)
        dealer->shares[cause].n_bytes = 0;
}

static void
turn_to(struct dealer *dealer, uint64_t page)
{
    flush(dealer);
    const struct memory_runs *runs = dealer->runs;
    while (dealer->run < runs->n_runs && runs->runs[dealer->run].end <= page)
        dealer->run++;
    dealer->page = page;
    dealer->is_resident = dealer->run < runs->n_runs &&
                          runs->runs[dealer->run].start <= page &&
                          !runs->runs[dealer->run].is_swapped;
}

/* The resident ones of many whole pages that are all of one piece. */
static void
deal_whole_pages(struct dealer *dealer, const struct piece *piece,
                 uint64_t from, uint64_t to)
{
    turn_to(dealer, from);
    for (size_t i = dealer->run; i < dealer->runs->n_runs; i++) {
        const struct memory_run *run = &dealer->runs->runs[i];
        if (run->start >= to)
            break;
        const uint64_t start = run->start > from ? run->start : from;
        const uint64_t end = run->end < to ? run->end : to;
        if (run->is_swapped)
            continue;
        deal(dealer->census, &(struct census_proof){
                                 .start = start,
                                 .end = end,
                                 .n_bytes = end - start,
                                 .address = piece->address,
                                 .cause = piece->cause,
                                 .proof = piece->proof,
                             });
        dealer->row->resident_bytes += end - start;
        if (piece->cause == CAUSE_native_free)
            dealer->row->trimmable_bytes += end - start;
    }
}

static void
deal_piece(struct dealer *dealer, const struct piece *piece)
{
    uint64_t from = piece->from;
    while (from < piece->to) {
        const uint64_t page = from & ~(uint64_t)(MEMORY_PAGE - 1);
        const uint64_t whole = piece->to & ~(uint64_t)(MEMORY_PAGE - 1);
        if (page == from && whole > from) {
            deal_whole_pages(dealer, piece, from, whole);
            from = whole;
            continue;
        }
        if (page != dealer->page)
            turn_to(dealer, page);
        const uint64_t end =
            page + MEMORY_PAGE < piece->to ? page + MEMORY_PAGE : piece->to;
        struct share *share = &dealer->shares[piece->cause];
        if (share->n_bytes == 0) {
            share->address = piece->address;
            share->proof = piece->proof;
        }
        if (dealer->is_resident)
            share->n_bytes += end - from;
        from = end;
    }
}

/* ---- chunks ------------------------------------------------------------ */

static void
count_chunk(struct dealer *dealer, const struct chunk *chunk)
{
    struct census_heap *row = dealer->row;
    const uint64_t n_bytes = chunk->n_bytes - 8;
    if ((chunk->flags & CHUNK_USED) == 0) {
        row->n_free++;
        row->free_bytes += n_bytes;
    } else if ((chunk->flags & CHUNK_CACHED) != 0) {
        row->n_cached++;
        row->cached_bytes += n_bytes;
    } else {
        row->n_chunks++;
        row->live_bytes += n_bytes;
    }
}

static bool
is_in_use(const struct chunk *chunk)
{
    return (chunk->flags & (CHUNK_USED | CHUNK_CACHED)) == CHUNK_USED;
}

/* Whether the chunk is one of 2.7's blocks; they come in order. */
static const struct blocks27_block *
take_block27(struct dealer *dealer, const struct chunk *chunk)
{
    const uint64_t block = chunk->at + CHUNK_HEADER_BYTES;
    while (dealer->n_blocks27 != 0 && dealer->block27->addr < block) {
        dealer->block27++;
        dealer->n_blocks27--;
    }
    return dealer->n_blocks27 != 0 && dealer->block27->addr == block
               ? dealer->block27
               : NULL;
}

/* A link, 41 slots with an object or without, and what is left over. */
static void
deal_block27(struct dealer *dealer, const struct blocks27_block *block,
             uint64_t chunk, uint64_t end)
{
    struct piece piece = {.from = block->addr,
                          .to = block->addr + sizeof(uint64_t),
                          .cause = CAUSE_python_overhead,
                          .proof = PROOF_block27,
                          .address = chunk};
    deal_piece(dealer, &piece);
    for (unsigned slot = 0; slot < CPYTHON_BLOCK27_SLOTS; slot++) {
        piece.from = piece.to;
        piece.to = piece.from + CPYTHON_BLOCK27_SLOT_BYTES;
        piece.cause = (block->live >> slot & 1) != 0
                          ? CAUSE_python_live
                          : CAUSE_python_never_returned;
        deal_piece(dealer, &piece);
    }
    piece.from = piece.to;
    piece.to = end;
    piece.cause = CAUSE_python_overhead;
    deal_piece(dealer, &piece);
}

/* A chunk's size word, and its block, which ends 8 bytes behind the chunk. */
static void
deal_chunk(struct dealer *dealer, const struct chunk *chunk, uint64_t end)
{
    const uint64_t word = chunk->at + 8;
    const uint64_t block = chunk->at + CHUNK_HEADER_BYTES;
    struct piece piece = {word, block, CAUSE_native_overhead, PROOF_chunk,
                          chunk->at};
    if (chunk->n_bytes < CHUNK_LEAST_BYTES) {
        piece.to = end;
        piece.proof = PROOF_heap;
        deal_piece(dealer, &piece);
        return;
    }
    count_chunk(dealer, chunk);
    if (!is_in_use(chunk)) {
        piece.to = end;
        piece.cause = CAUSE_native_free;
        deal_piece(dealer, &piece);
        return;
    }
    deal_piece(dealer, &piece);
    const struct blocks27_block *block27 = take_block27(dealer, chunk);
    if (block27 != NULL) {
        deal_block27(dealer, block27, chunk->at, end);
        return;
    }
    piece.from = block;
    piece.to = end;
    piece.cause = (chunk->flags & CHUNK_PYTHON) != 0 ? CAUSE_python_large
                                                     : CAUSE_native_live;
    deal_piece(dealer, &piece);
    if (piece.cause == CAUSE_native_live &&
        chunk->n_bytes > LARGEST_SMALL_CHUNK)
        dealer->census->python_large_error +=
            pages_resident_within(dealer->runs, block, end);
}

/* ---- what trimming gives ----------------------------------------------- */

/* A stretch of free chunks, as malloc_trim merges them. */
struct stretch {
    uint64_t start; /* 0: none */
    uint64_t end;
};

static uint64_t
gain_of_top(const struct heap *heap, const struct stretch *stretch,
            const struct memory_runs *runs)
{
    const uint64_t n_bytes = stretch->end - stretch->start;
    if (heap->kind != HEAP_main || n_bytes <= GLIBC_LEAST_CHUNK_BYTES + 1)
        return 0;
    const uint64_t extra =
        (n_bytes - GLIBC_LEAST_CHUNK_BYTES - 1) & ~(uint64_t)GLIBC_PAGE_MINUS_1;
    return pages_resident_within(runs, heap->end - extra, heap->end);
}

static uint64_t
gain_of_bin(const struct stretch *stretch, const struct memory_runs *runs)
{
    if (stretch->end - stretch->start <=
        GLIBC_PAGE_MINUS_1 + GLIBC_CHUNK_STRUCT_BYTES)
        return 0;
    const uint64_t from =
        (stretch->start + GLIBC_CHUNK_STRUCT_BYTES + GLIBC_PAGE_MINUS_1) &
        ~(uint64_t)GLIBC_PAGE_MINUS_1;
    const uint64_t n_bytes =
        (stretch->end - from) & ~(uint64_t)GLIBC_PAGE_MINUS_1;
    return pages_resident_within(runs, from, from + n_bytes);
}

static void
end_stretch(const struct heap *heap, struct stretch *stretch,
            const struct memory_runs *runs, struct census_heap *row)
{
    if (stretch->start != 0)
        row->trim_gain_bytes += stretch->end == heap->end
                                    ? gain_of_top(heap, stretch, runs)
                                    : gain_of_bin(stretch, runs);
    stretch->start = 0;
}

static void
stretch_over(const struct heap *heap, const struct chunk *chunk,
             struct stretch *stretch, const struct memory_runs *runs,
             struct census_heap *row)
{
    const bool is_free =
        (chunk->flags & CHUNK_USED) == 0 || (chunk->flags & CHUNK_FAST) != 0;
    if (!is_free || chunk->n_bytes < CHUNK_LEAST_BYTES) {
        end_stretch(heap, stretch, runs, row);
        return;
    }
    if (stretch->start == 0)
        stretch->start = chunk->at;
    stretch->end = chunk->at + chunk->n_bytes;
}

/* ---- heaps ------------------------------------------------------------- */

static void
deal_heap(const struct heap *heap, const struct heapdeal_what *what,
          const struct memory_runs *runs, struct census *census,
          struct claims *layer)
{
    struct census_heap *row = &census->heaps[census->n_heaps++];
    *row = (struct census_heap){
        .kind = heap->kind,
        .address = heap->start,
        .n_bytes = heap->end - heap->start,
        .n_torn = heap->n_torn,
        .is_torn = heap->is_torn,
    };
    struct dealer dealer = {
        .census = census,
        .row = row,
        .runs = runs,
        .run = pages_first(runs, heap->start),
        .block27 = what->blocks27,
        .n_blocks27 = what->n_blocks27,
    };
    const struct chunks *chunks = &heap->chunks;
    uint64_t end = chunks->end + 8 < heap->end ? chunks->end + 8 : heap->end;
    deal_piece(&dealer,
               &(struct piece){heap->start, chunks->start + 8,
                               CAUSE_native_overhead, PROOF_heap, heap->start});
    struct stretch stretch = {0};
    for (struct chunk chunk = chunks_first(chunks); chunk.n_bytes != 0;
         chunk = chunks_next(chunks, &chunk)) {
        const uint64_t behind = chunk.at + chunk.n_bytes + 8;
        deal_chunk(&dealer, &chunk, behind < end ? behind : end);
        stretch_over(heap, &chunk, &stretch, runs, row);
    }
    end_stretch(heap, &stretch, runs, row);
    flush(&dealer);
    census->n_torn += heap->is_torn;
    claims_add(
        layer,
        (struct claim){.start = heap->start, .end = end, .cause = CLAIM_DEALT});
}

/* Mmapped chunks: a page's head, the block, and what may be behind it. */
static void
deal_mmapped(const struct mmapped *mmapped, const struct memory_runs *runs,
             struct census *census, struct claims *layer)
{
    if (mmapped->n_chunks == 0)
        return;
    struct census_heap *row = &census->heaps[census->n_heaps++];
    *row = (struct census_heap){.kind = HEAP_mmapped};
    struct dealer dealer = {.census = census, .row = row, .runs = runs};
    for (size_t i = 0; i < mmapped->n_chunks; i++) {
        const struct mmapped_chunk *one = &mmapped->chunks[i];
        const uint64_t at = one->block - CHUNK_HEADER_BYTES;
        deal_piece(&dealer,
                   &(struct piece){one->start, one->block,
                                   CAUSE_native_overhead, PROOF_chunk, at});
        deal_piece(&dealer, &(struct piece){one->block, one->block_end,
                                            one->is_python ? CAUSE_python_large
                                                           : CAUSE_native_live,
                                            PROOF_chunk, at});
        deal_piece(&dealer,
                   &(struct piece){one->block_end, one->end,
                                   CAUSE_native_overhead, PROOF_chunk, at});
        row->n_chunks++;
        row->live_bytes += one->block_end - one->block;
        row->n_bytes += one->end - one->start;
        claims_add(layer, (struct claim){.start = one->start,
                                         .end = one->end,
                                         .cause = CLAIM_DEALT});
    }
    flush(&dealer);
}

void
heapdeal(const struct heapdeal_what *what, const struct memory_runs *runs,
         struct census *census, struct claims *layer)
{
    const struct heaps *heaps = what->heaps;
    census->heaps = xcalloc(heaps->n_heaps + 1, sizeof(census->heaps[0]));
    for (size_t i = 0; i < heaps->n_heaps; i++)
        deal_heap(&heaps->heaps[i], what, runs, census, layer);
    deal_mmapped(what->mmapped, runs, census, layer);
    claims_sort(layer);
}
