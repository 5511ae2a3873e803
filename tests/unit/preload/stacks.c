/*
 * The hooks of the malloc family at level stacks. Stacks differ by the library
 * functions that call back: what lies in the test's own image is left out where
 * it comes first.
 */
#include "preload/stacks.h"

#include <pthread.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "include/attrs.h"
#include "preload/guard.h"
#include "preload/shared.h"
#include "preload/unwind/unwind.h"
#include "tests/unit/preload/fake_real.h"
#include "tests/unit/preload/process.h"
#include "tests/unit/preload/told.h"

void *hooked_malloc(size_t size);
void *hooked_realloc(void *old, size_t size);
void hooked_free(void *block);

enum { LARGE = 200000 };

static void
set_up(void)
{
    memory_sink_terms.level = WIRE_LEVEL_STACKS;
    check_true(guard_init());
    process_introduce();
    unwind_init();
    guard_begin();
}

TestSuite(stacks, .init = set_up, .timeout = 20);

static void *born; /* what a callback has allocated */
static size_t wanted;

static int
allocate(const void *left, const void *right)
{
    (void)left, (void)right;
    born = hooked_malloc(wanted);
    return 0;
}

static const int numbers[2] = {1, 2};

/* Not the one that a header has for a compiler to expand. */
static void *(*const volatile call_bsearch)(const void *, const void *, size_t,
                                            size_t,
                                            int (*)(const void *,
                                                    const void *)) = bsearch;

static void *
in_bsearch(size_t n_bytes)
{
    wanted = n_bytes;
    call_bsearch(numbers, numbers, 1, sizeof(numbers[0]), allocate);
    return born;
}

static void *
in_lfind(size_t n_bytes)
{
    size_t n = 1;
    wanted = n_bytes;
    lfind(numbers, numbers, &n, sizeof(numbers[0]), allocate);
    return born;
}

static uint32_t
stack_of(const struct told *told, size_t at)
{
    const struct wire_record *record = told->records[at];
    return record->kind == WIRE_KIND_BLOCK ? record->detail
                                           : record->detail >> WIRE_STACK_SHIFT;
}

/* The places of all records of a kind. */
static size_t
find_all(const struct told *told, unsigned kind, size_t *places)
{
    size_t n = 0;
    for (size_t i = 0; i < told->n; i++) {
        if (told_kind(told->words[i]) == kind)
            places[n++] = i;
    }
    return n;
}

Test(stacks, a_stack_is_told_once_and_named_by_each_block)
{
    enum { N = 100 };
    size_t at[2 * N + 1];
    for (size_t i = 0; i < N; i++) {
        in_bsearch(100);
        in_lfind(100);
    }
    const struct told *told = told_in(self.buffer);
    check_eq(find_all(told, WIRE_KIND_STACK, at), 2);
    const uint32_t first =
        ((const struct wire_record *)told->records[at[0]])->detail;
    const uint32_t second =
        ((const struct wire_record *)told->records[at[1]])->detail;
    check_true(first != second);
    check_eq(find_all(told, WIRE_KIND_BLOCK, at), 2 * N);
    for (size_t i = 0; i < N; i++) {
        check_eq(stack_of(told, at[2 * i]), first);
        check_eq(stack_of(told, at[2 * i + 1]), second);
    }
    const struct wire_block *last = told->records[at[2 * N - 1]];
    check_eq(wire_event_addr(last->event), (uintptr_t)born);
    check_eq(wire_event_bytes(last->event), fake_real_usable(born));
}

Test(stacks, its_frames_are_return_addresses_and_their_images_come_first)
{
    size_t at[20];
    in_bsearch(100);
    const struct told *told = told_in(self.buffer);
    check_eq(find_all(told, WIRE_KIND_STACK, at), 1);
    const struct wire_stack *stack = told->records[at[0]];
    const size_t n = (stack->record.n_bytes - sizeof(*stack)) / 8;
    check_ge(n, 3);
    check_true(stack->frames[n - 1] != 0); /* it is whole */

    size_t images[20];
    const size_t n_images = find_all(told, WIRE_KIND_MODULE, images);
    check_ge(n_images, 2);
    for (size_t frame = 0; frame < n; frame++) {
        bool is_found = false;
        for (size_t i = 0; i < n_images; i++) {
            const struct wire_module *module = told->records[images[i]];
            check_true(images[i] < at[0]);
            is_found = is_found || (stack->frames[frame] >= module->start &&
                                    stack->frames[frame] < module->end);
        }
        check_true(is_found);
    }
}

Test(stacks, what_may_be_lost_is_told_again)
{
    size_t at[20];
    size_t n_images = 0;
    size_t n_stacks = 0; /* a compiler may make two places of the one */
    for (volatile size_t i = 0; i < 4; i++) {
        in_bsearch(100);
        if (i != 1)
            continue;
        n_images = find_all(told_in(self.buffer), WIRE_KIND_MODULE, at);
        n_stacks = find_all(told_in(self.buffer), WIRE_KIND_STACK, at);
        process_tell_again();
    }
    const struct told *told = told_in(self.buffer);
    check_eq(find_all(told, WIRE_KIND_STACK, at), n_stacks + 1);
    check_eq(find_all(told, WIRE_KIND_MODULE, at), 2 * n_images);
    check_eq(find_all(told, WIRE_KIND_BLOCK, at), 4);
}

Test(stacks, a_large_block_names_its_stack_too)
{
    size_t at[20];
    volatile size_t n = 2; /* so that it is one place that calls */
    for (size_t i = 0; i < n; i++)
        in_bsearch(i == 0 ? LARGE : 100);
    hooked_free(hooked_realloc(born, LARGE));
    const struct told *told = told_in(self.buffer);
    check_eq(find_all(told, WIRE_KIND_BIRTH, at), 2);
    const uint32_t number = stack_of(told, at[0]);
    check_true(stack_of(told, at[1]) != number);
    check_eq(find_all(told, WIRE_KIND_BLOCK, at), 1);
    check_eq(stack_of(told, at[0]), number);
}

static void *
allocate_in_thread(void *unused)
{
    size_t at[20];
    (void)unused;
    in_bsearch(100);
    const struct told *told = told_in(self.buffer);
    const size_t n = find_all(told, WIRE_KIND_STACK, at);
    const struct wire_stack *stack = told->records[at[n - 1]];
    return (void *)(uintptr_t)(stack->record.n_bytes - sizeof(*stack));
}

/* A stack that nobody told is not read: its caller is known, and no more. */
Test(stacks, of_a_thread_without_a_known_stack_the_caller_is_told)
{
    pthread_t thread;
    void *n_bytes = NULL;
    guard_before_thread();
    pthread_create(&thread, NULL, allocate_in_thread, NULL);
    pthread_join(thread, &n_bytes);
    check_eq((uintptr_t)n_bytes, 16);
    unwind_note_stack((size_t)1 << 20);
    pthread_create(&thread, NULL, allocate_in_thread, NULL);
    pthread_join(thread, &n_bytes);
    check_ge((uintptr_t)n_bytes, 24);
}

/* From one place, in the parent and then in the child. */
Test(stacks, a_child_goes_on_with_the_numbers_of_its_parent)
{
    size_t at[20];
    uint32_t first = 0;
    pid_t pid = 0;
    for (unsigned round = 0; pid == 0; round++) {
        in_bsearch(100);
        const struct told *told = told_in(self.buffer);
        check_eq(find_all(told, WIRE_KIND_BLOCK, at), 1);
        const uint32_t number = stack_of(told, at[0]);
        const bool is_told = find_all(told, WIRE_KIND_STACK, at) != 0;
        if (round == 1)
            _exit(number == first && !is_told ? 0 : 1);
        first = number;
        guard_before_fork();
        pid = fork();
        if (pid == 0)
            guard_in_child();
    }
    int status = -1;
    waitpid(pid, &status, 0);
    check_eq(status, 0);
}

/* ---- many -------------------------------------------------------------- */

static unsigned depth;

/* So deep, and then a block. */
static int
descend(const void *left, const void *right)
{
    (void)left, (void)right;
    if (depth-- == 0)
        hooked_free(hooked_malloc(100));
    else
        call_bsearch(numbers, numbers, 1, sizeof(numbers[0]), descend);
    return 0;
}

Test(stacks, what_is_deeper_than_the_most_is_cut)
{
    size_t at[20];
    depth = 300;
    descend(NULL, NULL);
    const struct told *told = told_in(self.buffer);
    check_eq(find_all(told, WIRE_KIND_STACK, at), 1);
    const struct wire_stack *stack = told->records[at[0]];
    check_eq(stack->record.n_bytes, 8 + 8 * (WIRE_MOST_FRAMES + 1));
    check_eq(stack->frames[WIRE_MOST_FRAMES], 0);
    check_true(stack->frames[WIRE_MOST_FRAMES - 1] != 0);
}

Test(stacks, each_depth_has_its_number)
{
    bool is_taken[WIRE_MOST_STACKS] = {false};
    for (unsigned deep = 1; deep < 60; deep++) {
        size_t at[200];
        depth = deep;
        descend(NULL, NULL);
        const struct told *told = told_in(self.buffer);
        const size_t n = find_all(told, WIRE_KIND_BLOCK, at);
        const uint32_t number = stack_of(told, at[n - 1]);
        check_true(number != 0 && !is_taken[number]);
        is_taken[number] = true;
    }
}
