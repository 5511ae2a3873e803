/*
 * Blocks from places whose names are known, and how many of each stay:
 *
 *     sites PLUGIN_A PLUGIN_B [unseen]
 *
 * Both plugins have the same size, so that the second one is loaded where the
 * first was. Unseen: they are unloaded as glibc unloads what it has loaded
 * itself, without a call that could be noticed.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

enum { THREADS = 3, ROUNDS = 20 };

#define NOINLINE __attribute__((noinline))

static void *kept[100000];
static size_t n_kept;

static NOINLINE void
keep(void *block)
{
    kept[__atomic_fetch_add(&n_kept, 1, __ATOMIC_RELAXED)] = block;
}

/* 1000 of them, of which half stay. */
static NOINLINE void
make_small(void)
{
    for (size_t i = 0; i < 1000; i++) {
        void *block = malloc(100);
        if (i % 2 == 0)
            keep(block);
        else
            free(block);
    }
}

static NOINLINE void
make_large(void)
{
    for (size_t i = 0; i < 5; i++)
        keep(malloc(200000));
}

/* A frame that holds an aligned local: gcc finds its way by another register.
 */
static NOINLINE void
make_aligned(size_t n_bytes)
{
    _Alignas(64) volatile char here[192];
    volatile char *const there = __builtin_alloca(n_bytes);
    here[0] = there[0] = 1;
    for (size_t i = 0; i < 30; i++)
        keep(calloc(1, 64 + (size_t)here[0]));
}

static inline __attribute__((always_inline)) void
make_inlined(void)
{
    for (size_t i = 0; i < 7; i++)
        keep(malloc(333));
}

static NOINLINE void
make_in_inlined(void)
{
    make_inlined();
    keep(NULL);
}

static NOINLINE void *
make_in_thread(void *unused)
{
    for (size_t i = 0; i < 50; i++)
        keep(malloc(40));
    return unused;
}

static NOINLINE void
make_in_handler(int number)
{
    (void)number;
    keep(malloc(24));
}

static ucontext_t here, there;

static NOINLINE void
make_in_fiber(void)
{
    for (size_t i = 0; i < 10; i++)
        keep(malloc(777));
}

static void
run_fiber(void)
{
    static char stack[64 * 1024];
    getcontext(&there);
    there.uc_stack.ss_sp = stack;
    there.uc_stack.ss_size = sizeof(stack);
    there.uc_link = &here;
    makecontext(&there, make_in_fiber, 0);
    swapcontext(&here, &there);
}

static void
run_threads(void)
{
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, make_in_thread, NULL);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

/* By turns, so that each comes to where the other one was. */
static void
run_plugins(char **paths, int (*unload)(void *))
{
    for (size_t i = 0; i < ROUNDS; i++) {
        void *plugin = dlopen(paths[i % 2], RTLD_NOW);
        if (plugin == NULL) {
            fprintf(stderr, "%s\n", dlerror());
            exit(1);
        }
        void *(*make)(void) = NULL;
        *(void **)&make = dlsym(plugin, "make_in_plugin");
        for (size_t k = 0; k < 11; k++)
            keep(make());
        unload(plugin);
    }
}

int
main(int argc, char **argv)
{
    make_small();
    make_large();
    make_aligned((size_t)argc * 16);
    make_in_inlined();
    run_threads();
    signal(SIGUSR1, make_in_handler);
    for (size_t i = 0; i < 9; i++)
        raise(SIGUSR1);
    run_fiber();
    if (argc == 3)
        run_plugins(argv + 1, dlclose);
    if (argc == 4) {
        int (*unload)(void *) = NULL;
        *(void **)&unload =
            dlsym(dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD), "dlclose");
        run_plugins(argv + 1, unload);
    }
    printf("%zu\n", n_kept);
    return 0;
}
