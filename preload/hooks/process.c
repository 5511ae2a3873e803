/*
 * New images, new processes, and the ends that run no atexit handler.
 *
 * fork itself is not hooked: pthread_atfork (lifecycle.c) also sees the forks
 * that glibc makes by itself. _Fork and clone run no such handlers.
 */
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "preload/end.h"
#include "preload/environment.h"
#include "preload/guard.h"
#include "preload/process.h"
#include "preload/python/detect.h"
#include "preload/python/gc.h"
#include "preload/raw.h"
#include "preload/real.h"
#include "preload/record.h"
#include "preload/resident.h"

enum {
    PATH_BYTES = 256, /* a longer path is executed all the same */
    N_ARGUMENTS = 24, /* of a variadic exec, before pages are mapped */
};

/* CPython's, wherever it is loaded from. */
void Py_Finalize(void);
int Py_FinalizeEx(void);

/* ---- exec -------------------------------------------------------------- */

static void
tell_spawn(int pid, bool is_followed)
{
    const int saved_errno = errno;
    struct thread *thread = guard_enter(1);
    if (thread != NULL) {
        record_spawn(thread, pid, is_followed);
        guard_leave(thread);
    }
    errno = saved_errno;
}

/*
 * This image is about to be replaced, unless the exec fails. A forked child
 * that has done nothing but fork stays unknown: its new image will tell.
 */
static void
before_exec(const struct environment *environment)
{
    if (process_birth() != PROCESS_KNOWN)
        return;
    if (!process_is_ours()) {
        tell_spawn(raw_getpid(), environment->is_followed);
        return;
    }
    tell_spawn(0, environment->is_followed);
    if (python_heap_is_whole())
        end_with_census(WIRE_END_EXEC, -1);
    else
        end_without_census(WIRE_END_EXEC, -1);
}

/* Not into the variadic ones, whose frames hold the arguments. */
EXPORT NOINLINE int
execve(const char *path, char *const argv[], char *const envp[])
{
    real_resolve();
    struct environment environment = environment_for(path, envp);
    if (environment_is_runnable(path))
        before_exec(&environment);
    const int result = real.execve(path, argv, environment.variables);
    environment_release(&environment);
    return result;
}

EXPORT int
execv(const char *path, char *const argv[])
{
    return execve(path, argv, environ);
}

EXPORT NOINLINE int
execvpe(const char *file, char *const argv[], char *const envp[])
{
    real_resolve();
    char path[PATH_BYTES];
    const char *found = environment_find(file, path, sizeof(path));
    struct environment environment = environment_for(found, envp);
    if (environment_is_runnable(found))
        before_exec(&environment);
    const int result = real.execvpe(file, argv, environment.variables);
    environment_release(&environment);
    return result;
}

EXPORT int
execvp(const char *file, char *const argv[])
{
    return execvpe(file, argv, environ);
}

EXPORT int
fexecve(int fd, char *const argv[], char *const envp[])
{
    real_resolve();
    const struct environment environment = {.variables = envp,
                                            .is_followed = true};
    before_exec(&environment);
    return real.fexecve(fd, argv, envp);
}

EXPORT int
execveat(int dir, const char *path, char *const argv[], char *const envp[],
         int flags)
{
    real_resolve();
    const struct environment environment = {.variables = envp,
                                            .is_followed = true};
    before_exec(&environment);
    return real.execveat(dir, path, argv, envp, flags);
}

/* ---- the variadic ones ------------------------------------------------- */

struct arguments {
    char *few[N_ARGUMENTS];
    char **all;
    size_t n_bytes; /* of the mapping behind all, 0: it is few */
};

/*
 * Collects the arguments up to the NULL; rest stands behind it afterwards.
 * False: there are too many and no memory for them.
 */
static bool
collect(struct arguments *arguments, const char *first, va_list *rest)
{
    va_list counting;
    va_copy(counting, *rest);
    size_t n = 2;
    while (va_arg(counting, char *) != NULL)
        n++;
    va_end(counting);

    arguments->all = arguments->few;
    arguments->n_bytes = 0;
    if (n > N_ARGUMENTS) {
        arguments->n_bytes = n * sizeof(char *);
        arguments->all = raw_map(arguments->n_bytes, -1, 0);
        if (arguments->all == NULL) {
            errno = ENOMEM;
            return false;
        }
    }
    arguments->all[0] = (char *)(uintptr_t)first;
    for (size_t i = 1; i < n; i++)
        arguments->all[i] = va_arg(*rest, char *);
    return true;
}

static int
execute(int (*exec)(const char *, char *const[], char *const[]),
        const char *name, const char *first, bool has_environment,
        va_list *rest)
{
    struct arguments arguments;
    if (!collect(&arguments, first, rest))
        return -1;
    char *const *envp =
        has_environment ? va_arg(*rest, char *const *) : environ;
    const int result = exec(name, arguments.all, envp);
    if (arguments.n_bytes != 0)
        raw_unmap(arguments.all, arguments.n_bytes);
    return result;
}

EXPORT int
execl(const char *path, const char *first, ...)
{
    va_list rest;
    va_start(rest, first);
    const int result = execute(execve, path, first, false, &rest);
    va_end(rest);
    return result;
}

EXPORT int
execlp(const char *file, const char *first, ...)
{
    va_list rest;
    va_start(rest, first);
    const int result = execute(execvpe, file, first, false, &rest);
    va_end(rest);
    return result;
}

EXPORT int
execle(const char *path, const char *first, ...)
{
    va_list rest;
    va_start(rest, first);
    const int result = execute(execve, path, first, true, &rest);
    va_end(rest);
    return result;
}

/* ---- spawn, _Fork, clone ----------------------------------------------- */

EXPORT int
posix_spawn(pid_t *pid, const char *path,
            const posix_spawn_file_actions_t *actions,
            const posix_spawnattr_t *attributes, char *const argv[],
            char *const envp[])
{
    real_resolve();
    const int saved_errno = errno;
    struct environment environment = environment_for(path, envp);
    pid_t child = 0;
    errno = saved_errno;
    const int error = real.posix_spawn(&child, path, actions, attributes, argv,
                                       environment.variables);
    environment_release(&environment);
    if (error != 0)
        return error;
    if (pid != NULL)
        *pid = child;
    tell_spawn(child, environment.is_followed);
    return 0;
}

EXPORT int
posix_spawnp(pid_t *pid, const char *file,
             const posix_spawn_file_actions_t *actions,
             const posix_spawnattr_t *attributes, char *const argv[],
             char *const envp[])
{
    real_resolve();
    const int saved_errno = errno;
    char path[PATH_BYTES];
    struct environment environment =
        environment_for(environment_find(file, path, sizeof(path)), envp);
    pid_t child = 0;
    errno = saved_errno;
    const int error = real.posix_spawnp(&child, file, actions, attributes, argv,
                                        environment.variables);
    environment_release(&environment);
    if (error != 0)
        return error;
    if (pid != NULL)
        *pid = child;
    tell_spawn(child, environment.is_followed);
    return 0;
}

EXPORT pid_t
_Fork(void)
{
    real_resolve();
    guard_before_fork();
    const pid_t pid = real._Fork();
    if (pid == 0)
        guard_in_child();
    return pid;
}

EXPORT int
clone(int (*function)(void *), void *stack, int flags, void *argument, ...)
{
    va_list rest;
    va_start(rest, argument);
    void *parent_tid = va_arg(rest, void *);
    void *tls = va_arg(rest, void *);
    void *child_tid = va_arg(rest, void *);
    va_end(rest);

    real_resolve();
    if ((flags & CLONE_VM) == 0)
        guard_before_fork();
    return real.clone(function, stack, flags, argument, parent_tid, tls,
                      child_tid);
}

/* ---- sandboxes --------------------------------------------------------- */

/*
 * The first step into a sandbox, for whoever is not privileged, or the sandbox
 * itself: it may end who makes a system call that it does not know of. What
 * libseccomp asks for by number comes after the first.
 */
EXPORT int
prctl(int option, ...)
{
    va_list rest;
    va_start(rest, option);
    const unsigned long second = va_arg(rest, unsigned long);
    const unsigned long third = va_arg(rest, unsigned long);
    const unsigned long fourth = va_arg(rest, unsigned long);
    const unsigned long fifth = va_arg(rest, unsigned long);
    va_end(rest);

    real_resolve();
    if ((option == PR_SET_NO_NEW_PRIVS || option == PR_SET_SECCOMP) &&
        process_mode() != PROCESS_OFF &&
        !resident_is_forbidden() && /* a sandbox may know of no call of ours */
        (process_birth() != PROCESS_KNOWN || process_is_ours()))
        resident_forbid();
    return real.prctl(option, second, third, fourth, fifth);
}

/* ---- ends -------------------------------------------------------------- */

static void
before_exit(int status)
{
    real_resolve();
    if (!process_is_ours())
        return;
    if (python_heap_is_whole())
        end_with_census(WIRE_END_EXIT_NOW, status);
    else
        end_without_census(WIRE_END_EXIT_NOW, status);
}

EXPORT NORETURN void
_exit(int status)
{
    before_exit(status);
    real._exit(status);
    __builtin_unreachable();
}

EXPORT NORETURN void
_Exit(int status)
{
    before_exit(status);
    real._Exit(status);
    __builtin_unreachable();
}

EXPORT NORETURN void
quick_exit(int status)
{
    before_exit(status);
    real.quick_exit(status);
    __builtin_unreachable();
}

static void
before_finalize(void)
{
    if (python_heap_is_whole() && !python_gc_will_tell_end())
        end_with_census(WIRE_END_PY_FINALIZE, -1);
}

/*
 * An interpreter that was dlopen'ed into a local scope still finds us first,
 * while RTLD_NEXT does not find it: then it is asked by its own name.
 */
EXPORT int
Py_FinalizeEx(void)
{
    real_resolve();
    before_finalize();
    int (*finalize)(void) = real.Py_FinalizeEx;
    if (finalize == NULL)
        python_symbol_beside(__builtin_return_address(0), "Py_FinalizeEx",
                             &finalize);
    const int result = finalize == NULL ? -1 : finalize();
    python_gc_finalized();
    return result;
}

EXPORT void
Py_Finalize(void)
{
    real_resolve();
    before_finalize();
    void (*finalize)(void) = real.Py_Finalize;
    if (finalize == NULL)
        python_symbol_beside(__builtin_return_address(0), "Py_Finalize",
                             &finalize);
    if (finalize != NULL)
        finalize();
    python_gc_finalized();
}
