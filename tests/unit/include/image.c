#include "include/image.h"

#include <stdio.h>
#include <sys/xattr.h>

#include "tests/unit/check.h"
#include "tests/unit/scratch.h"

static struct scratch scratch;

static void
set_up(void)
{
    scratch = scratch_create();
}

static void
clean_up(void)
{
    scratch_remove(&scratch);
}

TestSuite(image, .init = set_up, .fini = clean_up, .timeout = 20);

/* ---- files ------------------------------------------------------------- */

/* The smallest file that is judged as a program, and what may be wrong. */
struct program {
    Elf64_Ehdr header;
    Elf64_Phdr segments[2];
    char linker[512];
};

static struct program
program_for(const char *linker)
{
    struct program program = {
        .header =
            {
                     .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64,
                            ELFDATA2LSB, EV_CURRENT},
                     .e_type = ET_DYN,
                     .e_machine = EM_X86_64,
                     .e_phoff = offsetof(struct program, segments),
                     .e_phentsize = sizeof(Elf64_Phdr),
                     .e_phnum = 2,
                     },
        .segments =
            {
                     {.p_type = PT_LOAD},
                     {
                    .p_type = PT_INTERP,
                    .p_offset = offsetof(struct program, linker),
                    .p_filesz = strlen(linker) + 1,
                }, },
    };
    strcpy(program.linker, linker);
    return program;
}

static struct program
glibc_program(void)
{
    return program_for("/lib64/ld-linux-x86-64.so.2");
}

static char path[SCRATCH_PATH_BYTES];

static enum image
inspect_bytes(const void *bytes, size_t n_bytes, mode_t mode)
{
    return image_inspect(
        scratch_file(&scratch, "program", bytes, n_bytes, mode, path));
}

static enum image
inspect(const struct program *program)
{
    return inspect_bytes(program, sizeof(*program), 0700);
}

static enum image
inspect_script(const char *text)
{
    char script[SCRATCH_PATH_BYTES];
    return image_inspect(
        scratch_file(&scratch, "script", text, strlen(text), 0700, script));
}

/* ---- programs ---------------------------------------------------------- */

Test(image, a_program_for_glibc_is_followed)
{
    const struct program program = glibc_program();
    check_eq(inspect(&program), IMAGE_GLIBC);
}

Test(image, this_very_test_is_followed)
{
    check_eq(image_inspect("/proc/self/exe"), IMAGE_GLIBC);
}

Test(image, musl_is_told_by_its_linker)
{
    const struct program program = program_for("/lib/ld-musl-x86_64.so.1");
    check_eq(inspect(&program), IMAGE_MUSL);
}

Test(image, another_linker_is_told)
{
    const struct program program = program_for("/system/bin/linker64");
    check_eq(inspect(&program), IMAGE_OTHER_LINKER);
}

Test(image, the_linkers_name_counts_and_not_its_directory)
{
    const struct program here = program_for("ld-linux-x86-64.so.2");
    check_eq(inspect(&here), IMAGE_GLIBC);
    const struct program there =
        program_for("/nix/store/ld-musl-x/glibc/lib/ld-linux-x86-64.so.2");
    check_eq(inspect(&there), IMAGE_GLIBC);
}

Test(image, without_a_linker_it_is_static)
{
    struct program program = glibc_program();
    program.segments[1].p_type = PT_NOTE;
    check_eq(inspect(&program), IMAGE_STATIC);
    program.header.e_phnum = 0;
    check_eq(inspect(&program), IMAGE_STATIC);
}

Test(image, thirty_two_bits_are_another_abi)
{
    struct program program = glibc_program();
    program.header.e_ident[EI_CLASS] = ELFCLASS32;
    check_eq(inspect(&program), IMAGE_OTHER_ABI);
}

Test(image, another_machine_is_another_abi)
{
    struct program program = glibc_program();
    program.header.e_machine = EM_AARCH64;
    check_eq(inspect(&program), IMAGE_OTHER_ABI);
}

/* ---- privileges -------------------------------------------------------- */

Test(image, setuid_and_setgid_are_privileged)
{
    const struct program program = glibc_program();
    check_eq(inspect_bytes(&program, sizeof(program), 04700), IMAGE_PRIVILEGED);
    check_eq(inspect_bytes(&program, sizeof(program), 02710), IMAGE_PRIVILEGED);
}

Test(image, file_capabilities_are_privileged)
{
    const struct program program = glibc_program();
    check_eq(inspect(&program), IMAGE_GLIBC);
    /* VFS_CAP_REVISION_2: CAP_NET_RAW is permitted and effective. */
    const uint32_t capability[5] = {0x02000001, 1u << 13, 0, 0, 0};
    if (setxattr(path, "security.capability", capability, sizeof(capability),
                 0) != 0)
        cr_skip_test("file capabilities need root");
    check_eq(image_inspect(path), IMAGE_PRIVILEGED);
}

/* ---- scripts ----------------------------------------------------------- */

Test(image, a_script_is_judged_by_its_interpreter)
{
    const struct program program = program_for("/lib/ld-musl-x86_64.so.1");
    inspect(&program);
    char text[SCRATCH_PATH_BYTES + 32];
    snprintf(text, sizeof(text), "#!%s\n", path);
    check_eq(inspect_script(text), IMAGE_MUSL);
    snprintf(text, sizeof(text), "#! \t%s -x y\necho\n", path);
    check_eq(inspect_script(text), IMAGE_MUSL);
    snprintf(text, sizeof(text), "#!%s", path);
    check_eq(inspect_script(text), IMAGE_MUSL);
}

Test(image, a_script_of_the_shell_is_followed)
{
    check_eq(inspect_script("#!/bin/sh\ntrue\n"), IMAGE_GLIBC);
}

Test(image, a_privileged_script_is_not_privileged)
{
    char script[SCRATCH_PATH_BYTES];
    static const char text[] = "#!/bin/sh\n";
    scratch_file(&scratch, "script", text, sizeof(text) - 1, 04700, script);
    check_eq(image_inspect(script), IMAGE_GLIBC);
}

/* script.0 runs the shell, script.1 runs script.0, and so on. */
static enum image
inspect_chain(unsigned n_scripts)
{
    char name[32];
    char text[SCRATCH_PATH_BYTES + 32] = "#!/bin/sh\n";
    char script[SCRATCH_PATH_BYTES] = "";
    for (unsigned i = 0; i < n_scripts; i++) {
        snprintf(name, sizeof(name), "script.%u", i);
        scratch_file(&scratch, name, text, strlen(text), 0700, script);
        snprintf(text, sizeof(text), "#!%s\n", script);
    }
    return image_inspect(script);
}

Test(image, interpreters_may_be_scripts_themselves)
{
    for (unsigned n = 1; n < IMAGE_MAX_SCRIPTS; n++)
        check_eq(inspect_chain(n), IMAGE_GLIBC);
    check_eq(inspect_chain(IMAGE_MAX_SCRIPTS), IMAGE_UNREADABLE);
}

Test(image, a_script_that_runs_itself_comes_to_an_end)
{
    char script[SCRATCH_PATH_BYTES];
    char text[SCRATCH_PATH_BYTES + 32];
    scratch_path(&scratch, "script", script);
    snprintf(text, sizeof(text), "#!%s\n", script);
    check_eq(inspect_script(text), IMAGE_UNREADABLE);
}

Test(image, a_script_without_an_interpreter_is_unreadable)
{
    check_eq(inspect_script("#!"), IMAGE_UNREADABLE);
    check_eq(inspect_script("#! \t \n/bin/sh"), IMAGE_UNREADABLE);
    check_eq(inspect_script("#!\n"), IMAGE_UNREADABLE);
    check_eq(inspect_script("#!/no/such/interpreter\n"), IMAGE_UNREADABLE);
}

Test(image, a_first_line_without_an_end_is_read_up_to_its_limit)
{
    char text[2 * IMAGE_LINE_BYTES];
    memset(text, 'a', sizeof(text));
    memcpy(text, "#!/", 3);
    text[sizeof(text) - 1] = '\0';
    check_eq(inspect_script(text), IMAGE_UNREADABLE);
}

/* ---- what is no program ------------------------------------------------ */

Test(image, what_is_not_there_is_unreadable)
{
    check_eq(image_inspect("/no/such/file"), IMAGE_UNREADABLE);
    check_eq(image_inspect(""), IMAGE_UNREADABLE);
}

Test(image, a_directory_is_unreadable)
{
    check_eq(image_inspect(scratch.path), IMAGE_UNREADABLE);
}

Test(image, files_of_any_other_kind_are_unreadable)
{
    check_eq(inspect_bytes("", 0, 0700), IMAGE_UNREADABLE);
    check_eq(inspect_bytes("#", 1, 0700), IMAGE_UNREADABLE);
    check_eq(inspect_bytes("\x7f"
                           "EL",
                           3, 0700),
             IMAGE_UNREADABLE);
    check_eq(inspect_bytes("echo\n", 5, 0700), IMAGE_UNREADABLE);
}

/*
 * A hook that looks at a named pipe must not wait for somebody to write to it:
 * STYLE 6, "never wait". Fails while the file is opened without O_NONBLOCK.
 */
Test(image, a_named_pipe_makes_nobody_wait, .timeout = 2)
{
    scratch_path(&scratch, "pipe", path);
    check_eq(mkfifo(path, 0700), 0);
    check_eq(image_inspect(path), IMAGE_UNREADABLE);
}

Test(image, a_program_cut_anywhere_is_never_followed_by_mistake)
{
    const struct program program = glibc_program();
    for (size_t n = SELFMAG; n < offsetof(struct program, linker); n += 7)
        cr_assert(inspect_bytes(&program, n, 0700) != IMAGE_GLIBC,
                  "%zu bytes are taken for a program", n);
}

Test(image, segments_that_lie_nowhere_are_unreadable)
{
    struct program program = glibc_program();
    program.header.e_phoff = UINT64_MAX - 4;
    check_eq(inspect(&program), IMAGE_UNREADABLE);
    program = glibc_program();
    program.header.e_phoff = sizeof(program);
    check_eq(inspect(&program), IMAGE_UNREADABLE);
    program = glibc_program();
    program.segments[1].p_offset = UINT64_MAX;
    check_eq(inspect(&program), IMAGE_UNREADABLE);
    program = glibc_program();
    program.segments[1].p_filesz = UINT64_MAX;
    check_eq(inspect(&program), IMAGE_GLIBC); /* the name is all there */
}

Test(image, a_linkers_path_of_any_length_is_read_within_bounds)
{
    char linker[500];
    memset(linker, 'x', sizeof(linker));
    linker[0] = '/';
    linker[sizeof(linker) - 1] = '\0';
    const struct program program = program_for(linker);
    check_eq(inspect(&program), IMAGE_OTHER_LINKER);
}
