#include "include/attrs.h"
#include "include/text.h"
#include "include/xalloc.h"
#include "report/units.h"
#include "report/verdict/rules.h"

/* What of malloc's heaps a finding is about, by where it lies. */
struct place {
    int64_t main_bytes;
    int64_t thread_bytes;
    int64_t n_thread; /* heaps of threads that have some */
};

static struct place
place_of(const struct facts *facts,
         int64_t (*bytes)(const struct query_heap *heap))
{
    struct place place = {0};
    for (size_t i = 0; i < facts->n_heaps; i++) {
        const int64_t n_bytes = query_known(bytes(&facts->heaps[i]));
        if (strcmp(facts->heaps[i].kind, "main") == 0) {
            place.main_bytes += n_bytes;
        } else {
            place.thread_bytes += n_bytes;
            place.n_thread += n_bytes != 0;
        }
    }
    return place;
}

static bool
is_of_threads(const struct place *place)
{
    return place->thread_bytes > place->main_bytes;
}

/* ": 1.0 MiB in the main heap, 6.0 MiB in 8 heaps of threads." */
static void
add_place(struct text *text, const struct place *place)
{
    char size[UNITS_BYTES];
    char n[UNITS_BYTES];
    const char *separator = ": ";
    if (place->main_bytes != 0) {
        text_addf(text, "%s%s in the main heap", separator,
                  units_bytes(size, place->main_bytes));
        separator = ", ";
    }
    if (place->thread_bytes != 0)
        text_addf(text, "%s%s in %s heap%s of threads", separator,
                  units_bytes(size, place->thread_bytes),
                  units_count(n, place->n_thread),
                  place->n_thread == 1 ? "" : "s");
    text_add(text, ".");
}

/* What lives in the heaps, mappings of single chunks left out. */
static void
add_tenants(struct text *text, const struct facts *facts)
{
    char figures[5][UNITS_BYTES];
    struct query_heap sum = {0};
    for (size_t i = 0; i < facts->n_heaps; i++) {
        const struct query_heap *heap = &facts->heaps[i];
        if (strcmp(heap->kind, "mmapped") == 0)
            continue;
        sum.chunks += query_known(heap->chunks);
        sum.live_bytes += query_known(heap->live_bytes);
        sum.resident_bytes += query_known(heap->resident_bytes);
        sum.cached_chunks += query_known(heap->cached_chunks);
        sum.cached_bytes += query_known(heap->cached_bytes);
    }
    text_addf(text, "%s live blocks (%s) lie in heaps of which %s are resident",
              units_count(figures[0], sum.chunks),
              units_bytes(figures[1], sum.live_bytes),
              units_bytes(figures[2], sum.resident_bytes));
    if (sum.cached_chunks != 0)
        text_addf(text,
                  "; %s freed ones (%s) wait in the threads' caches and keep "
                  "their place",
                  units_count(figures[3], sum.cached_chunks),
                  units_bytes(figures[4], sum.cached_bytes));
    text_add(text, ".");
}

/* ---- heap-trimmable ---------------------------------------------------- */

static int64_t
trimmable_of(const struct query_heap *heap)
{
    return heap->trimmable_bytes;
}

static char *
trimmable_evidence(const struct facts *facts)
{
    const struct query_census *census = &facts->census;
    char at[UNITS_BYTES];
    char gain[UNITS_BYTES];
    struct text text = {0};
    text_addf(&text, "At %s: malloc_trim(0) would give back %s; ",
              units_clock(at, census->t_us),
              units_bytes(gain, query_known(census->trim_gain)));
    add_tenants(&text, facts);
    return text_take(&text);
}

static char *
trimmable_action(const struct facts *facts, const struct place *place)
{
    const int64_t gain = query_known(facts->census.trim_gain);
    char back[UNITS_BYTES];
    struct text text = {0};
    if (gain * 2 >= facts->census.heap_trimmable || !is_of_threads(place))
        text_addf(&text,
                  "Call malloc_trim(0) once the big batch is gone: %s go back. "
                  "Where the end of the main heap is free, MALLOC_TRIM_"
                  "THRESHOLD_=131072 lets free() give it back by itself.",
                  units_bytes(back, gain));
    else
        text_addf(&text,
                  "malloc_trim(0) gives back %s: it leaves the free end of a "
                  "thread's heap as it is.",
                  units_bytes(back, gain));
    if (is_of_threads(place))
        text_add(&text, " Fewer heaps hold less: MALLOC_ARENA_MAX=2, or the "
                        "big work in fewer threads.");
    return text_take(&text);
}

bool
heaps_are_trimmable(const struct facts *facts, struct finding *finding)
{
    const struct query_census *census = &facts->census;
    if (query_known(census->heap_trimmable) <= 0)
        return false;
    const struct place place = place_of(facts, trimmable_of);
    char size[UNITS_BYTES];
    struct text text = {0};
    text_addf(&text,
              "%s are free pages that malloc keeps and has not given back to "
              "the system",
              units_bytes(size, census->heap_trimmable));
    add_place(&text, &place);
    *finding = (struct finding){
        .id = "heap-trimmable",
        .bytes = census->heap_trimmable,
        .returns_bytes = query_known(census->trim_gain),
        .confidence = rules_confidence(census),
        .sentence = text_take(&text),
        .evidence = trimmable_evidence(facts),
        .action = trimmable_action(facts, &place),
    };
    return true;
}

/* ---- heap-page-pinned -------------------------------------------------- */

static int64_t
page_pinned_of(const struct query_heap *heap)
{
    return heap->page_pinned_bytes;
}

static char *
page_pinned_evidence(const struct facts *facts)
{
    char at[UNITS_BYTES];
    struct text text = {0};
    text_addf(&text, "At %s: ", units_clock(at, facts->census.t_us));
    add_tenants(&text, facts);
    return text_take(&text);
}

static char *
page_pinned_action(const struct place *place)
{
    return xasprintf(
        "Trimming cannot return it. Make what lives long before the big batch, "
        "or build it anew once that is gone, so that it shares its pages%s.",
        is_of_threads(place) ? "; fewer heaps (MALLOC_ARENA_MAX=2) mix it less"
                             : "");
}

bool
heaps_are_page_pinned(const struct facts *facts, struct finding *finding)
{
    const struct query_census *census = &facts->census;
    if (query_known(census->heap_page_pinned) <= 0)
        return false;
    const struct place place = place_of(facts, page_pinned_of);
    char size[UNITS_BYTES];
    struct text text = {0};
    text_addf(&text,
              "%s of malloc's free memory cannot go back to the system, "
              "because they lie on pages beside live blocks",
              units_bytes(size, census->heap_page_pinned));
    add_place(&text, &place);
    *finding = (struct finding){
        .id = "heap-page-pinned",
        .bytes = census->heap_page_pinned,
        .returns_bytes = 0,
        .confidence = rules_confidence(census),
        .sentence = text_take(&text),
        .evidence = page_pinned_evidence(facts),
        .action = page_pinned_action(&place),
    };
    return true;
}
