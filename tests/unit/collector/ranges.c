#include "collector/census/ranges.h"

#include <stdio.h>
#include <string.h>

#include "include/attrs.h"
#include "include/xalloc.h"
#include "tests/unit/check.h"
#include "tests/unit/collector/fake_memory.h"

enum { PAGE = MEMORY_PAGE };

TestSuite(ranges, .timeout = 20);

static struct maps
maps_of(const char *text)
{
    return maps_parse(xstrdup(text));
}

static void
check_claim(const struct claim *claim, uint64_t start, uint64_t end, int cause,
            int proof)
{
    check_eq(claim->start, start);
    check_eq(claim->end, end);
    check_eq(claim->cause, cause);
    check_eq(claim->proof, proof);
}

/* ---- the kernel's list ------------------------------------------------- */

/* Its line behind the addresses. */
static const struct {
    const char *line;
    int cause;
    int proof;
} lines[] = {
    {"rw-p 0 00:00 0",                   CAUSE_unexplained, N_PROOFS      },
    {"rw-p 0 00:00 0 [heap]",            CAUSE_unexplained, N_PROOFS      },
    {"rw-p 0 00:00 0 [anon:mine]",       CAUSE_unexplained, N_PROOFS      },
    {"rw-p 0 00:00 0 [stack]",           CAUSE_stacks,      PROOF_stack   },
    {"rw-p 0 fe:00 9 /usr/lib/x.so",     CLAIM_IMAGE,       PROOF_file    },
    {"r--s 0 fe:00 9 /usr/lib/x.so",     CAUSE_file,        PROOF_file    },
    {"rw-s 0 00:01 77 /memfd:residue",   CAUSE_profiler,    PROOF_profiler},
    {"rw-s 0 00:01 78 /memfd:residue",   CAUSE_shmem,       PROOF_shared  },
    {"rw-s 0 00:01 5 /dev/zero",         CAUSE_shmem,       PROOF_shared  },
    {"rw-s 0 00:18 5 /dev/shm/x",        CAUSE_shmem,       PROOF_shared  },
    {"rw-s 0 00:01 5 /SYSV00000000",     CAUSE_shmem,       PROOF_shared  },
    {"rw-s 0 00:0f 0 anon_inode:[perf]", CAUSE_unexplained, N_PROOFS      },
    {"r-xp 0 00:00 0 [vdso]",            CLAIM_IMAGE,       PROOF_file    },
};

Test(ranges, a_mappings_line_tells_its_cause)
{
    const struct census_request request = {.shared_inode = 77};
    for (size_t i = 0; i < countof(lines); i++) {
        char text[160];
        snprintf(text, sizeof(text), "10000-14000 %s\n", lines[i].line);
        struct maps maps = maps_of(text);
        struct claims claims = ranges_maps(&maps, &request);
        check_eq(claims.n_claims, 1);
        check_claim(&claims.claims[0], 0x10000, 0x14000, lines[i].cause,
                    lines[i].proof);
        check_eq(claims.claims[0].address, 0x10000);
        claims_finish(&claims);
        maps_finish(&maps);
    }
}

/* ---- our own pages ----------------------------------------------------- */

Test(ranges, own_pages_are_whole_and_may_overlap)
{
    const struct census_request request = {
        .own = {{0x10100, 0x100}, {0x10800, 0x1000}},
    };
    struct claims layer = ranges_own(&request);
    check_eq(layer.n_claims, 2);
    check_claim(&layer.claims[0], 0x10000, 0x11000, CAUSE_profiler,
                PROOF_profiler);
    check_claim(&layer.claims[1], 0x11000, 0x12000, CAUSE_profiler,
                PROOF_profiler);
    claims_finish(&layer);
}

Test(ranges, of_no_own_pages_there_is_no_claim)
{
    const struct census_request request = {0};
    struct claims layer = ranges_own(&request);
    check_eq(layer.n_claims, 0);
    claims_finish(&layer);
}

/* ---- stacks ------------------------------------------------------------ */

#define STACK ((uint64_t)0x7f0000000000)

/* A stack of 16 pages with its control block, and what says it is one. */
static struct memory memory;
static const uint64_t block = STACK + 15 * PAGE + 0x700;

static void
set_up_stack(void)
{
    fake_memory_add(&memory, STACK, 16 * PAGE);
    fake_memory_put(&memory, block, block);
    fake_memory_put(&memory, block + 16, block);
}

static struct claims
stacks_of(const char *text, const struct census_request *request)
{
    struct maps maps = maps_of(text);
    struct memory_runs runs = fake_memory_runs(&memory);
    struct claims layer = ranges_stacks(&memory, &maps, &runs, request);
    check_eq(memory.n_bad_reads, 0);
    memory_runs_finish(&runs);
    maps_finish(&maps);
    return layer;
}

static const char anonymous[] = "7f0000000000-7f0000010000 rw-p 0 00:00 0\n";

static size_t
count_stacks(const char *text, uint64_t control_block)
{
    const struct census_request request = {
        .control_blocks = &control_block,
        .n_control_blocks = 1,
    };
    struct claims layer = stacks_of(text, &request);
    const size_t n = layer.n_claims;
    if (n != 0)
        check_claim(&layer.claims[0], STACK, STACK + 16 * PAGE, CAUSE_stacks,
                    PROOF_stack);
    claims_finish(&layer);
    return n;
}

Test(ranges, a_control_block_that_says_so_proves_a_stack)
{
    set_up_stack();
    check_eq(count_stacks(anonymous, block), 1);
    check_eq(count_stacks(anonymous, block + 16), 0);
    check_eq(count_stacks(anonymous, 0), 0);
    check_eq(count_stacks(anonymous, UINT64_MAX), 0);
    check_eq(count_stacks("", block), 0);
    check_eq(
        count_stacks("7f0000000000-7f0000010000 rw-p 0 fe:00 9 /x\n", block),
        0);
    fake_memory_put(&memory, block + 16, block + 8);
    check_eq(count_stacks(anonymous, block), 0);
    fake_memory_put(&memory, block + 16, block);
    fake_memory_set(&memory, STACK + 15 * PAGE, STACK + 16 * PAGE,
                    FAKE_SWAPPED);
    check_eq(count_stacks(anonymous, block), 0);
    fake_memory_finish(&memory);
}

Test(ranges, a_supplied_stack_begins_where_it_was_said_to)
{
    set_up_stack();
    uint64_t control_block = block;
    struct census_range stacks[] = {
        {STACK + 20 * PAGE,     PAGE      }, /* another's */
        {STACK + 8 * PAGE + 30, 8 * PAGE  },
        {0,                     UINT64_MAX},
    };
    const struct census_request request = {
        .control_blocks = &control_block,
        .n_control_blocks = 1,
        .stacks = stacks,
        .n_stacks = countof(stacks),
    };
    struct claims layer = stacks_of(anonymous, &request);
    check_eq(layer.n_claims, 1);
    check_claim(&layer.claims[0], STACK + 8 * PAGE, STACK + 16 * PAGE,
                CAUSE_stacks, PROOF_stack);
    check_eq(layer.claims[0].address, block);
    claims_finish(&layer);
    fake_memory_finish(&memory);
}

/* ---- mappings that were seen made, and by whom ------------------------- */

static const char modules[] =
    "400000-410000 r-xp 0 fe:00 9 /usr/bin/python3\n"
    "500000-510000 r-xp 0 fe:00 8 /usr/lib/numpy/core.so\n"
    "600000-610000 r-xp 0 00:00 0\n"
    "7f0000000000-7f0000100000 rw-p 0 00:00 0\n";

static struct census_mapping made[] = {
    {STACK,             STACK + 4 * PAGE,  0x400100},
    {STACK + 4 * PAGE,  STACK + 16 * PAGE, 0x500100},
    {STACK + 16 * PAGE, STACK + 17 * PAGE, 0x400200},
    {STACK + 17 * PAGE, STACK + 18 * PAGE, 0x600000},
    {STACK + 18 * PAGE, STACK + 20 * PAGE, 0x700000},
    {STACK + 20 * PAGE, STACK + 22 * PAGE, 0       },
};

Test(ranges, a_mapping_that_was_seen_made_is_its_claim)
{
    const struct census_request request = {
        .mappings = made,
        .n_mappings = countof(made),
    };
    struct claims layer = ranges_mapped(&request);
    check_eq(layer.n_claims, countof(made));
    for (size_t i = 0; i < countof(made); i++) {
        check_claim(&layer.claims[i], made[i].start, made[i].end,
                    CAUSE_mapped_anon, PROOF_mapping);
        check_eq(layer.claims[i].address, made[i].start);
    }
    claims_finish(&layer);
}

static struct census *
sum(const struct census_request *request, const char *text)
{
    struct census *census = xcalloc(1, sizeof(*census));
    struct maps maps = maps_of(text);
    struct memory_run run = {.start = STACK, .end = STACK + 12 * PAGE};
    const struct memory_runs runs = {.runs = &run, .n_runs = 1};
    struct claims claims = ranges_maps(&maps, request);
    struct claims layer = ranges_mapped(request);
    claims_cover(&claims, &layer, CAUSE_unexplained);
    ranges_sum_modules(request, &maps, &claims, &runs, census);
    claims_finish(&layer);
    claims_finish(&claims);
    maps_finish(&maps);
    return census;
}

static void
finish(struct census *census)
{
    for (size_t i = 0; i < census->n_modules; i++)
        free(census->modules[i].name);
    free(census->modules);
    free(census);
}

Test(ranges, mappings_are_summed_up_by_who_made_them)
{
    static const struct census_module wanted[] = {
        {(char *)"core.so",                 1, 12 * PAGE, 8 * PAGE},
        {(char *)"python3",                 2, 5 * PAGE,  4 * PAGE},
        {(char *)"(code made at run time)", 1, PAGE,      0       },
        {(char *)"(unloaded)",              2, 4 * PAGE,  0       },
    };
    const struct census_request request = {
        .mappings = made,
        .n_mappings = countof(made),
    };
    struct census *census = sum(&request, modules);
    check_eq(census->n_modules, countof(wanted));
    for (size_t i = 0; i < countof(wanted); i++) {
        check_text(census->modules[i].name, wanted[i].name);
        check_eq(census->modules[i].n_mappings, wanted[i].n_mappings);
        check_eq(census->modules[i].n_bytes, wanted[i].n_bytes);
        check_eq(census->modules[i].resident_bytes, wanted[i].resident_bytes);
    }
    finish(census);
}

Test(ranges, where_another_claim_lies_a_mapping_counts_no_bytes)
{
    const struct census_request request = {
        .mappings = made,
        .n_mappings = countof(made),
    };
    /* Its second half is a file's by now. */
    struct census *census =
        sum(&request, "400000-410000 r-xp 0 fe:00 9 /usr/bin/python3\n"
                      "7f0000000000-7f0000002000 rw-p 0 00:00 0\n"
                      "7f0000002000-7f0000100000 r--s 0 fe:00 7 /data\n");
    check_eq(census->n_modules, 1);
    check_eq(census->modules[0].n_mappings, 1);
    check_eq(census->modules[0].n_bytes, 2 * PAGE);
    finish(census);
}

/* ---- too many ---------------------------------------------------------- */

enum { MANY = 1000 };

/* As many modules as mappings; the first is called as the rest is. */
static char *
text_of_many(void)
{
    char *text = xcalloc(MANY + 1, 80);
    size_t at = (size_t)sprintf(text, "%x-%x r-xp 0 fe:00 9 /lib/(other)\n",
                                0x400000, 0x400000 + PAGE);
    for (unsigned i = 1; i < MANY; i++)
        at += (size_t)sprintf(text + at, "%x-%x r-xp 0 fe:00 9 /lib/m%u\n",
                              0x400000 + i * PAGE, 0x401000 + i * PAGE, i);
    strcpy(text + at, anonymous);
    return text;
}

Test(ranges, beyond_the_most_modules_the_others_are_one)
{
    static struct census_mapping many[MANY];
    for (unsigned i = 0; i < MANY; i++)
        many[i] = (struct census_mapping){
            STACK + (uint64_t)i * 16,
            STACK + (uint64_t)i * 16 + 16,
            0x400000 + (uint64_t)i * PAGE,
        };
    const struct census_request request = {
        .mappings = many,
        .n_mappings = MANY,
    };
    char *text = text_of_many();
    struct census *census = sum(&request, text);
    check_eq(census->n_modules, 255);
    unsigned n_others = 0;
    uint64_t n_mappings = 0;
    for (size_t i = 0; i < census->n_modules; i++) {
        n_others += strcmp(census->modules[i].name, "(other)") == 0;
        n_mappings += census->modules[i].n_mappings;
    }
    check_eq(n_others, 1);
    check_eq(n_mappings, MANY);
    finish(census);
    free(text);
}
