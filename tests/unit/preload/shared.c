#include "preload/shared.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "include/attrs.h"
#include "tests/unit/check.h"

TestSuite(shared, .timeout = 20);

enum { FIRST_BUFFERS = WIRE_STEP_BUFFERS - 1 };

/* A memfd; the test's end closes it. */
static int
create(void)
{
    const int fd = shared_create();
    check_ge(fd, 0);
    return fd;
}

/* A word of a buffer as the collector reads it. */
static uint64_t
word_in_file(int fd, uint32_t index, uint64_t offset)
{
    uint64_t word = 0;
    check_eq(pread(fd, &word, sizeof(word),
                   (off_t)((uint64_t)(index + 1) * WIRE_BUFFER_BYTES + offset)),
             sizeof(word));
    return word;
}

/* ---- before and after there is a memfd --------------------------------- */

Test(shared, before_the_memfd_there_is_the_common_buffer)
{
    cr_assert_null(shared_header());
    struct wire_buffer_head *head = shared_buffer(0);
    cr_assert_not_null(head);
    check_true(shared_common_counters() == head->counters);
    check_true(shared_borrow(7));
    check_eq(head->owner_tid, 7);
    check_false(shared_borrow(8));
    shared_return();
    check_true(shared_borrow(8));
    shared_return();
}

Test(shared, what_came_early_is_carried_over)
{
    struct wire_buffer_head *early = shared_buffer(0);
    early->counters[0].births = 5;
    early->sequence = 1;
    early->n_events = 3;
    early->lost_events = 2;
    char *batch = (char *)early + WIRE_BATCH_BYTES;
    memset(batch, 0x33, WIRE_BATCH_BYTES);
    const int fd = create();
    const struct wire_buffer_head *head = shared_buffer(0);
    check_true(head != early);
    check_eq(head->counters[0].births, 5);
    check_eq(head->sequence, 1);
    check_eq(head->n_events, 3);
    check_eq(head->lost_events, 2);
    check_eq(memcmp((const char *)head + WIRE_BATCH_BYTES, batch, 0), 0);
    check_eq(word_in_file(fd, 0, WIRE_BATCH_BYTES), 0x3333333333333333);
    check_eq(word_in_file(fd, 0, 2 * WIRE_BATCH_BYTES - 8), 0x3333333333333333);
    /* A second memfd, a forked child's, has none of it. */
    create();
    check_eq(shared_buffer(0)->counters[0].births, 0);
    check_eq(shared_buffer(0)->sequence, 0);
}

Test(shared, the_memfd_is_what_a_collector_expects)
{
    const int fd = create();
    struct stat is;
    check_eq(fstat(fd, &is), 0);
    check_ge(is.st_size, 2 * WIRE_BUFFER_BYTES);
    check_eq(is.st_size % WIRE_BUFFER_BYTES, 0);
    check_true((fcntl(fd, F_GET_SEALS) & F_SEAL_SHRINK) != 0);
    check_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    check_true(ftruncate(fd, 0) != 0);
    const struct wire_shared *header = shared_header();
    check_eq(header->magic, WIRE_MAGIC);
    check_eq(header->version, WIRE_VERSION);
    check_eq(header->n_buffers, 1);
    check_le(is.st_blocks * 512, 256 * 1024); /* it is sparse */
}

/* At its parent's places it writes, before it has memory of its own and after.
 */
static int
write_cut_off(struct wire_buffer_head *head, uint32_t index)
{
    shared_cut_off(index);
    head->lost_events = 1;
    shared_buffer(0)->lost_events = 1;
    shared_header()->turn = 1;
    create();
    head->lost_events++;
    return shared_buffer(0)->lost_events == 0 && shared_header()->turn == 0 ? 0
                                                                            : 1;
}

/* What is mapped where its parent's buffers were is its own. */
static int
map_after_cut_off(uint32_t index)
{
    char *start = (char *)shared_buffer(index);
    shared_cut_off(0);
    char *own = mmap(start, WIRE_BUFFER_BYTES, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (own != start)
        return 2;
    shared_cut_off(0);
    own[0] = 1;
    create();
    own[0]++;
    return own[0] == 2 ? 0 : 1;
}

Test(shared, what_was_cut_off_once_is_not_cut_off_again)
{
    create();
    uint32_t index = 0;
    while (index < 5 * FIRST_BUFFERS)
        index = shared_take(1);
    const pid_t pid = fork();
    if (pid == 0)
        _exit(map_after_cut_off(index));
    int status = -1;
    check_eq(waitpid(pid, &status, 0), pid);
    check_eq(status, 0);
}

static void
check_cut_off(uint32_t index)
{
    struct wire_buffer_head *head = shared_buffer(index);
    const pid_t pid = fork();
    if (pid == 0)
        _exit(write_cut_off(head, index));
    int status = -1;
    check_eq(waitpid(pid, &status, 0), pid);
    check_eq(status, 0);
    check_eq(head->lost_events, 0);
    check_eq(shared_buffer(0)->lost_events, 0);
    check_eq(shared_header()->turn, 0);
}

Test(shared, a_child_writes_at_its_parents_places_but_not_its_memory)
{
    create();
    check_cut_off(0);
    uint32_t index = 0;
    while (index < 5 * FIRST_BUFFERS)
        index = shared_take(1);
    check_cut_off(1);
    check_cut_off(index);
    check_cut_off(4 * FIRST_BUFFERS);
}

/* ---- rings ------------------------------------------------------------- */

static uint64_t
word_in_ring(int fd, uint32_t index)
{
    uint64_t word = 0;
    check_eq(pread(fd, &word, sizeof(word),
                   (off_t)(WIRE_RINGS_START + (index - 1) * WIRE_RING_BYTES)),
             sizeof(word));
    return word;
}

Test(shared, the_first_buffers_have_rings_where_the_level_asks_for_them)
{
    const int fd = create();
    check_eq(shared_ring(1), NULL);
    shared_map_rings(fd);
    check_eq(shared_ring(0), NULL);
    check_eq(shared_ring(WIRE_RINGS + 1), NULL);
    for (uint32_t index = 1; index <= WIRE_RINGS; index++) {
        char *ring = shared_ring(index);
        memcpy(ring, &(uint64_t){index}, sizeof(uint64_t));
        ring[WIRE_RING_BYTES - 1] = 1;
        check_eq(word_in_ring(fd, index), index);
    }
}

Test(shared, a_child_writes_at_its_parents_ring_but_not_its_memory)
{
    const int fd = create();
    shared_map_rings(fd);
    char *ring = shared_ring(2);
    *ring = 5;
    const pid_t pid = fork();
    if (pid == 0) {
        shared_cut_off(2);
        *ring = 6;
        shared_map_rings(create());
        *ring = 7;
        _exit(shared_ring(2) != NULL && *shared_ring(2) == 0 ? 0 : 1);
    }
    int status = -1;
    check_eq(waitpid(pid, &status, 0), pid);
    check_eq(status, 0);
    check_eq(word_in_ring(fd, 2), 5);
}

/* ---- taking and giving back -------------------------------------------- */

Test(shared, a_buffer_belongs_to_who_took_it)
{
    const int fd = create();
    const uint32_t index = shared_take(77);
    check_eq(index, 1);
    check_eq(shared_buffer(index)->owner_tid, 77);
    check_eq(shared_header()->n_buffers, 2);
    check_eq((uint32_t)word_in_file(
                 fd, index, offsetof(struct wire_buffer_head, owner_tid)),
             77);
    shared_give_back(index);
    check_eq(shared_buffer(index)->owner_tid, 0);
}

Test(shared, what_was_given_back_is_taken_again)
{
    create();
    const uint32_t first = shared_take(1);
    const uint32_t second = shared_take(2);
    check_true(first != second);
    shared_buffer(first)->counters[0].births = 5;
    shared_give_back(first);
    check_eq(shared_take(3), first);
    check_eq(shared_buffer(first)->counters[0].births, 5); /* goes on */
    check_eq(shared_header()->n_buffers, 3);
    shared_give_back(first);
    shared_give_back(second);
    for (unsigned i = 0; i < 100; i++) {
        const uint32_t index = shared_take(4);
        check_true(index == first || index == second);
        shared_give_back(index);
    }
    check_eq(shared_header()->n_buffers, 3);
}

Test(shared, the_common_buffer_is_never_taken)
{
    create();
    for (unsigned i = 0; i < 40; i++)
        check_true(shared_take(1) != 0);
    check_true(shared_borrow(9));
    check_false(shared_borrow(10));
    shared_return();
}

/* ---- growing ----------------------------------------------------------- */

Test(shared, there_is_a_buffer_for_every_thread_up_to_the_most)
{
    const int fd = create();
    static bool was_given[WIRE_MAX_BUFFERS];
    for (unsigned i = 1; i < WIRE_MAX_BUFFERS - 1; i++) {
        const uint32_t index = shared_take(i);
        cr_assert(index != 0, "only %u buffers are to be had", i);
        check_true(index < WIRE_MAX_BUFFERS);
        cr_assert(!was_given[index], "buffer %u is given out twice", index);
        was_given[index] = true;
        /* Its first and last byte are its own, in our memory and the file. */
        char *bytes = (char *)shared_buffer(index);
        memcpy(bytes + WIRE_BUFFER_BYTES - 8, &(uint64_t){index}, 8);
    }
    check_eq(shared_take(1), 0);
    for (uint32_t index = 1; index < WIRE_MAX_BUFFERS - 1; index++) {
        check_eq(word_in_file(fd, index, WIRE_BUFFER_BYTES - 8), index);
        check_eq(shared_buffer(index)->owner_tid, index);
    }
    shared_give_back(1234);
    check_eq(shared_take(5), 1234);
}

Test(shared, a_limit_on_files_means_fewer_buffers)
{
    struct rlimit limit;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = 3 * 1024 * 1024;
    setrlimit(RLIMIT_FSIZE, &limit);
    create();
    unsigned n = 0;
    while (n < 100 && shared_take(n + 1) != 0)
        n++;
    check_ge(n, FIRST_BUFFERS - 1);
    check_le(n, 3 * WIRE_STEP_BUFFERS);

    limit.rlim_cur = 512 * 1024;
    setrlimit(RLIMIT_FSIZE, &limit);
    check_eq(shared_create(), -1);
}

Test(shared, a_forked_child_leaves_its_parents_memory_alone)
{
    const int fd = create();
    const uint32_t index = shared_take(1);
    shared_buffer(index)->counters[0].births = 5;
    const pid_t pid = fork();
    if (pid == 0) {
        if (shared_create() < 0 || shared_take(2) != 1)
            _exit(1);
        shared_buffer(1)->counters[0].births = 1000;
        shared_buffer(1)->owner_tid = 1000;
        _exit(0);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    check_eq(status, 0);
    check_eq(shared_buffer(index)->counters[0].births, 5);
    check_eq(shared_buffer(index)->owner_tid, 1);
    check_eq(word_in_file(fd, index, 0), 5);
}

/* ---- threads ----------------------------------------------------------- */

enum { THREADS = 8, TURNS = 20000 };

static _Atomic uint32_t owners[WIRE_MAX_BUFFERS];
static _Atomic unsigned n_shared;

static void *
take_turns(void *context)
{
    const uint32_t tid = (uint32_t)(uintptr_t)context;
    for (unsigned turn = 0; turn < TURNS; turn++) {
        const uint32_t index = shared_take(tid);
        if (index == 0)
            continue;
        if (atomic_exchange(&owners[index], tid) != 0)
            n_shared++;
        /* Plain accesses: a thread sanitizer sees who else is at it. */
        shared_buffer(index)->n_events++;
        if (atomic_exchange(&owners[index], 0) != tid)
            n_shared++;
        shared_give_back(index);
    }
    return NULL;
}

Test(shared, many_threads_never_share_a_buffer)
{
    pthread_t threads[THREADS];
    create();
    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, take_turns, (void *)(i + 1));
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    check_eq(n_shared, 0);
    uint64_t n_events = 0;
    for (uint32_t i = 0; i < shared_header()->n_buffers; i++)
        n_events += shared_buffer(i)->n_events;
    check_ge(n_events, THREADS * TURNS / 2);
    check_le(shared_header()->n_buffers, THREADS + 1);
}

static pthread_barrier_t together;
static _Atomic unsigned n_taken;

static void *
take_all(void *context)
{
    const uint32_t tid = (uint32_t)(uintptr_t)context;
    pthread_barrier_wait(&together);
    while (atomic_load(&n_taken) < WIRE_MAX_BUFFERS - 2) {
        const uint32_t index = shared_take(tid);
        if (index == 0)
            continue; /* somebody else is growing the memory */
        n_taken++;
        if (atomic_exchange(&owners[index], tid) != 0)
            n_shared++;
        char *last = (char *)shared_buffer(index) + WIRE_BUFFER_BYTES - 1;
        *last = 1;
    }
    return NULL;
}

/*
 * Fails, by a signal or by never coming to an end, while grow() measures what
 * is mapped before it has the right to grow: who comes second maps the old
 * length as the next step, and buffers of that step lie behind its end.
 */
Test(shared, threads_that_grow_it_at_once_all_get_whole_buffers, .timeout = 8)
{
    enum { ROUNDS = 20, GROWERS = 4 };
    for (unsigned round = 0; round < ROUNDS; round++) {
        pthread_t threads[GROWERS];
        memset((void *)owners, 0, sizeof(owners));
        n_taken = 0;
        const int fd = create();
        pthread_barrier_init(&together, NULL, GROWERS);
        for (uintptr_t i = 0; i < GROWERS; i++)
            pthread_create(&threads[i], NULL, take_all, (void *)(i + 1));
        for (unsigned i = 0; i < GROWERS; i++)
            pthread_join(threads[i], NULL);
        check_eq(n_shared, 0);
        close(fd);
    }
}
