/*
 * The start of an image, its forks, and its ordinary end.
 *
 * Everything here runs outside of hooks: the constructor may call the dynamic
 * linker and read the environment, the hooks may not.
 */
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#include "include/rendezvous.h"
#include "preload/end.h"
#include "preload/environment.h"
#include "preload/guard.h"
#include "preload/process.h"
#include "preload/python/detect.h"
#include "preload/python/gc.h"
#include "preload/python/objects.h"
#include "preload/real.h"
#include "preload/unwind/unwind.h"

/* residue and residued export this name: they are never targets. */
#define NO_TARGET_SYMBOL "residue_is_no_target"

static void
exit_handler(int status, void *unused)
{
    (void)unused;
    if (!process_is_ours())
        return;
    if (python_heap_is_whole())
        end_with_census(WIRE_END_ATEXIT, status);
    else
        end_without_census(WIRE_END_ATEXIT, status);
}

static bool
is_wanted(void)
{
    const char *disable = getenv("RESIDUE_DISABLE");
    const bool is_disabled = disable != NULL && strcmp(disable, "1") == 0;
    return !is_disabled && getauxval(AT_SECURE) == 0 &&
           dlsym(RTLD_DEFAULT, NO_TARGET_SYMBOL) == NULL;
}

/*
 * Whether the program defines malloc itself. An address alone does not tell: a
 * program that is not position-independent may lend its own address to a
 * symbol that it does not define.
 */
static bool
has_own_malloc(void)
{
    Dl_info used;
    Dl_info ours;
    const ElfW(Sym) *symbol = NULL;
    void *const address = dlsym(RTLD_DEFAULT, "malloc");
    return dladdr1(address, &used, (void **)(uintptr_t)&symbol,
                   RTLD_DL_SYMENT) != 0 &&
           symbol != NULL && symbol->st_shndx != SHN_UNDEF &&
           dladdr((void *)(uintptr_t)&process_current_mode, &ours) != 0 &&
           used.dli_fbase != ours.dli_fbase;
}

static uint32_t
describe_allocator(void)
{
    return (has_own_malloc() ? (uint32_t)WIRE_FLAG_OWN_ALLOCATOR : 0) |
           (real_is_glibc() ? 0 : (uint32_t)WIRE_FLAG_FOREIGN_MALLOC);
}

static void
learn_own_path(void)
{
    Dl_info we_are_in;
    if (dladdr((void *)(uintptr_t)&process_current_mode, &we_are_in) != 0)
        environment_init(we_are_in.dli_fname);
}

__attribute__((constructor(101))) static void
start(void)
{
    const int saved_errno = errno;
    char socket_path[RENDEZVOUS_PATH_BYTES];
    struct process_python python;
    const bool is_named = getenv(RENDEZVOUS_VARIABLE) != NULL;

    real_resolve();
    learn_own_path();
    if (!is_wanted() || !rendezvous_socket(socket_path)) {
        process_stay_off();
    } else {
        const bool has_python = python_detect(&python);
        thread_python_text = python.text;
        if (guard_init() &&
            process_start(socket_path, describe_allocator(), &python)) {
            if (process_wants_stacks())
                unwind_init();
            guard_begin();
            environment_set_socket(socket_path, is_named);
            pthread_atfork(guard_before_fork, NULL, guard_in_child);
            on_exit(exit_handler, NULL);
            if (has_python) {
                python_objects_init();
                python_gc_init();
            }
        }
    }
    environment_take_out();
    dlerror(); /* what we looked for in vain is nobody else's error */
    errno = saved_errno;
}
