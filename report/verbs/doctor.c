/*
 * residue doctor - what would keep residue from seeing a program
 *
 * One check a function, one table of checks. A check says in one line what is,
 * and what to do where that is not well.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <gnu/libc-version.h>
#include <linux/mman.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <unistd.h>

#include "include/attrs.h"
#include "include/rendezvous.h"
#include "include/xalloc.h"
#include "report/beside.h"
#include "report/program.h"
#include "report/verb.h"

static const char help[] =
    "usage: residue doctor [CMD]\n"
    "\n"
    "Checks whether residue can work here, and whether it can see into CMD.\n"
    "Exit status 1 if something keeps it from working.\n";

enum severity { FINE, WORSE, BROKEN };

struct diagnosis {
    enum severity severity;
    char *words; /* owned: what is, and what to do */
};

enum {
    LEAST_DESCRIPTORS = 64,
    LEAST_GLIBC_MINOR = 28,
    PAGE = 4096,
};

PRINTF_LIKE(2, 3)
static struct diagnosis
diagnose(enum severity severity, const char *format, ...)
{
    struct diagnosis diagnosis = {.severity = severity};
    va_list args;
    va_start(args, format);
    if (vasprintf(&diagnosis.words, format, args) < 0)
        errx(EXIT_RUN_FAILED, "out of memory");
    va_end(args);
    return diagnosis;
}

/* ---- the checks -------------------------------------------------------- */

static struct diagnosis
check_programs(void)
{
    char *collector = beside_collector();
    char *preload = beside_preload();
    struct diagnosis diagnosis;
    if (collector == NULL)
        diagnosis = diagnose(BROKEN, "residued is not beside residue; install "
                                     "or build it again");
    else if (preload == NULL)
        diagnosis = diagnose(BROKEN, "libresidue-preload.so is not where it "
                                     "belongs; install or build it again");
    else if (strpbrk(preload, ": ") != NULL)
        diagnosis = diagnose(BROKEN,
                             "%s: a blank or a colon in the path keeps it from "
                             "being preloaded; move residue",
                             preload);
    else
        diagnosis = diagnose(FINE, "residued and %s", preload);
    free(collector);
    free(preload);
    return diagnosis;
}

static struct diagnosis
check_directory(void)
{
    char path[RENDEZVOUS_PATH_BYTES];
    if (!rendezvous_make_directory(path))
        return diagnose(BROKEN, "no private directory for sockets; set "
                                "XDG_RUNTIME_DIR to one that is yours alone "
                                "and has a short path");
    return diagnose(FINE, "sockets and registry in %s", path);
}

static struct diagnosis
check_glibc(void)
{
    const char *version = gnu_get_libc_version();
    int minor = 0;
    if (sscanf(version, "2.%d", &minor) != 1 || minor < LEAST_GLIBC_MINOR)
        return diagnose(BROKEN, "glibc %s; 2.%d or later is needed", version,
                        LEAST_GLIBC_MINOR);
    return diagnose(FINE, "glibc %s", version);
}

static struct diagnosis
check_fork_mark(void)
{
    void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const bool works =
        page != MAP_FAILED && madvise(page, PAGE, MADV_WIPEONFORK) == 0;
    if (page != MAP_FAILED)
        munmap(page, PAGE);
    return works ? diagnose(FINE, "forks are noticed (MADV_WIPEONFORK)")
                 : diagnose(BROKEN, "the kernel has no MADV_WIPEONFORK; Linux "
                                    "4.14 or later is needed");
}

static struct diagnosis
check_own_files(void)
{
    static const char *const paths[] = {
        "/proc/self/mem",
        "/proc/self/maps",
        "/proc/self/smaps_rollup",
        "/proc/self/pagemap",
    };
    for (size_t i = 0; i < countof(paths); i++) {
        const int fd = open(paths[i], O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return diagnose(BROKEN,
                            "%s cannot be opened: %s; is /proc mounted?",
                            paths[i], strerror(errno));
        close(fd);
    }
    return diagnose(FINE, "a process can hand over its own memory");
}

static struct diagnosis
check_vm_readv(void)
{
    char from = 1;
    char to = 0;
    const struct iovec here = {.iov_base = &to, .iov_len = 1};
    const struct iovec there = {.iov_base = &from, .iov_len = 1};
    if (process_vm_readv(getpid(), &here, 1, &there, 1, 0) == 1)
        return diagnose(FINE, "process_vm_readv is permitted");
    return diagnose(WORSE,
                    "process_vm_readv is refused (%s): censuses take about "
                    "twice as long",
                    strerror(errno));
}

static struct diagnosis
check_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return diagnose(WORSE, "the limit of descriptors is not known");
    if (limit.rlim_max < LEAST_DESCRIPTORS)
        return diagnose(WORSE,
                        "only %llu descriptors: the collector needs seven for "
                        "each process; raise `ulimit -Hn`",
                        (unsigned long long)limit.rlim_max);
    return diagnose(FINE, "%llu descriptors, seven for each process",
                    (unsigned long long)limit.rlim_max);
}

static struct diagnosis
check_environment(void)
{
    const char *preload = getenv("LD_PRELOAD");
    const char *pymalloc = getenv("PYTHONMALLOC");
    if (pymalloc != NULL && strcmp(pymalloc, "malloc") == 0)
        return diagnose(WORSE, "PYTHONMALLOC=malloc: Python has no arenas "
                               "then; unset it to see them");
    if (preload != NULL && preload[0] != '\0')
        return diagnose(WORSE,
                        "LD_PRELOAD is set already (%s): ours comes before it, "
                        "and an allocator in it stays in use",
                        preload);
    return diagnose(FINE, "no other preload, no PYTHONMALLOC");
}

static const struct {
    const char *name;
    struct diagnosis (*check)(void);
} checks[] = {
    {"programs",    check_programs   },
    {"directory",   check_directory  },
    {"glibc",       check_glibc      },
    {"fork",        check_fork_mark  },
    {"memory",      check_own_files  },
    {"fast reads",  check_vm_readv   },
    {"descriptors", check_descriptors},
    {"environment", check_environment},
};

/* ---- a program --------------------------------------------------------- */

static struct diagnosis
examine_program(const char *name)
{
    char *path = program_find(name);
    if (path == NULL)
        return diagnose(BROKEN, "%s: %s", name,
                        errno == EACCES ? "it may not be executed"
                                        : "there is no such program");
    const enum program_obstacle obstacle = program_inspect(path);
    struct diagnosis diagnosis;
    if (obstacle == PROGRAM_VISIBLE)
        diagnosis = diagnose(FINE, "%s can be seen into", path);
    else
        diagnosis =
            diagnose(BROKEN, "%s %s; %s", path, program_obstacle_is(obstacle),
                     program_obstacle_cure(obstacle));
    free(path);
    return diagnosis;
}

/* ---- the verb ---------------------------------------------------------- */

static bool
tell(const char *name, struct diagnosis diagnosis)
{
    static const char *const words[] = {
        [FINE] = "ok",
        [WORSE] = "note",
        [BROKEN] = "FAIL",
    };
    printf("%-5s %-12s %s\n", words[diagnosis.severity], name, diagnosis.words);
    free(diagnosis.words);
    return diagnosis.severity == BROKEN;
}

int
verb_doctor(int argc, char **argv)
{
    static const struct option known[] = {
        {"help", no_argument, NULL, 'h'},
        {NULL,   0,           NULL, 0  },
    };
    const int option = getopt_long(argc, argv, "+h", known, NULL);
    if (option == 'h') {
        fputs(help, stdout);
        return EXIT_FINE;
    }
    if (option != -1 || argc - optind > 1) {
        fputs(help, stderr);
        return EXIT_BAD_USAGE;
    }
    bool is_broken = false;
    for (size_t i = 0; i < countof(checks); i++)
        is_broken = tell(checks[i].name, checks[i].check()) || is_broken;
    if (optind < argc)
        is_broken = tell("program", examine_program(argv[optind])) || is_broken;
    return is_broken ? EXIT_CHECK_FAILED : EXIT_FINE;
}
