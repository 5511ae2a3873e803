/*
 * Memory of one kind of page, as the argument says (kinds, below). Says "ready"
 * and how many bytes are of that kind, or "none" and why there are none, and
 * waits for its input to end.
 */
#include <errno.h>
#include <linux/io_uring.h>
#include <linux/perf_event.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

enum {
    PAGE = 4096,
    MIB = 1024 * 1024,
    HUGE = 2 * MIB,
    BLOCK = 16 * MIB, /* of malloc's, in its heap */
    SMALL_BLOCKS = 20000,
};

static char *small_blocks[SMALL_BLOCKS];

static void
say_none(const char *what)
{
    printf("none %s: %s\n", what, strerror(errno));
    exit(0);
}

static char *
map(size_t n_bytes, int flags)
{
    char *start = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE,
                       MAP_ANONYMOUS | flags, -1, 0);
    if (start == MAP_FAILED)
        say_none("mmap");
    return start;
}

static char *
aligned(char *addr)
{
    return (char *)(((unsigned long)addr + HUGE - 1) / HUGE * HUGE);
}

static char *
page_of(char *addr)
{
    return (char *)(((unsigned long)addr + PAGE - 1) / PAGE * PAGE);
}

static void
read_pages(char *start, size_t n_bytes)
{
    for (size_t at = 0; at < n_bytes; at += PAGE)
        (void)*(volatile char *)(start + at);
}

/* A block that lies in malloc's heap, of whatever size. */
static char *
heap_block(size_t n_bytes)
{
    mallopt(M_MMAP_THRESHOLD, 1 << 30);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    char *block = malloc(n_bytes);
    if (block == NULL)
        say_none("malloc");
    return block;
}

/* ---- kinds ------------------------------------------------------------- */

static long
transparent(void)
{
    char *mapped = aligned(map(5 * HUGE, MAP_PRIVATE));
    char *block = heap_block(BLOCK);
    if (madvise(mapped, 4 * HUGE, MADV_HUGEPAGE) != 0 ||
        madvise(aligned(block), BLOCK - HUGE, MADV_HUGEPAGE) != 0)
        say_none("MADV_HUGEPAGE");
    memset(mapped, 1, 3 * HUGE + 5 * PAGE);
    memset(block, 1, BLOCK);
    munmap(mapped + HUGE + PAGE, PAGE); /* a huge page that was split */
    return 0;
}

/* Private, shared, of a memfd and of System V; of the last page nothing. */
static long
hugetlb(void)
{
    const int fd = memfd_create("huge", MFD_HUGETLB);
    const int id = shmget(IPC_PRIVATE, HUGE, IPC_CREAT | SHM_HUGETLB | 0600);
    if (fd < 0 || id < 0 || ftruncate(fd, HUGE) != 0)
        say_none("no pool of huge pages");
    char *attached = shmat(id, NULL, 0);
    shmctl(id, IPC_RMID, NULL);
    char *of_file = mmap(NULL, HUGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (attached == (char *)-1 || of_file == MAP_FAILED)
        say_none("a pool of huge pages");
    char *private = map(2 * HUGE, MAP_PRIVATE | MAP_HUGETLB);
    char *shared = map(HUGE, MAP_SHARED | MAP_HUGETLB);
    private[0] = shared[0] = of_file[0] = attached[0] = 1;
    memset(map(8 * MIB, MAP_PRIVATE), 1, 8 * MIB); /* beside them */
    return 4 * HUGE;
}

static long
advised(void)
{
    char *freed = map(8 * MIB, MAP_PRIVATE);
    char *not_needed = map(8 * MIB, MAP_PRIVATE);
    char *block = heap_block(BLOCK);
    memset(freed, 1, 8 * MIB);
    memset(not_needed, 1, 8 * MIB);
    memset(block, 1, BLOCK);
    madvise(freed + MIB, 4 * MIB, MADV_FREE);
    madvise(not_needed + MIB, 4 * MIB, MADV_DONTNEED);
    madvise(page_of(block) + MIB, 4 * MIB, MADV_DONTNEED);
    return 8 * MIB;
}

/* Zeroes that were only read: small ones, and huge ones. */
static long
zeroes(void)
{
    char *small = map(8 * MIB, MAP_PRIVATE);
    char *huge = aligned(map(3 * HUGE, MAP_PRIVATE));
    madvise(small, 8 * MIB, MADV_NOHUGEPAGE);
    madvise(huge, 2 * HUGE, MADV_HUGEPAGE);
    read_pages(small, 8 * MIB);
    read_pages(huge, 2 * HUGE);
    small[0] = 1;
    read_pages(heap_block(BLOCK), BLOCK);
    return 8 * MIB + 2 * HUGE;
}

static long
mergeable(void)
{
    char *same = map(8 * MIB, MAP_PRIVATE);
    memset(same, 7, 4 * MIB);
    memset(same + 4 * MIB, 0, 4 * MIB); /* written, and zeroes */
    for (char *at = same + 4 * MIB; at < same + 8 * MIB; at += PAGE)
        *at = 0;
    if (madvise(same, 8 * MIB, MADV_MERGEABLE) != 0)
        say_none("MADV_MERGEABLE");
    return 8 * MIB;
}

static long
forbidden(void)
{
    char *mapped = map(8 * MIB, MAP_PRIVATE);
    char *block = heap_block(BLOCK);
    memset(mapped, 1, 8 * MIB);
    memset(block, 1, BLOCK);
    mprotect(mapped + MIB, 4 * MIB, PROT_NONE);
    mprotect(page_of(block) + MIB, 4 * MIB, PROT_NONE);
    return 8 * MIB;
}

/* A heap, and mappings, of which little was ever touched. */
static long
untouched(void)
{
    char *block = heap_block(BLOCK);
    char *mapped = map(64 * MIB, MAP_PRIVATE);
    block[BLOCK / 2] = 1;
    mapped[32 * MIB] = 1;
    memset(malloc(1000), 1, 1000);
    return 64 * MIB;
}

static void
push_out(char *start, size_t n_bytes)
{
    if (madvise(start, n_bytes, MADV_PAGEOUT) != 0)
        say_none("MADV_PAGEOUT");
}

/* A mapping, and a heap with the headers of its chunks. */
static long
swapped(void)
{
    char *mapped = map(8 * MIB, MAP_PRIVATE);
    memset(mapped, 1, 8 * MIB);
    for (int i = 0; i < SMALL_BLOCKS; i++)
        small_blocks[i] = memset(malloc(500), 1, 500);
    push_out(mapped + MIB, 4 * MIB);
    push_out(page_of(small_blocks[SMALL_BLOCKS / 2]), MIB);
    return 5 * MIB;
}

/* What lies in the child's pages is the parent's; some of it, its own. */
static long
forked(void)
{
    int pipes[2];
    char *mapped = map(8 * MIB, MAP_PRIVATE);
    char *block = heap_block(BLOCK);
    memset(mapped, 1, 8 * MIB);
    memset(block, 1, BLOCK);
    if (pipe(pipes) != 0)
        say_none("pipe");
    const pid_t child = fork();
    if (child == 0) {
        char byte;
        close(pipes[1]);
        memset(mapped, 2, MIB);
        memset(block, 2, MIB);
        free(malloc(100)); /* makes it known */
        _exit(read(pipes[0], &byte, 1) != 0);
    }
    close(pipes[0]); /* its end of the other is the parent's life */
    return child;
}

/* The rings of io_uring and of perf: pages of the kernel's. */
static long
device(void)
{
    struct io_uring_params params = {0};
    struct perf_event_attr event = {
        .type = PERF_TYPE_SOFTWARE,
        .size = sizeof(event),
        .config = PERF_COUNT_SW_DUMMY,
    };
    const int of_ring = (int)syscall(SYS_io_uring_setup, 64, &params);
    const int of_event =
        (int)syscall(SYS_perf_event_open, &event, 0, -1, -1, 0);
    char *ring = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, of_ring,
                      IORING_OFF_SQ_RING);
    char *pages =
        mmap(NULL, 9 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, of_event, 0);
    if (ring == MAP_FAILED && pages == MAP_FAILED)
        say_none("neither io_uring nor perf");
    if (ring != MAP_FAILED)
        read_pages(ring, PAGE);
    if (pages != MAP_FAILED)
        read_pages(pages, 9 * PAGE);
    return (ring == MAP_FAILED ? 0 : PAGE) +
           (pages == MAP_FAILED ? 0 : 9 * PAGE);
}

static const struct {
    const char *name;
    long (*make)(void);
} kinds[] = {
    {"transparent", transparent},
    {"hugetlb",     hugetlb    },
    {"advised",     advised    },
    {"zeroes",      zeroes     },
    {"mergeable",   mergeable  },
    {"forbidden",   forbidden  },
    {"untouched",   untouched  },
    {"swapped",     swapped    },
    {"forked",      forked     },
    {"device",      device     },
};

int
main(int argc, char **argv)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        char byte;
        if (argc != 2 || strcmp(argv[1], kinds[i].name) != 0)
            continue;
        setvbuf(stdout, NULL, _IONBF, 0);
        printf("ready %ld\n", kinds[i].make());
        while (read(STDIN_FILENO, &byte, 1) > 0)
            ;
        return 0;
    }
    fprintf(stderr, "usage: page_kinds KIND\n");
    return 2;
}
