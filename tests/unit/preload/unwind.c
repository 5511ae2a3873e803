/*
 * Against libunwind, which reads the same tables by other code: wherever a
 * signal comes, in any library, both must find the same return addresses. Our
 * own image is the whole test here, so that stacks begin in a library.
 */
#define UNW_LOCAL_ONLY
#include "preload/unwind/unwind.h"

#include <dlfcn.h>
#include <gnu/libc-version.h>
#include <libunwind.h>
#include <pthread.h>
#include <regex.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <ucontext.h>

#include "preload/unwind/images.h"
#include "tests/unit/check.h"

enum { MOST = 128, NUMBERS = 200 };

extern const char __ehdr_start[];
extern const char _end[];

TestSuite(unwind, .init = unwind_init, .timeout = 60);

static bool
is_ours(uint64_t pc)
{
    return pc >= (uintptr_t)__ehdr_start && pc < (uintptr_t)_end;
}

/* What libunwind has, without the first ones of ours. */
static NOINLINE size_t
theirs(uint64_t *frames)
{
    unw_context_t context;
    unw_cursor_t cursor;
    unw_word_t pc = 1;
    size_t n = 0;
    unw_getcontext(&context);
    unw_init_local(&cursor, &context);
    while (unw_step(&cursor) > 0 && pc != 0 && n < MOST) {
        unw_get_reg(&cursor, UNW_REG_IP, &pc);
        /* The interrupted one stands at its address and did not call. */
        const bool is_exact = unw_is_signal_frame(&cursor) > 0;
        if (pc != 0 && (n != 0 || !is_ours(pc)))
            frames[n++] = pc + is_exact;
    }
    return n;
}

static struct {
    unsigned n_stacks;
    unsigned n_whole;
    unsigned n_cut;
    unsigned n_differ;
    size_t deepest;
} seen;

static NOINLINE void
compare_stacks(void)
{
    uint64_t frames[MOST];
    uint64_t expected[MOST];
    bool is_whole;
    const size_t n = unwind_here(frames, MOST, &is_whole);
    const size_t n_expected = theirs(expected);
    const size_t n_both = n < n_expected ? n : n_expected;
    seen.n_stacks++;
    seen.n_whole += is_whole;
    seen.n_cut += n < n_expected;
    seen.n_differ += memcmp(frames, expected, n_both * sizeof(frames[0])) != 0;
    if (n > seen.deepest)
        seen.deepest = n;
}

static int
compare_numbers(const void *left, const void *right)
{
    const int *a = left;
    const int *b = right;
    compare_stacks();
    return (*a > *b) - (*a < *b);
}

static void
sort_numbers(void)
{
    int numbers[NUMBERS];
    for (int i = 0; i < NUMBERS; i++)
        numbers[i] = i * 7919 % NUMBERS;
    qsort(numbers, NUMBERS, sizeof(numbers[0]), compare_numbers);
}

static void
check_seen(unsigned least)
{
    check_ge(seen.n_stacks, least);
    check_eq(seen.n_differ, 0);
    check_eq(seen.n_cut, 0);
    check_eq(seen.n_whole, seen.n_stacks);
}

Test(unwind, frames_of_a_library_are_those_that_libunwind_finds)
{
    sort_numbers();
    check_seen(NUMBERS);
    check_ge(seen.deepest, 5);
}

/* ---- threads ----------------------------------------------------------- */

static void *
sort_in_thread(void *unused)
{
    (void)unused;
    sort_numbers();
    return NULL;
}

static void
run_thread(size_t n_bytes)
{
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, n_bytes);
    check_eq(pthread_create(&thread, &attributes, sort_in_thread, NULL), 0);
    pthread_join(thread, NULL);
}

Test(unwind, a_thread_has_a_stack_of_its_own)
{
    unwind_note_stack((size_t)8 << 20);
    run_thread((size_t)8 << 20);
    check_seen(NUMBERS);
    unwind_note_stack((size_t)64 << 10);
    run_thread((size_t)64 << 10);
    check_seen(2 * NUMBERS);
}

/* What was never told cannot be believed: nothing beside it may be read. */
Test(unwind, of_a_stack_that_nobody_told_nothing_is_read)
{
    static char stack[256 * 1024];
    uint64_t frames[MOST];
    bool is_whole = true;
    ucontext_t here;
    ucontext_t there;
    run_thread((size_t)1 << 20);
    check_ge(seen.n_stacks, NUMBERS);
    check_eq(seen.deepest, 0);

    getcontext(&there);
    there.uc_stack.ss_sp = stack;
    there.uc_stack.ss_size = sizeof(stack);
    there.uc_link = &here;
    makecontext(&there, sort_numbers, 0);
    swapcontext(&here, &there);
    check_eq(seen.deepest, 0);
    check_eq(seen.n_whole, 0);
    check_ge(unwind_here(frames, MOST, &is_whole), 1); /* but on this one */
    check_true(is_whole);
}

/* ---- signals, anywhere ------------------------------------------------- */

static volatile sig_atomic_t n_signals;

static void
handle(int number)
{
    (void)number;
    n_signals++;
    compare_stacks();
}

static void
work(unsigned round)
{
    char text[256];
    regex_t pattern;
    int numbers[NUMBERS];
    for (int i = 0; i < NUMBERS; i++)
        numbers[i] = (int)((unsigned)i * (7919 + round) % NUMBERS);
    snprintf(text, sizeof(text), "%u %.17g %s %20d", round, 1.1 * round,
             "and so on and so forth", numbers[5]);
    check_eq(regcomp(&pattern, "([0-9]+)[^a-z]*(an?d|so) (.*) x?", 1), 0);
    regexec(&pattern, text, 0, NULL, 0);
    regfree(&pattern);
    free(dlsym(RTLD_DEFAULT, "nobody has this name"));
    dlerror();
    strtod(text, NULL);
}

/*
 * Where libunwind itself fails (in the middle of a prologue it reads tables by
 * its own cache) no stack is compared with it beyond its end.
 */
Test(unwind, wherever_a_signal_comes_the_way_out_is_found)
{
    const struct sigaction action = {.sa_handler = handle,
                                     .sa_flags = SA_RESTART};
    const struct itimerval often = {
        {0, 300},
        {0, 300}
    };
    sigaction(SIGPROF, &action, NULL);
    setitimer(ITIMER_PROF, &often, NULL);
    for (unsigned round = 0; round < 2000000 && n_signals < 500; round++)
        work(round);
    signal(SIGPROF, SIG_IGN);
    check_ge(seen.n_stacks, 100);
    check_eq(seen.n_differ, 0);
    fprintf(stderr, "# %u stacks, %u whole, %u shorter than libunwind's\n",
            seen.n_stacks, seen.n_whole, seen.n_cut);
    check_le(seen.n_cut * 50, seen.n_stacks);
}

/* ---- images ------------------------------------------------------------ */

Test(unwind, an_image_is_known_by_its_build_id)
{
    struct image *image = images_find((uintptr_t)gnu_get_libc_version);
    cr_assert_not_null(image);
    check_true(images_find((uintptr_t)gnu_get_libc_release) == image);
    check_eq(image->build_id_bytes, 20);
    cr_assert_not_null(strstr(image->path, "libc.so"));
    struct image *own = images_find((uintptr_t)compare_numbers);
    cr_assert_not_null(own);
    check_eq(own->path[0], '\0');
    check_eq(own->tables.start, (uintptr_t)__ehdr_start);
    cr_assert_null(images_find(1));
    cr_assert_null(images_find((uintptr_t)&own));
}

Test(unwind, what_is_still_there_is_found_again)
{
    struct image *image = images_find((uintptr_t)gnu_get_libc_version);
    image->told_at = 1;
    const uint32_t epoch = images_epoch();
    sort_numbers();
    unwind_forget();
    sort_numbers();
    check_true(images_find((uintptr_t)gnu_get_libc_version) == image);
    check_eq(images_epoch(), epoch);
    check_eq(image->told_at, 1); /* it need not be told again */
    check_seen(2 * NUMBERS);
}
