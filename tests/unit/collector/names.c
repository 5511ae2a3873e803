#include "collector/names.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "include/attrs.h"
#include "include/xalloc.h"
#include "tests/unit/check.h"
#include "tests/unit/scratch.h"

/* ---- code to be named -------------------------------------------------- */

static ALWAYS_INLINE uint64_t
inlined_here(void)
{
    uint64_t here;
    __asm__ volatile("lea 0(%%rip), %0" : "=r"(here));
    return here - 1; /* in the instruction before */
}
enum { INLINED_LINE = __LINE__ - 3 };

static NOINLINE uint64_t
entered_here(void)
{
    const uint64_t here = inlined_here();
    __asm__ volatile("" ::: "memory");
    return here;
}
enum { ENTERED_LINE = __LINE__ - 4 };

NOINLINE uint64_t as_of_cpp(void) __asm__("_ZN5outer5innerEv");
NOINLINE uint64_t
as_of_cpp(void)
{
    return inlined_here();
}

NOINLINE uint64_t
as_of_rust(void) __asm__("_ZN4core3ptr4drop17h0123456789abcdefE");
NOINLINE uint64_t
as_of_rust(void)
{
    return inlined_here();
}

/* ---- images ------------------------------------------------------------ */

static char program_path[SCRATCH_PATH_BYTES];

static int
take_first(struct dl_phdr_info *info, size_t bytes, void *bias)
{
    (void)bytes;
    *(uint64_t *)bias = info->dlpi_addr;
    return 1;
}

static uint64_t
program_bias(void)
{
    uint64_t bias = 0;
    dl_iterate_phdr(take_first, &bias);
    return bias;
}

static struct build_id
id_of(const char *path)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const struct build_id id = names_file_build_id(fd);
    close(fd);
    return id;
}

/* As this process has it, with a build id where one is given. */
static uint32_t
add(struct names *names, const char *path, struct build_id id)
{
    const struct names_told told = {getpid(), path, 0, id};
    return names_add(names, &told);
}

static uint32_t
add_program(struct names *names)
{
    return add(names, program_path, id_of(program_path));
}

static struct names_request
in_libc(struct names *names)
{
    Dl_info info;
    void *function = dlsym(RTLD_DEFAULT, "getpid");
    check_true(dladdr(function, &info) != 0);
    return (struct names_request){
        .image = add(names, info.dli_fname, id_of(info.dli_fname)),
        .addr =
            (uint64_t)(uintptr_t)function - (uint64_t)(uintptr_t)info.dli_fbase,
    };
}

static struct names_answers
resolve(struct names *names, const struct names_request *requests, size_t n)
{
    return names_resolve(names, requests, n, &names_usual_limits);
}

/* The one function at an address of this program, for as long as answers. */
static const struct names_frame *
only_frame(const struct names_answers *answers, size_t at)
{
    check_eq(answers->chains[at].n_frames, 1);
    return &answers->chains[at].frames[0];
}

static bool
ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text);
    return n >= strlen(end) && strcmp(text + n - strlen(end), end) == 0;
}

static void
check_entered(const struct names_chain *chain)
{
    check_eq(chain->n_frames, 2);
    check_text(chain->frames[0].function, "inlined_here");
    check_text(chain->frames[1].function, "entered_here");
    check_eq(chain->frames[0].line, INLINED_LINE);
    check_eq(chain->frames[1].line, ENTERED_LINE);
    check_true(ends_with(chain->frames[0].file, "unit/collector/names.c"));
    check_true(ends_with(chain->frames[1].file, "unit/collector/names.c"));
}

/* ---- a folder with copies of this program ------------------------------ */

static struct scratch scratch;

static void
set_up(void)
{
    const ssize_t n =
        readlink("/proc/self/exe", program_path, sizeof(program_path) - 1);
    check_true(n > 0);
    scratch = scratch_create();
}

static void
tear_down(void)
{
    scratch_remove(&scratch);
}

/* What a command with the program and "DIRECTORY/name" as its ends makes. */
static char *
make(const char *command, const char *name, char path[SCRATCH_PATH_BYTES])
{
    scratch_path(&scratch, name, path);
    char *line = xasprintf("%s '%s' '%s'", command, program_path, path);
    cr_assert(system(line) == 0, "%s", line);
    free(line);
    return path;
}

TestSuite(names, .init = set_up, .fini = tear_down);

/* ---- names ------------------------------------------------------------- */

Test(names, an_inlined_function_is_a_frame_of_its_own)
{
    struct names *names = names_create();
    const struct names_request request = {add_program(names),
                                          entered_here() - program_bias()};
    struct names_answers answers = resolve(names, &request, 1);
    check_eq(answers.n_lost, 0);
    check_entered(&answers.chains[0]);
    names_answers_finish(&answers);
    names_destroy(names);
}

Test(names, answers_are_in_the_order_of_requests)
{
    struct names *names = names_create();
    const struct names_request libc = in_libc(names);
    const uint32_t program = add_program(names);
    const uint64_t entered = entered_here() - program_bias();
    const struct names_request requests[] = {
        {program,        entered},
        libc, {NAMES_NO_IMAGE, entered},
        {program,        1      },
        {program,        entered},
        libc,
    };
    struct names_answers answers = resolve(names, requests, countof(requests));
    check_eq(answers.n_lost, 0);
    check_entered(&answers.chains[0]);
    check_entered(&answers.chains[4]);
    cr_assert_not_null(strstr(only_frame(&answers, 1)->function, "getpid"));
    cr_assert_not_null(strstr(only_frame(&answers, 5)->function, "getpid"));
    check_eq(answers.chains[2].n_frames, 0);
    check_eq(answers.chains[3].n_frames, 0);
    names_answers_finish(&answers);
    names_destroy(names);
}

Test(names, symbols_alone_name_functions)
{
    char path[SCRATCH_PATH_BYTES];
    struct names *names = names_create();
    const uint32_t image =
        add(names, make("objcopy -g", "stripped", path), id_of(program_path));
    const uint64_t bias = program_bias();
    const struct names_request requests[] = {
        {image, entered_here() - bias},
        {image, as_of_cpp() - bias   },
        {image, as_of_rust() - bias  },
    };
    struct names_answers answers = resolve(names, requests, countof(requests));
    check_text(only_frame(&answers, 0)->function, "entered_here");
    check_text(only_frame(&answers, 0)->file, "");
    check_eq(only_frame(&answers, 0)->line, 0);
    check_text(only_frame(&answers, 1)->function, "outer::inner");
    check_text(only_frame(&answers, 2)->function, "core::ptr::drop");
    names_answers_finish(&answers);
    names_destroy(names);
}

Test(names, debug_information_apart_is_found_beside_the_file)
{
    char path[SCRATCH_PATH_BYTES];
    char *linked = xasprintf("objcopy -g --add-gnu-debuglink='%s'",
                             make("objcopy --only-keep-debug", "apart", path));
    struct names *names = names_create();
    const uint32_t image =
        add(names, make(linked, "stripped", path), id_of(program_path));
    const struct names_request request = {image,
                                          entered_here() - program_bias()};
    struct names_answers answers = resolve(names, &request, 1);
    check_entered(&answers.chains[0]);
    names_answers_finish(&answers);
    names_destroy(names);
    free(linked);
}

/* ---- images that are held ---------------------------------------------- */

Test(names, a_file_that_was_deleted_names_what_was_in_it)
{
    char path[SCRATCH_PATH_BYTES];
    struct names *names = names_create();
    const struct names_request request = {
        add(names, make("cp", "copy", path), id_of(program_path)),
        entered_here() - program_bias()};
    check_eq(unlink(path), 0);
    struct names_answers answers = resolve(names, &request, 1);
    check_entered(&answers.chains[0]);
    names_answers_finish(&answers);
    names_destroy(names);
}

Test(names, equal_images_are_one)
{
    char path[SCRATCH_PATH_BYTES];
    const struct build_id none = {.n_bytes = 0};
    struct names *names = names_create();
    const uint32_t program = add_program(names);
    check_eq(add(names, make("cp", "copy", path), none), program);
    scratch_file(&scratch, "one", "text", 4, 0600, path);
    const uint32_t one = add(names, path, none);
    check_true(one != program);
    check_eq(add(names, path, none), one);
    scratch_file(&scratch, "two", "text", 4, 0600, path);
    check_true(add(names, path, none) != one);
    names_destroy(names);
}

/* ---- strangers' files -------------------------------------------------- */

Test(names, what_makes_no_sense_has_no_names)
{
    char path[SCRATCH_PATH_BYTES];
    struct names *names = names_create();
    scratch_file(&scratch, "text", "no ELF file", 11, 0600, path);
    const uint32_t text = add(names, path, (struct build_id){.n_bytes = 0});
    const uint32_t cut =
        add(names, make("cp", "cut", path), id_of(program_path));
    check_eq(truncate(path, 4096), 0);
    const uint64_t entered = entered_here() - program_bias();
    const struct names_request requests[] = {
        {text, entered},
        {cut,  entered},
        in_libc(names),
    };
    struct names_answers answers = resolve(names, requests, countof(requests));
    check_eq(answers.n_lost, 0);
    check_eq(answers.chains[0].n_frames, 0);
    check_eq(answers.chains[1].n_frames, 0);
    check_eq(answers.chains[2].n_frames, 1);
    names_answers_finish(&answers);
    names_destroy(names);
}

Test(names, spoilt_debug_information_costs_its_image_at_most)
{
    char path[SCRATCH_PATH_BYTES];
    uint64_t random = 1;
    struct stat is;
    struct names_limits limits = names_usual_limits;
    limits.image_ms = 2000;
    for (unsigned i = 0; i < 20; i++) {
        const int fd = open(make("cp", "copy", path), O_RDWR | O_CLOEXEC);
        check_eq(fstat(fd, &is), 0);
        struct names *names = names_create();
        const uint64_t addr = entered_here() - program_bias();
        const struct names_request requests[] = {
            {add(names, path, id_of(program_path)), addr},
            in_libc(names),
        };
        for (unsigned k = 0; k < 1000; k++) {
            const uint64_t word = check_random(&random);
            const off_t at = 1024 + (off_t)(word >> 8) % (is.st_size - 1024);
            check_eq(pwrite(fd, &word, 1, at), 1);
        }
        close(fd);
        struct names_answers answers =
            names_resolve(names, requests, countof(requests), &limits);
        check_le(answers.n_lost, 1);
        check_eq(answers.chains[1].n_frames, 1);
        names_answers_finish(&answers);
        names_destroy(names);
    }
}

/* ---- the child --------------------------------------------------------- */

enum { CULPRIT = 0x7ffffff0 };

static void
crash_at_culprit(uint64_t addr)
{
    if (addr == CULPRIT)
        raise(SIGKILL);
}

static void
hang_at_culprit(uint64_t addr)
{
    while (addr == CULPRIT)
        pause();
}

/* An image that breaks its reader, and one after it. */
static void
check_only_culprit_is_lost(void (*before)(uint64_t))
{
    struct names *names = names_create();
    const uint32_t program = add_program(names);
    const uint64_t entered = entered_here() - program_bias();
    const struct names_request requests[] = {
        {program, CULPRIT + 1},
        {program, CULPRIT    },
        {program, entered    },
        in_libc(names),
    };
    const struct names_limits limits = {.memory_bytes = UINT64_C(1) << 30,
                                        .image_ms = 2000,
                                        .total_ms = 20000,
                                        .before = before};
    struct names_answers answers =
        names_resolve(names, requests, countof(requests), &limits);
    check_eq(answers.n_lost, 2);
    check_eq(answers.chains[0].n_frames, 0);
    check_eq(answers.chains[1].n_frames, 0);
    check_entered(&answers.chains[2]);
    check_eq(answers.chains[3].n_frames, 1);
    names_answers_finish(&answers);
    answers = resolve(names, requests, countof(requests));
    check_eq(answers.n_lost, 3);
    check_eq(answers.chains[3].n_frames, 1);
    names_answers_finish(&answers);
    names_destroy(names);
}

Test(names, a_crash_costs_its_image_alone)
{
    check_only_culprit_is_lost(crash_at_culprit);
}

Test(names, an_image_that_takes_for_ever_is_given_up)
{
    check_only_culprit_is_lost(hang_at_culprit);
}

Test(names, no_time_is_no_names)
{
    struct names *names = names_create();
    const struct names_request request = {add_program(names),
                                          entered_here() - program_bias()};
    struct names_limits limits = names_usual_limits;
    limits.total_ms = 0;
    struct names_answers answers = names_resolve(names, &request, 1, &limits);
    check_eq(answers.n_lost, 1);
    check_eq(answers.chains[0].n_frames, 0);
    names_answers_finish(&answers);
    answers = resolve(names, &request, 1); /* it was not the image's fault */
    check_entered(&answers.chains[0]);
    names_answers_finish(&answers);
    names_destroy(names);
}

/*
 * The words of an answer: its lookup, how many frames, how many bytes follow;
 * of each frame the line and, in halves, how long its two texts are.
 */
static const uint32_t lies[][5] = {
    {1,          0,          0,          0, 0   }, /* another's turn */
    {0,          33,         33 * 8,     0, 0   }, /* too many frames */
    {0,          UINT32_MAX, 8,          0, 0   },
    {0,          1,          UINT32_MAX, 0, 0   }, /* too long */
    {0,          1,          4,          0, 0   }, /* half a frame */
    {0,          1,          8,          0, 1   }, /* no text */
    {0,          1,          1009,       0, 1001}, /* too much text */
    {0,          0,          8,          0, 0   }, /* too much */
    {UINT32_MAX, 0,          0,          0, 0   },
};
static size_t lie;

static void
lie_of_the_first(uint64_t addr)
{
    static bool has_lied;
    struct stat is;
    char more[2048] = "";
    for (int fd = 3; fd < 1024 && addr == CULPRIT && !has_lied; fd++) {
        if (fstat(fd, &is) != 0 || !S_ISFIFO(is.st_mode))
            continue;
        memcpy(more, lies[lie], sizeof(lies[lie]));
        has_lied = write(fd, more, sizeof(more)) == (ssize_t)sizeof(more);
    }
}

Test(names, what_the_child_says_is_proved)
{
    struct names_limits limits = names_usual_limits;
    limits.before = lie_of_the_first;
    for (lie = 0; lie < countof(lies); lie++) {
        struct names *names = names_create();
        const struct names_request requests[] = {
            {add_program(names), CULPRIT},
            in_libc(names),
        };
        struct names_answers answers =
            names_resolve(names, requests, countof(requests), &limits);
        cr_assert(answers.n_lost == 1, "lie %zu: %zu are lost", lie,
                  answers.n_lost);
        check_eq(answers.chains[0].n_frames, 0);
        check_eq(answers.chains[1].n_frames, 1);
        names_answers_finish(&answers);
        names_destroy(names);
    }
}

static int of_the_collector;

static bool
is_limited(__rlimit_resource_t what, uint64_t most)
{
    struct rlimit limit;
    return getrlimit(what, &limit) == 0 && limit.rlim_max <= most;
}

static void
look_around(uint64_t addr)
{
    (void)addr;
    if (getenv("DEBUGINFOD_URLS") != NULL || !is_limited(RLIMIT_CORE, 0) ||
        !is_limited(RLIMIT_FSIZE, 0) || !is_limited(RLIMIT_CPU, 61) ||
        prctl(PR_GET_NO_NEW_PRIVS, 0UL, 0UL, 0UL, 0UL) != 1 ||
        fcntl(of_the_collector, F_GETFD) >= 0 ||
        getpriority(PRIO_PROCESS, 0) < 10)
        _exit(1);
}

static void
want_memory(uint64_t addr)
{
    (void)addr;
    if (mmap(NULL, UINT64_C(3) << 30, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS,
             -1, 0) != MAP_FAILED)
        _exit(1);
}

/* How many of one lookup's requests are lost to a child that ends itself. */
static size_t
n_lost_with(void (*before)(uint64_t))
{
    struct names *names = names_create();
    const struct names_request request = in_libc(names);
    struct names_limits limits = names_usual_limits;
    limits.before = before;
    struct names_answers answers = names_resolve(names, &request, 1, &limits);
    const size_t n_lost = answers.n_lost;
    names_answers_finish(&answers);
    names_destroy(names);
    return n_lost;
}

Test(names, the_reader_has_few_rights)
{
    setenv("DEBUGINFOD_URLS", "http://127.0.0.1:1/", 1);
    of_the_collector = open("/dev/null", O_RDONLY | O_CLOEXEC);
    check_eq(n_lost_with(look_around), 0);
    close(of_the_collector);
}

static int
is_debuginfod(struct dl_phdr_info *info, size_t bytes, void *context)
{
    (void)bytes, (void)context;
    return strstr(info->dlpi_name, "debuginfod") != NULL;
}

static void
look_for_client(uint64_t addr)
{
    (void)addr;
    if (dl_iterate_phdr(is_debuginfod, NULL) != 0)
        _exit(1);
}

/* To load it, and what it needs, would take longer than all else. */
Test(names, no_client_is_loaded_where_no_server_is_asked)
{
    char path[SCRATCH_PATH_BYTES];
    struct names *names = names_create();
    const uint32_t image =
        add(names, make("objcopy -g", "stripped", path), id_of(program_path));
    const uint64_t entered = entered_here() - program_bias();
    const struct names_request requests[] = {
        {image, entered    },
        {image, entered + 1}
    };
    struct names_limits limits = names_usual_limits;
    limits.before = look_for_client;
    struct names_answers answers =
        names_resolve(names, requests, countof(requests), &limits);
    check_eq(answers.n_lost, 0);
    check_text(only_frame(&answers, 0)->function, "entered_here");
    names_answers_finish(&answers);
    names_destroy(names);
}

Test(names, limits_that_are_lower_already_are_no_hindrance)
{
    enum { NOBODY = 65534 };
    const struct rlimit low = {.rlim_cur = 30, .rlim_max = 30};
    struct names *names = names_create();
    const struct names_request request = {add_program(names),
                                          entered_here() - program_bias()};
    check_eq(setrlimit(RLIMIT_CPU, &low), 0);
    const bool is_root = geteuid() == 0; /* who may raise them */
    check_eq(is_root ? seteuid(NOBODY) : 0, 0);
    struct names_answers answers = resolve(names, &request, 1);
    check_eq(is_root ? seteuid(0) : 0, 0);
    check_eq(answers.n_lost, 0);
    check_entered(&answers.chains[0]);
    names_answers_finish(&answers);
    names_destroy(names);
}

Test(names, the_reader_has_little_memory)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    cr_skip_test("a sanitizer has all address space");
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    cr_skip_test("a sanitizer has all address space");
#endif
#endif
    check_eq(n_lost_with(want_memory), 0);
}
