/*
 * hooked.h - every function that the preload stands in for
 *
 * One list, so that hooks, the table of real functions, the export map's check
 * and the documentation cannot drift apart. HOOKED_REAL names the functions
 * whose next definition we call; HOOKED_OWN those that are built from them.
 *
 * X(returned type, name, (parameters), (arguments))
 *
 * What is not here is not here on purpose: vfork and dlopen may never be
 * wrapped (a wrapped vfork returns twice through a dead frame, a wrapped dlopen
 * changes whose RUNPATH applies).
 */
#ifndef PRELOAD_HOOKED_H
#define PRELOAD_HOOKED_H

#define HOOKED_MALLOC(X)                                                    \
    X(void *, malloc, (size_t size), (size))                                \
    X(void *, calloc, (size_t n, size_t size), (n, size))                   \
    X(void *, realloc, (void *old, size_t size), (old, size))               \
    X(int, posix_memalign, (void **where, size_t alignment, size_t size),   \
      (where, alignment, size))                                             \
    X(void *, aligned_alloc, (size_t alignment, size_t size),               \
      (alignment, size))                                                    \
    X(void *, memalign, (size_t alignment, size_t size), (alignment, size)) \
    X(void *, valloc, (size_t size), (size))                                \
    X(void *, pvalloc, (size_t size), (size))                               \
    X(size_t, malloc_usable_size, (void *block), (block))

#define HOOKED_MAP(X)                                                 \
    X(void *, mmap,                                                   \
      (void *addr, size_t n_bytes, int protection, int flags, int fd, \
       off_t offset),                                                 \
      (addr, n_bytes, protection, flags, fd, offset))                 \
    X(void *, mmap64,                                                 \
      (void *addr, size_t n_bytes, int protection, int flags, int fd, \
       off64_t offset),                                               \
      (addr, n_bytes, protection, flags, fd, offset))                 \
    X(int, munmap, (void *addr, size_t n_bytes), (addr, n_bytes))

#define HOOKED_PROCESS(X)                                                      \
    X(pid_t, _Fork, (void), ())                                                \
    X(int, execve, (const char *path, char *const argv[], char *const envp[]), \
      (path, argv, envp))                                                      \
    X(int, fexecve, (int fd, char *const argv[], char *const envp[]),          \
      (fd, argv, envp))                                                        \
    X(int, execveat,                                                           \
      (int dir, const char *path, char *const argv[], char *const envp[],      \
       int flags),                                                             \
      (dir, path, argv, envp, flags))                                          \
    X(int, execvpe,                                                            \
      (const char *file, char *const argv[], char *const envp[]),              \
      (file, argv, envp))                                                      \
    X(int, posix_spawn,                                                        \
      (pid_t * pid, const char *path,                                          \
       const posix_spawn_file_actions_t *actions,                              \
       const posix_spawnattr_t *attributes, char *const argv[],                \
       char *const envp[]),                                                    \
      (pid, path, actions, attributes, argv, envp))                            \
    X(int, posix_spawnp,                                                       \
      (pid_t * pid, const char *file,                                          \
       const posix_spawn_file_actions_t *actions,                              \
       const posix_spawnattr_t *attributes, char *const argv[],                \
       char *const envp[]),                                                    \
      (pid, file, actions, attributes, argv, envp))                            \
    X(int, Py_FinalizeEx, (void), ())

/* They return nothing, or never: the table calls them, no macro can. */
#define HOOKED_VOID(X)                    \
    X(free, (void *block), (block))       \
    X(_exit, (int status), (status))      \
    X(_Exit, (int status), (status))      \
    X(quick_exit, (int status), (status)) \
    X(Py_Finalize, (void), ())

#define HOOKED_THREAD(X)                                                       \
    X(int, thrd_create, (thrd_t * thread, thrd_start_t start, void *argument), \
      (thread, start, argument))                                               \
    X(int, pthread_create,                                                     \
      (pthread_t * thread, const pthread_attr_t *attributes,                   \
       void *(*start)(void *), void *argument),                                \
      (thread, attributes, start, argument))                                   \
    X(int, pthread_setschedparam,                                              \
      (pthread_t thread, int policy, const struct sched_param *parameters),    \
      (thread, policy, parameters))                                            \
    X(int, sched_setscheduler,                                                 \
      (pid_t pid, int policy, const struct sched_param *parameters),           \
      (pid, policy, parameters))

#define HOOKED_LOADER(X) X(int, dlclose, (void *handle), (handle))

#define HOOKED_REAL(X) \
    HOOKED_MALLOC(X)   \
    HOOKED_MAP(X)      \
    HOOKED_PROCESS(X)  \
    HOOKED_THREAD(X)   \
    HOOKED_LOADER(X)

/* Built from the ones above, or variadic. */
#define HOOKED_OWN(X)     \
    X(cfree)              \
    X(reallocarray)       \
    X(free_sized)         \
    X(free_aligned_sized) \
    X(mremap)             \
    X(execv)              \
    X(execvp)             \
    X(execl)              \
    X(execlp)             \
    X(execle)             \
    X(clone)              \
    X(prctl)

#endif
