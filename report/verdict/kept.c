#include <string.h>

#include "include/glibc.h"
#include "include/text.h"
#include "include/xalloc.h"
#include "report/units.h"
#include "report/verdict/rules.h"

/* ---- never-returned-int, never-returned-float -------------------------- */

static const struct query_blocks27 *
blocks_of(const struct facts *facts, const char *name)
{
    for (size_t i = 0; i < facts->never.n_blocks27; i++) {
        if (strcmp(facts->never.blocks27[i].name, name) == 0)
            return &facts->never.blocks27[i];
    }
    return NULL;
}

bool
rules_has_no_blocks27(const struct query_process *process)
{
    return process != NULL && process->python != NULL &&
           strncmp(process->python, "3.", 2) == 0;
}

void
rules_add_design(struct text *text, const struct facts *facts,
                 const char *owner)
{
    if (rules_has_no_blocks27(facts->process) &&
        (strcmp(owner, "int") == 0 || strcmp(owner, "float") == 0))
        text_addf(text,
                  " Memory that is kept for dead %ss: none by design. CPython "
                  "3 has its ints and floats in arenas, like all that is "
                  "small.",
                  owner);
}

/* With what malloc has before each. */
static int64_t
bytes_taken(const struct query_blocks27 *blocks)
{
    return query_known(blocks->reserved_bytes) +
           query_known(blocks->blocks) * GLIBC_CHUNK_HEADER_BYTES;
}

/* Recordings of before do not say how full the blocks are. */
static void
add_survivors(struct text *text, const struct query_blocks27 *blocks)
{
    char figures[2][UNITS_BYTES];
    if (blocks->pinned_blocks == QUERY_UNKNOWN ||
        blocks->empty_blocks == QUERY_UNKNOWN)
        return;
    text_addf(text, " One %s alone keeps %s of them, none at all %s.",
              blocks->name, units_count(figures[0], blocks->pinned_blocks),
              units_count(figures[1], blocks->empty_blocks));
}

static char *
blocks_evidence(const struct facts *facts, const struct query_blocks27 *blocks)
{
    char figures[4][UNITS_BYTES];
    struct text text = {0};
    text_addf(&text,
              "At %s: %s blocks of %ss take %s, malloc's heads included, of "
              "which %s are live.",
              units_clock(figures[0], facts->census.t_us),
              units_count(figures[1], blocks->blocks), blocks->name,
              units_bytes(figures[2], bytes_taken(blocks)),
              units_bytes(figures[3], blocks->live_bytes));
    add_survivors(&text, blocks);
    return text_take(&text);
}

/*
 * All that the blocks take but the live objects: links and heads of blocks are
 * there because of the dead as well. (In the ledger they are overhead.)
 */
static bool
never_returned(const struct facts *facts, const char *name, const char *id,
               struct finding *finding)
{
    const struct query_blocks27 *blocks = blocks_of(facts, name);
    char figure[UNITS_BYTES];
    if (blocks == NULL || query_known(blocks->free_bytes) <= 0)
        return false;
    const int64_t n_bytes =
        bytes_taken(blocks) - query_known(blocks->live_bytes);
    *finding = (struct finding){
        .id = id,
        .bytes = n_bytes,
        .returns_bytes = 0,
        .confidence = rules_confidence(&facts->census),
        .owner = xstrdup(name),
        .sentence = xasprintf(
            "%s are room for dead %ss, which CPython 2.7 keeps for %ss to "
            "come, and for nothing else.",
            units_bytes(figure, n_bytes), name, name),
        .evidence = blocks_evidence(facts, blocks),
        .action = xasprintf(
            "gc.collect() frees the blocks in which no %s lives; one that "
            "does keeps the room of all 41 of its block. Make fewer of them "
            "at once (xrange, array, numpy), or in a process of its own.",
            name),
    };
    return true;
}

bool
kept_for_ints(const struct facts *facts, struct finding *finding)
{
    return never_returned(facts, "int", "never-returned-int", finding);
}

bool
kept_for_floats(const struct facts *facts, struct finding *finding)
{
    return never_returned(facts, "float", "never-returned-float", finding);
}

/* ---- free-lists -------------------------------------------------------- */

bool
kept_in_lists(const struct facts *facts, struct finding *finding)
{
    const struct query_never_returned *never = &facts->never;
    char figures[3][UNITS_BYTES];
    int64_t n_bytes = 0;
    int64_t n = 0;
    for (size_t i = 0; i < never->n_free_lists; i++) {
        n_bytes += query_known(never->free_lists[i].bytes);
        n += query_known(never->free_lists[i].count);
    }
    if (n_bytes <= 0)
        return false;
    const struct query_free_list *most = &never->free_lists[0];
    *finding = (struct finding){
        .id = "free-lists",
        .bytes = n_bytes,
        .returns_bytes = 0,
        .confidence = rules_confidence(&facts->census),
        .owner = xstrdup(most->name),
        .sentence = xasprintf(
            "%s are dead objects that the interpreter keeps for reuse.",
            units_bytes(figures[0], n_bytes)),
        .evidence =
            xasprintf("At %s: %s objects wait on free lists, most of them %s.",
                      units_clock(figures[1], facts->census.t_us),
                      units_count(figures[2], n), most->name),
        .action = xstrdup("gc.collect() clears most of the free lists; what "
                          "else lives in their arenas decides whether these "
                          "go back."),
    };
    return true;
}
