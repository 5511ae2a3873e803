#include "report/program.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "include/attrs.h"
#include "tests/unit/check.h"
#include "tests/unit/scratch.h"

static struct scratch scratch;
static char path[SCRATCH_PATH_BYTES];

static void
set_up(void)
{
    scratch = scratch_create();
    setenv("PATH", scratch.path, 1);
}

static void
clean_up(void)
{
    scratch_remove(&scratch);
}

TestSuite(program, .init = set_up, .fini = clean_up);

static void
check_found(const char *name, const char *expected)
{
    char *found = program_find(name);
    check_text(found, expected);
    free(found);
}

/* ---- finding ----------------------------------------------------------- */

Test(program, a_name_is_found_in_path)
{
    char list[SCRATCH_PATH_BYTES + 32];
    scratch_file(&scratch, "tool", "", 0, 0700, path);
    check_found("tool", path);
    snprintf(list, sizeof(list), "/no/such:%s", scratch.path);
    setenv("PATH", list, 1);
    check_found("tool", path);
    errno = 0;
    cr_assert_null(program_find("no-such-tool"));
    check_eq(errno, ENOENT);
}

Test(program, a_path_is_taken_as_it_is)
{
    scratch_file(&scratch, "tool", "", 0, 0700, path);
    check_found(path, path);
    check_eq(chdir(scratch.path), 0);
    check_found("./tool", "./tool");
    cr_assert_null(program_find("./other"));
    check_eq(errno, ENOENT);
}

Test(program, an_empty_entry_of_path_is_here)
{
    scratch_file(&scratch, "tool", "", 0, 0700, path);
    check_eq(chdir(scratch.path), 0);
    setenv("PATH", ":/no", 1);
    check_found("tool", "tool");
}

Test(program, what_may_not_be_executed_is_told_apart_from_what_is_not_there)
{
    scratch_file(&scratch, "tool", "", 0, 0600, path);
    cr_assert_null(program_find("tool"));
    check_eq(errno, EACCES);
    cr_assert_null(program_find(path));
    check_eq(errno, EACCES);
    check_eq(mkdir(scratch_path(&scratch, "directory", path), 0700), 0);
    cr_assert_null(program_find("directory"));
    check_eq(errno, EACCES);
    cr_assert_null(program_find(""));
    check_eq(errno, ENOENT);
}

Test(program, without_path_there_is_a_default)
{
    unsetenv("PATH");
    check_found("sh", "/bin/sh");
}

/* ---- judging ----------------------------------------------------------- */

/* A program for glibc that needs one library. */
struct built {
    Elf64_Ehdr header;
    Elf64_Phdr segments[3];
    char linker[64];
    Elf64_Dyn dynamic[4];
    char strings[64];
};

static struct built
needing(const char *library)
{
    const uint64_t base = 0x400000; /* where the file is mapped */
    struct built built = {
        .header =
            {
                     .e_ident = ELFMAG "\2", /* 64 bits */
                .e_machine = EM_X86_64,
                     .e_phoff = offsetof(struct built, segments),
                     .e_phnum = 3,
                     },
        .segments =
            {
                     {.p_type = PT_LOAD,
                 .p_vaddr = base,
                 .p_filesz = sizeof(struct built)},
                     {.p_type = PT_INTERP,
                 .p_offset = offsetof(struct built, linker),
                 .p_filesz = sizeof(built.linker)},
                     {.p_type = PT_DYNAMIC,
                 .p_offset = offsetof(struct built, dynamic),
                 .p_filesz = sizeof(built.dynamic)},
                     },
        .linker = "/lib64/ld-linux-x86-64.so.2",
        .dynamic =
            {
                     {.d_tag = DT_NEEDED, .d_un.d_val = 1},
                     {.d_tag = DT_STRTAB,
                 .d_un.d_ptr = base + offsetof(struct built, strings)},
                     {.d_tag = DT_NULL},
                     },
    };
    strcpy(built.strings + 1, library);
    return built;
}

static enum program_obstacle
inspect(const struct built *built, size_t n_bytes)
{
    return program_inspect(
        scratch_file(&scratch, "program", built, n_bytes, 0700, path));
}

Test(program, an_ordinary_program_is_visible)
{
    const struct built built = needing("libc.so.6");
    check_eq(inspect(&built, sizeof(built)), PROGRAM_VISIBLE);
    check_eq(program_inspect("/bin/sh"), PROGRAM_VISIBLE);
}

Test(program, a_sanitizers_runtime_is_an_obstacle)
{
    static const char *const runtimes[] = {"libasan.so.8", "libtsan.so.2",
                                           "liblsan.so.0"};
    for (size_t i = 0; i < countof(runtimes); i++) {
        const struct built built = needing(runtimes[i]);
        check_eq(inspect(&built, sizeof(built)), PROGRAM_SANITIZED);
    }
}

Test(program, every_obstacle_has_a_word_and_a_cure)
{
    for (unsigned i = PROGRAM_VISIBLE + 1; i <= PROGRAM_SANITIZED; i++) {
        check_true(program_obstacle_is(i)[0] != '\0');
        check_true(program_obstacle_cure(i)[0] != '\0');
    }
    check_text(program_obstacle_is(PROGRAM_VISIBLE), "");
    check_text(program_obstacle_cure(PROGRAM_VISIBLE), "");
}

Test(program, each_kind_of_image_is_its_obstacle)
{
    struct built built = needing("libc.so.6");
    built.header.e_phnum = 1;
    check_eq(inspect(&built, sizeof(built)), PROGRAM_STATIC);
    built = needing("libc.so.6");
    built.header.e_machine = EM_AARCH64;
    check_eq(inspect(&built, sizeof(built)), PROGRAM_OTHER_ABI);
    built = needing("libc.so.6");
    strcpy(built.linker, "/lib/ld-musl-x86_64.so.1");
    check_eq(inspect(&built, sizeof(built)), PROGRAM_MUSL);
    strcpy(built.linker, "/lib/ld.so.1");
    check_eq(inspect(&built, sizeof(built)), PROGRAM_OTHER_LINKER);
    built = needing("libc.so.6");
    scratch_file(&scratch, "setuid", &built, sizeof(built), 04700, path);
    check_eq(program_inspect(path), PROGRAM_PRIVILEGED);
    check_eq(program_inspect("/no/such/file"), PROGRAM_VISIBLE);
}

Test(program, a_program_cut_or_spoilt_anywhere_does_no_harm)
{
    uint64_t state = 3;
    for (unsigned round = 0; round < 500; round++) {
        struct built built = needing("libasan.so.8");
        unsigned char *bytes = (unsigned char *)&built;
        for (unsigned i = 0; i < 8; i++)
            bytes[check_random(&state) % sizeof(built)] =
                (unsigned char)check_random(&state);
        inspect(&built, sizeof(built) - check_random(&state) % 200);
    }
}
