#include "collector/census/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "collector/census/maps.h"
#include "include/attrs.h"
#include "tests/unit/check.h"
#include "tests/unit/collector/target.h"
#include "tests/unit/scratch.h"

enum { PAGE = MEMORY_PAGE, PAGES = 64 };

/* Pages 0 and 1 are written, 2 is only read, 3 untouched, and so on by four;
 * behind the last there is nothing. */
static char *area;

static void
lay_out(void *context)
{
    (void)context;
    for (unsigned page = 0; page < PAGES; page++) {
        char *at = area + (size_t)page * PAGE;
        if (page % 4 < 2)
            memset(at, (int)page + 1, PAGE);
        else if (page % 4 == 2)
            *(volatile char *)at; /* the zero page */
    }
}

static struct target target;

static void
set_up(void)
{
    area = target_reserve((PAGES + 1) * PAGE, PAGE);
    munmap(area + PAGES * PAGE, PAGE);
    target = target_start(lay_out, NULL);
}

static void
clean_up(void)
{
    target_end(&target);
}

TestSuite(memory, .init = set_up, .fini = clean_up, .timeout = 20);

static uint64_t
addr_of(unsigned page)
{
    return (uintptr_t)area + (uint64_t)page * PAGE;
}

/* ---- reading ----------------------------------------------------------- */

Test(memory, both_ways_of_reading_give_the_same)
{
    struct memory *fast = target_memory(&target, target.pid);
    struct memory *slow = target_memory(&target, 0);
    for (unsigned page = 0; page < PAGES; page += 4) {
        char one[2 * PAGE];
        char other[2 * PAGE];
        check_true(memory_read(fast, addr_of(page), one, sizeof(one)));
        check_true(memory_read(slow, addr_of(page), other, sizeof(other)));
        check_eq(memcmp(one, other, sizeof(one)), 0);
        check_eq(one[0], page + 1);
        check_eq(one[PAGE], page + 2);
    }
    check_eq(memory_bytes_read(fast), memory_bytes_read(slow));
    check_eq(memory_bytes_read(fast), PAGES / 4 * 2 * PAGE);
    memory_destroy(fast);
    memory_destroy(slow);
}

Test(memory, a_read_is_whole_or_none)
{
    const pid_t pids[] = {target.pid, 0};
    for (size_t i = 0; i < countof(pids); i++) {
        struct memory *memory = target_memory(&target, pids[i]);
        char bytes[2 * PAGE];
        check_false(
            memory_read(memory, addr_of(PAGES - 1), bytes, sizeof(bytes)));
        check_false(memory_read(memory, addr_of(PAGES), bytes, 1));
        check_false(memory_read(memory, 0, bytes, 8));
        check_false(memory_read(memory, UINT64_MAX - 8, bytes, 8));
        check_true(memory_read(memory, addr_of(1), bytes, 8));
        memory_destroy(memory);
    }
}

/* Every seventh of 2000 cannot be read. */
static void
check_spans(pid_t pid)
{
    enum { SPANS = 2000 };
    static struct memory_span spans[SPANS];
    static uint64_t words[SPANS];
    struct memory *memory = target_memory(&target, pid);
    for (unsigned i = 0; i < SPANS; i++)
        spans[i] = (struct memory_span){
            .addr = i % 7 == 0 ? addr_of(PAGES) : addr_of(i % 16 * 4) + i,
            .where = &words[i],
            .n_bytes = sizeof(words[i]),
            .is_read = i % 2 == 0,
        };
    memory_read_spans(memory, spans, SPANS);
    for (unsigned i = 0; i < SPANS; i++) {
        check_eq(spans[i].is_read, i % 7 != 0);
        if (i % 7 != 0)
            check_eq(words[i], (i % 16 * 4 + 1) * 0x0101010101010101u);
    }
    memory_read_spans(memory, spans, 0);
    memory_destroy(memory);
}

Test(memory, many_spans_are_read_past_those_that_cannot_be)
{
    check_spans(target.pid);
    check_spans(0);
}

Test(memory, where_the_faster_path_is_refused_the_files_are_read)
{
    /* A pid that is nobody's: ESRCH, as EPERM is where it is forbidden. */
    const pid_t nobody = fork();
    if (nobody == 0)
        _exit(0);
    waitpid(nobody, NULL, 0);
    struct memory *memory = target_memory(&target, nobody);
    char bytes[PAGE];
    check_true(memory_read(memory, addr_of(4), bytes, sizeof(bytes)));
    check_eq(bytes[0], 5);
    memory_destroy(memory);
    check_spans(nobody);
}

Test(memory, a_pid_that_was_forgotten_is_not_asked)
{
    /* This process has no such page, and would answer otherwise. */
    struct memory *memory = target_memory(&target, getpid());
    char byte = 0;
    memory_forget_pid(memory);
    check_true(memory_read(memory, addr_of(4), &byte, 1));
    check_eq(byte, 5);
    memory_destroy(memory);
}

Test(memory, what_has_died_cannot_be_read)
{
    struct memory *fast = target_memory(&target, target.pid);
    struct memory *slow = target_memory(&target, 0);
    char byte;
    check_true(memory_is_there(fast));
    target_end(&target);
    check_false(memory_is_there(fast));
    check_false(memory_read(fast, addr_of(4), &byte, 1));
    check_false(memory_read(slow, addr_of(4), &byte, 1));
    cr_assert_null(memory_maps_text(slow));
    struct memory_span span = {
        .addr = addr_of(4), .where = &byte, .n_bytes = 1};
    memory_read_spans(fast, &span, 1);
    check_false(span.is_read);
    memory_destroy(fast);
    memory_destroy(slow);
}

Test(memory, destroying_nothing_does_nothing)
{
    memory_destroy(NULL);
}

Test(memory, maps_are_read_whole_and_again)
{
    char ours[64];
    struct memory *memory = target_memory(&target, 0);
    snprintf(ours, sizeof(ours), "%lx-", addr_of(0));
    for (unsigned round = 0; round < 2; round++) {
        char *text = memory_maps_text(memory);
        cr_assert_not_null(text);
        cr_assert_not_null(strstr(text, ours));
        cr_assert_not_null(strstr(text, "[stack]"));
        free(text);
    }
    memory_destroy(memory);
}

static void *
read_maps_often(void *context)
{
    for (unsigned round = 0; round < 300; round++) {
        char *text = memory_maps_text(context);
        struct maps maps = maps_parse(text);
        check_ge(maps.n_maps, 300);
        maps_finish(&maps);
        check_true(memory_is_there(context));
    }
    return NULL;
}

/* More of them than one read gives: where it goes on belongs to the file. */
Test(memory, two_threads_that_read_the_maps_get_all_of_them)
{
    const struct target self = {.pid = getpid()};
    struct memory *memory = target_memory(&self, 0);
    char *many = mmap(NULL, (size_t)600 * PAGE, PROT_READ,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (unsigned i = 0; i < 600; i += 2)
        mprotect(many + (size_t)i * PAGE, PAGE, PROT_NONE);
    pthread_t thread;
    pthread_create(&thread, NULL, read_maps_often, memory);
    read_maps_often(memory);
    pthread_join(thread, NULL);
    memory_destroy(memory);
}

/* ---- pages ------------------------------------------------------------- */

static void
check_runs(const struct memory_runs *runs)
{
    uint64_t floor = 0;
    for (size_t i = 0; i < runs->n_runs; i++) {
        check_true(runs->runs[i].start >= floor);
        check_true(runs->runs[i].start < runs->runs[i].end);
        floor = runs->runs[i].end;
    }
}

Test(memory, a_scan_finds_what_was_written_and_nothing_else)
{
    struct memory *memory = target_memory(&target, 0);
    struct memory_runs runs = {0};
    check_true(memory_scan(memory, addr_of(0), addr_of(PAGES), &runs));
    check_runs(&runs);
    check_eq(runs.n_runs, PAGES / 4);
    for (unsigned i = 0; i < runs.n_runs; i++) {
        check_eq(runs.runs[i].start, addr_of(4 * i));
        check_eq(runs.runs[i].end, addr_of(4 * i + 2));
        check_false(runs.runs[i].is_file);
        check_false(runs.runs[i].is_swapped);
    }
    memory_runs_finish(&runs);
    memory_destroy(memory);
}

static char *stripes;

enum { STRIPES = 2600 };

static void
lay_stripes(void *context)
{
    (void)context;
    for (size_t i = 0; i < STRIPES; i++)
        stripes[2 * i * MEMORY_PAGE] = 1;
}

/* However many there are, and wherever buffers are full. */
Test(memory, a_scan_finds_each_of_many_runs_once)
{
    static const size_t counts[] = {
        1,    2,    511,  512,  513,  600,  1023,
        1024, 1025, 1500, 1536, 2047, 2049, STRIPES,
    };
    stripes = target_reserve((size_t)2 * STRIPES * MEMORY_PAGE, MEMORY_PAGE);
    struct target striped = target_start(lay_stripes, NULL);
    struct memory *memory = target_memory(&striped, 0);
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        struct memory_runs runs = {0};
        const uint64_t start = (uintptr_t)stripes;
        const uint64_t end = start + 2 * counts[i] * MEMORY_PAGE;
        check_true(memory_scan(memory, start, end, &runs));
        check_runs(&runs);
        check_eq(runs.n_runs, counts[i]);
        memory_runs_finish(&runs);
    }
    memory_destroy(memory);
    target_end(&striped);
}

Test(memory, a_scan_of_everything_is_the_kernels_rss)
{
    struct memory *memory = target_memory(&target, 0);
    struct memory_runs runs = {0};
    check_true(memory_scan(memory, 0, MEMORY_END, &runs));
    check_runs(&runs);
    uint64_t resident = 0;
    for (size_t i = 0; i < runs.n_runs; i++)
        resident +=
            runs.runs[i].is_swapped ? 0 : runs.runs[i].end - runs.runs[i].start;
    check_eq(resident, target_says(&target, "smaps_rollup", "\nRss:"));
    memory_runs_finish(&runs);
    memory_destroy(memory);
}

Test(memory, reading_and_scanning_make_nothing_resident)
{
    struct memory *memory = target_memory(&target, target.pid);
    struct memory_runs runs = {0};
    const int64_t rss = target_says(&target, "smaps_rollup", "\nRss:");
    const int64_t tables = target_says(&target, "status", "VmPTE:");
    char bytes[2 * PAGE];
    for (unsigned round = 0; round < 3; round++) {
        check_true(memory_scan(memory, 0, MEMORY_END, &runs));
        check_true(memory_read(memory, addr_of(8), bytes, sizeof(bytes)));
        free(memory_maps_text(memory));
    }
    check_eq(target_says(&target, "smaps_rollup", "\nRss:"), rss);
    check_eq(target_says(&target, "status", "VmPTE:"), tables);
    memory_runs_finish(&runs);
    memory_destroy(memory);
}

/*
 * A kernel before 6.7 cannot scan: an ordinary file answers as its pagemap
 * does, an entry a page, and refuses the ioctl.
 */
Test(memory, an_old_kernels_entries_are_read_one_by_one)
{
    struct scratch scratch = scratch_create();
    char path[SCRATCH_PATH_BYTES];
    char line[128];
    struct memory_descriptors files = target_files(&target);
    static uint64_t entries[PAGES];
    const off_t at = (off_t)(addr_of(0) / PAGE * sizeof(entries[0]));
    check_eq(pread(files.pagemap, entries, sizeof(entries), at),
             sizeof(entries));
    entries[3] = (uint64_t)1 << 62; /* swapped */
    entries[7] = (uint64_t)5 << 61; /* present, of a file */

    close(files.pagemap);
    close(files.maps);
    scratch_file(&scratch, "pagemap", "", 0, 0600, path);
    files.pagemap = open(path, O_RDWR | O_CLOEXEC);
    check_eq(pwrite(files.pagemap, entries, sizeof(entries), at),
             sizeof(entries));
    snprintf(line, sizeof(line), "nonsense\n%lx-%lx rw-p 00000000 00:00 0\n",
             addr_of(0), addr_of(PAGES));
    scratch_file(&scratch, "maps", line, strlen(line), 0600, path);
    files.maps = open(path, O_RDONLY | O_CLOEXEC);

    struct memory *memory = memory_create(&files, 0);
    struct memory_runs runs = {0};
    check_true(memory_scan(memory, 0, MEMORY_END, &runs));
    check_runs(&runs);
    /* The zero pages, which entries cannot tell, join the written ones. */
    check_eq(runs.runs[0].start, addr_of(0));
    check_eq(runs.runs[0].end, addr_of(3));
    check_true(runs.runs[1].is_swapped);
    check_eq(runs.runs[1].end, addr_of(4));
    check_true(runs.runs[3].is_file);
    check_eq(runs.runs[3].start, addr_of(7));
    memory_runs_finish(&runs);

    check_true(memory_scan(memory, addr_of(4), addr_of(6), &runs));
    check_eq(runs.n_runs, 1);
    check_eq(runs.runs[0].start, addr_of(4));
    check_eq(runs.runs[0].end, addr_of(6));
    memory_runs_finish(&runs);
    memory_destroy(memory);
    scratch_remove(&scratch);
}

Test(memory, a_scan_of_the_dead_says_no)
{
    struct memory *memory = target_memory(&target, 0);
    struct memory_runs runs = {0};
    target_end(&target);
    const bool is_scanned = memory_scan(memory, 0, MEMORY_END, &runs);
    check_true(!is_scanned || runs.n_runs == 0);
    memory_runs_finish(&runs);
    memory_destroy(memory);
}
