/*
 * What a census says of mappings that are not Python's. Each census must add up
 * to the kernel's own figure.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "collector/census/census.h"
#include "include/attrs.h"
#include "tests/unit/check.h"
#include "tests/unit/collector/asking.h"
#include "tests/unit/collector/interpreter.h"
#include "tests/unit/collector/target.h"
#include "tests/unit/scratch.h"

enum { PAGE = MEMORY_PAGE };

TestSuite(census_mappings, .timeout = 20);

static char *area;

/* ---- what is behind them ----------------------------------------------- */

static struct {
    char *shared;   /* anonymous, shared */
    char *memfd;    /* a memfd of another's */
    char *residues; /* the profiler's own */
    char *file;     /* private: two pages read, one written */
    char *file_shared;
    uint64_t inode;
    int fd;
} mapped;

static int
memfd(const char *name, size_t n_bytes)
{
    const int fd = memfd_create(name, MFD_CLOEXEC);
    check_eq(ftruncate(fd, (off_t)n_bytes), 0);
    return fd;
}

static void
lay_mappings(void *context)
{
    (void)context;
    memset(mapped.shared, 1, 3 * PAGE);
    memset(mapped.memfd, 1, 2 * PAGE);
    memset(mapped.residues, 1, 4 * PAGE);
    for (unsigned i = 0; i < 2; i++)
        *(volatile char *)(mapped.file + (size_t)i * PAGE);
    mapped.file[2 * PAGE] = 1;
    *(volatile char *)mapped.file_shared;
}

static void
map_all(const struct scratch *scratch)
{
    char path[SCRATCH_PATH_BYTES];
    static const char content[4 * PAGE];
    const int both = PROT_READ | PROT_WRITE;
    scratch_file(scratch, "mapped", content, sizeof(content), 0600, path);
    mapped.fd = open(path, O_RDWR | O_CLOEXEC);
    const int residues = memfd("residue", 4 * PAGE);
    struct stat is;
    check_eq(fstat(residues, &is), 0);
    mapped.inode = is.st_ino;
    mapped.shared =
        mmap(NULL, 3 * PAGE, both, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    mapped.memfd =
        mmap(NULL, 2 * PAGE, both, MAP_SHARED, memfd("other", 2 * PAGE), 0);
    mapped.residues = mmap(NULL, 4 * PAGE, both, MAP_SHARED, residues, 0);
    mapped.file = mmap(NULL, 4 * PAGE, both, MAP_PRIVATE, mapped.fd, 0);
    mapped.file_shared = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, mapped.fd, 0);
    /* Faults would bring neighbouring pages along. */
    madvise(mapped.file, 4 * PAGE, MADV_RANDOM);
}

Test(census_mappings, mappings_are_told_apart_by_what_is_behind_them)
{
    struct scratch scratch = scratch_create();
    map_all(&scratch);
    struct target target = target_start(lay_mappings, NULL);
    struct census_request request = asking_request(NULL, 0);
    struct census *before = asking_take(&target, &request);
    check_eq(before->ledger[CAUSE_profiler], 0);
    check_ge(before->ledger[CAUSE_shmem], (3 + 2 + 4) * PAGE);
    check_ge(before->ledger[CAUSE_stacks], PAGE);
    check_ge(before->ledger[CAUSE_file], 3 * PAGE);
    check_ge(before->ledger[CAUSE_image_private], PAGE);

    request.shared_inode = mapped.inode;
    struct census *census = asking_take(&target, &request);
    check_eq(census->ledger[CAUSE_profiler], 4 * PAGE);
    check_eq(census->ledger[CAUSE_shmem],
             before->ledger[CAUSE_shmem] - 4 * PAGE);
    census_destroy(before);
    census_destroy(census);
    target_end(&target);
    scratch_remove(&scratch);
}

static char zeroes[64 * PAGE]; /* in .bss */

static void
lay_bss(void *context)
{
    (void)context;
    memset(zeroes + PAGE, 1, 40 * PAGE);
}

Test(census_mappings, zeroed_data_of_the_program_is_image_private)
{
    const struct census_request request = asking_request(NULL, 0);
    struct target target = target_start(lay_bss, NULL);
    struct census *census = asking_take(&target, &request);
    check_ge(census->ledger[CAUSE_image_private], 40 * PAGE);
    check_true(census->ledger[CAUSE_unexplained] + 40 * PAGE <=
               census->rss_bytes);
    census_destroy(census);
    target_end(&target);
}

static void
lay_pages(void *context)
{
    memset(area, 1, *(size_t *)context);
}

Test(census_mappings, the_preloads_own_ranges_are_the_profiler)
{
    size_t n_bytes = 8 * PAGE;
    area = target_reserve(n_bytes, PAGE);
    struct target target = target_start(lay_pages, &n_bytes);
    struct census_request request = asking_request(NULL, 0);
    request.own[0] = (struct census_range){(uintptr_t)area + 100, 10};
    request.own[1] =
        (struct census_range){(uintptr_t)area + 4 * PAGE, 2 * PAGE + 1};
    struct census *census = asking_take(&target, &request);
    check_eq(census->ledger[CAUSE_profiler], 4 * PAGE);
    census_destroy(census);

    request.own[0] = (struct census_range){UINT64_MAX - 10, 20}; /* hostile */
    request.own[1] = (struct census_range){0, UINT64_MAX};
    census_destroy(asking_take(&target, &request));
    target_end(&target);
}

/* ---- stacks of threads ------------------------------------------------- */

/* A stack with its control block on its last page, and one that is none. */
static void
lay_stacks(void *context)
{
    (void)context;
    char *block = area + 15 * PAGE + 512;
    memset(area + 12 * PAGE, 1, 4 * PAGE);
    interpreter_put(block, 0, (uintptr_t)block);
    interpreter_put(block, 16, (uintptr_t)block);
    memset(area + 32 * PAGE, 1, 4 * PAGE);
    mprotect(area + 16 * PAGE, 16 * PAGE, PROT_NONE); /* two mappings of it */
}

Test(census_mappings, a_stack_that_the_program_supplied_is_that_and_no_more)
{
    area = target_reserve(64 * PAGE, PAGE);
    struct target target = target_start(lay_stacks, NULL);
    struct census_request request = asking_request(NULL, 0);
    struct census *before = asking_take(&target, &request);
    uint64_t block = (uintptr_t)area + 15 * PAGE + 512;
    struct census_range stacks[] = {
        {(uintptr_t)area + 40 * PAGE, 8 * PAGE  }, /* another's */
        {(uintptr_t)area + 14 * PAGE, 2 * PAGE  },
        {0,                           UINT64_MAX},
    };
    request.control_blocks = &block;
    request.n_control_blocks = 1;
    request.stacks = stacks;
    request.n_stacks = countof(stacks);
    struct census *census = asking_take(&target, &request);
    check_eq(census->ledger[CAUSE_stacks],
             before->ledger[CAUSE_stacks] + 2 * PAGE);
    census_destroy(before);
    census_destroy(census);
    target_end(&target);
}

Test(census_mappings, a_threads_stack_is_proved_by_its_control_block)
{
    area = target_reserve(64 * PAGE, PAGE);
    struct target target = target_start(lay_stacks, NULL);
    struct census_request request = asking_request(NULL, 0);
    struct census *before = asking_take(&target, &request);
    uint64_t blocks[] = {
        (uintptr_t)area + 15 * PAGE + 512,
        (uintptr_t)area + 33 * PAGE, /* says nothing of itself */
        (uintptr_t)area + 2 * PAGE,  /* not resident */
        0,
        UINT64_MAX,
        (uintptr_t)area + 15 * PAGE + 512,
    };
    request.control_blocks = blocks;
    request.n_control_blocks = countof(blocks);
    struct census *census = asking_take(&target, &request);
    check_eq(census->ledger[CAUSE_stacks],
             before->ledger[CAUSE_stacks] + 4 * PAGE);
    check_eq(target_resident(&target, area + 2 * PAGE, PAGE), 0);
    census_destroy(before);
    census_destroy(census);
    target_end(&target);
}
