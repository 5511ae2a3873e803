#include "preload/environment.h"

#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "include/attrs.h"
#include "tests/unit/check.h"
#include "tests/unit/scratch.h"

/* Files that are there, whatever they are. */
#define OURS "/proc/self/exe"
#define SOCKET "/proc/self/status"

static struct scratch scratch;
static char musl[SCRATCH_PATH_BYTES];
static char glibc[SCRATCH_PATH_BYTES];
static char fixed[SCRATCH_PATH_BYTES];

/* The smallest program that asks for this dynamic linker; NULL: none. */
static void
lay_program(const char *name, const char *linker, char *where)
{
    struct {
        Elf64_Ehdr header;
        Elf64_Phdr segment;
        char linker[64];
    } program = {
        .header =
            {
                     .e_ident = ELFMAG "\2",             /* 64 bits */
                .e_machine = EM_X86_64,
                     .e_phoff = sizeof(Elf64_Ehdr),
                     .e_phnum = linker == NULL ? 0 : 1,
                     },
        .segment =
            {
                     .p_type = PT_INTERP,
                     .p_offset = sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr),
                     .p_filesz = sizeof(program.linker),
                     },
    };
    snprintf(program.linker, sizeof(program.linker), "%s",
             linker == NULL ? "" : linker);
    scratch_file(&scratch, name, &program, sizeof(program), 0700, where);
}

static void
set_up(void)
{
    scratch = scratch_create();
    lay_program("musl", "/lib/ld-musl-x86_64.so.1", musl);
    lay_program("glibc", "/lib64/ld-linux-x86-64.so.2", glibc);
    lay_program("static", NULL, fixed);
    environment_init(OURS);
}

static void
clean_up(void)
{
    scratch_remove(&scratch);
}

TestSuite(environment, .init = set_up, .fini = clean_up);

/* What an image at path is handed in place of LD_PRELOAD=list. */
static struct environment
hand(const char *path, const char *list)
{
    static char preload[512];
    static char home[] = "HOME=/root";
    static char term[] = "TERM=dumb";
    static char *variables[4];
    snprintf(preload, sizeof(preload), "LD_PRELOAD=%s", list);
    variables[0] = home;
    variables[1] = preload;
    variables[2] = term;
    variables[3] = NULL;
    return environment_for(path, variables);
}

/* Musl is handed this; NULL: no LD_PRELOAD at all. */
static void
check_left(const char *list, const char *wanted)
{
    struct environment environment = hand(musl, list);
    check_false(environment.is_followed);
    size_t at = 0;
    check_text(environment.variables[at++], "HOME=/root");
    if (wanted != NULL)
        check_text(environment.variables[at++], wanted);
    check_text(environment.variables[at++], "TERM=dumb");
    cr_assert_null(environment.variables[at]);
    environment_release(&environment);
}

/* ---- what is left out -------------------------------------------------- */

Test(environment, our_entry_alone_takes_the_variable_with_it)
{
    check_left(OURS, NULL);
}

Test(environment, our_entry_is_left_out_wherever_it_stands)
{
    check_left(OURS ":/a.so", "LD_PRELOAD=/a.so");
    check_left(OURS ":/a.so:/b.so", "LD_PRELOAD=/a.so:/b.so");
    check_left("/a.so:" OURS ":/b.so", "LD_PRELOAD=/a.so:/b.so");
    check_left(OURS " /a.so", "LD_PRELOAD=/a.so");
    check_left("/a.so " OURS " /b.so", "LD_PRELOAD=/a.so /b.so");
}

Test(environment, the_last_entry_may_leave_its_separator)
{
    struct environment environment = hand(musl, "/a.so:" OURS);
    const char *preload = environment.variables[1];
    check_eq(strncmp(preload, "LD_PRELOAD=/a.so", 16), 0);
    check_eq(strspn(preload + 16, ": "), strlen(preload + 16));
    environment_release(&environment);
}

Test(environment, what_only_looks_like_our_entry_stays)
{
    check_left(OURS ".bak:" OURS, "LD_PRELOAD=" OURS ".bak:");
    check_left("/x" OURS ":" OURS, "LD_PRELOAD=/x" OURS ":");
    struct environment environment = hand(musl, OURS ".bak:/x" OURS);
    cr_assert_null(environment.copy);
    environment_release(&environment);
}

/*
 * `residue run` under `residue run` puts us there twice. Fails while only the
 * first entry is left out: musl's loader then fails over the second.
 */
Test(environment, our_entry_is_left_out_as_often_as_it_stands)
{
    check_left(OURS ":" OURS, NULL);
    check_left(OURS ":/a.so:" OURS ":/b.so", "LD_PRELOAD=/a.so:/b.so");
}

Test(environment, other_images_that_cannot_load_us_are_spared_too)
{
    char other[SCRATCH_PATH_BYTES];
    lay_program("other", "/system/bin/linker64", other);
    struct environment environment = hand(other, OURS);
    check_text(environment.variables[1], "TERM=dumb");
    environment_release(&environment);
}

/* ---- what stays -------------------------------------------------------- */

static void
check_kept(const char *path, const char *list, bool is_followed)
{
    struct environment environment = hand(path, list);
    char wanted[512];
    snprintf(wanted, sizeof(wanted), "LD_PRELOAD=%s", list);
    check_text(environment.variables[1], wanted);
    cr_assert_null(environment.copy);
    check_eq(environment.is_followed, is_followed);
    environment_release(&environment);
}

Test(environment, an_image_for_glibc_is_followed)
{
    check_kept(glibc, OURS, true);
    check_kept(glibc, "/a.so:" OURS, true);
}

Test(environment, an_image_that_ignores_preloads_keeps_them)
{
    check_kept(fixed, OURS, false);
    check_kept("/no/such/file", OURS, false);
}

Test(environment, where_the_path_is_not_known_the_entry_stays)
{
    check_kept(NULL, OURS, false);
}

Test(environment, without_our_entry_nothing_is_changed_or_followed)
{
    check_kept(musl, "/a.so", false);
    check_kept(glibc, "/a.so", false);
    check_kept(musl, "", false);
}

Test(environment, there_may_be_no_environment)
{
    char *none[] = {NULL};
    struct environment environment = environment_for(musl, NULL);
    cr_assert_null(environment.variables);
    environment_release(&environment);
    environment = environment_for(musl, none);
    check_true(environment.variables == none);
    environment_release(&environment);
}

Test(environment, what_was_released_may_be_released_again)
{
    struct environment environment = hand(musl, OURS);
    cr_assert_not_null(environment.copy);
    environment_release(&environment);
    cr_assert_null(environment.copy);
    environment_release(&environment);
}

Test(environment, a_large_environment_is_copied_whole)
{
    enum { VARIABLES = 3000 };
    static char texts[VARIABLES][32];
    static char *variables[VARIABLES + 1];
    for (unsigned i = 0; i < VARIABLES; i++) {
        snprintf(texts[i], sizeof(texts[i]), "VARIABLE_%u=%u", i, i * i);
        variables[i] = texts[i];
    }
    variables[1500] = (char[]){"LD_PRELOAD=" OURS};
    struct environment environment = environment_for(musl, variables);
    for (unsigned i = 0; i + 1 < VARIABLES; i++)
        check_text(environment.variables[i], texts[i < 1500 ? i : i + 1]);
    cr_assert_null(environment.variables[VARIABLES - 1]);
    environment_release(&environment);
}

/* A process that was not preloaded by a path of its own knows of no entry. */
Test(environment_init, an_own_path_that_is_too_long_is_not_looked_for)
{
    static char path[5000];
    memset(path, 'x', sizeof(path) - 1);
    path[0] = '/';
    environment_init(path);
    char *variables[] = {(char[]){"LD_PRELOAD=/a.so"}, NULL};
    struct environment environment = environment_for("/bin/sh", variables);
    check_false(environment.is_followed);
}

/* ---- what is put back -------------------------------------------------- */

/* environment_for, in a process that has met its collector. */
static struct environment
hand_back(const char *path, char *const variables[])
{
    environment_set_socket(SOCKET, true);
    return environment_for(path, variables);
}

static void
check_variables(char *const *variables, char *const *wanted)
{
    size_t i = 0;
    for (; wanted[i] != NULL; i++)
        check_text(variables[i], wanted[i]);
    cr_assert_null(variables[i]);
}

/* The image is handed `wanted`, and as environ has `variables` afterwards. */
static void
check_put_back(char *const variables[], char *const wanted[])
{
    struct environment environment = hand_back(glibc, variables);
    check_true(environment.is_followed);
    check_variables(environment.variables, wanted);
    environ = (char **)(uintptr_t)environment.variables;
    environment_take_out();
    check_variables(environ, variables);
    environ = NULL;
    environment_release(&environment);
}

Test(environment, what_was_scrubbed_is_put_back_and_taken_out_again)
{
    check_put_back((char *[]){"A=b", NULL},
                   (char *[]){"A=b", "LD_PRELOAD=" OURS,
                              "RESIDUE_SOCKET=" SOCKET, "RESIDUE_PUT_BACK=vs",
                              NULL});
    check_put_back((char *[]){"LD_PRELOAD=/a.so", "A=b", NULL},
                   (char *[]){"LD_PRELOAD=" OURS ":/a.so", "A=b",
                              "RESIDUE_SOCKET=" SOCKET, "RESIDUE_PUT_BACK=es",
                              NULL});
    check_put_back((char *[]){"RESIDUE_SOCKET=" SOCKET, "LD_PRELOAD=", NULL},
                   (char *[]){"RESIDUE_SOCKET=" SOCKET, "LD_PRELOAD=" OURS ":",
                              "RESIDUE_PUT_BACK=e", NULL});
    check_put_back((char *[]){"LD_PRELOAD=" OURS, NULL},
                   (char *[]){"LD_PRELOAD=" OURS, "RESIDUE_SOCKET=" SOCKET,
                              "RESIDUE_PUT_BACK=s", NULL});
}

Test(environment, an_environment_that_is_not_there_is_put_back_too)
{
    struct environment environment = hand_back(glibc, NULL);
    check_variables(environment.variables,
                    (char *[]){"LD_PRELOAD=" OURS, "RESIDUE_SOCKET=" SOCKET,
                               "RESIDUE_PUT_BACK=vs", NULL});
    environment_release(&environment);
}

Test(environment, only_what_can_load_us_is_handed_us)
{
    char *scrubbed[] = {"A=b", NULL};
    const char *const paths[] = {musl, fixed, "/no/such/file", NULL};
    for (size_t i = 0; i < countof(paths); i++) {
        struct environment environment = hand_back(paths[i], scrubbed);
        check_true(environment.variables == scrubbed);
        check_false(environment.is_followed);
    }
}

/* As after chroot: its loader would complain about us on standard error. */
Test(environment, where_we_cannot_be_reached_nothing_of_us_is_handed_on)
{
    char *scrubbed[] = {"A=b", NULL};
    char *listed[] = {"A=b", "LD_PRELOAD=/gone/ours.so:/a.so", NULL};
    char *left[] = {"A=b", "LD_PRELOAD=/a.so", NULL};
    environment_init("/gone/ours.so");
    struct environment environment = hand_back(glibc, scrubbed);
    check_true(environment.variables == scrubbed);
    environment = hand_back(glibc, listed);
    check_variables(environment.variables, left);
    check_false(environment.is_followed);
    environment_release(&environment);
}

Test(environment, without_a_collector_in_reach_nothing_is_put_back)
{
    char *scrubbed[] = {"A=b", NULL};
    environment_set_socket("/gone/socket", true);
    struct environment environment = environment_for(glibc, scrubbed);
    check_true(environment.variables == scrubbed);
}

Test(environment, who_is_not_to_be_traced_is_handed_nothing)
{
    char *disabled[] = {"RESIDUE_DISABLE=1", NULL};
    struct environment environment = hand_back(glibc, disabled);
    check_true(environment.variables == disabled);
}

/* A collector at its usual place needs no variable. */
Test(environment, a_socket_that_nobody_named_is_not_named)
{
    char *usual[] = {"LD_PRELOAD=" OURS, NULL};
    environment_set_socket(SOCKET, false);
    struct environment environment = environment_for(glibc, usual);
    check_true(environment.variables == usual);
    check_true(environment.is_followed);
}

Test(environment, what_nobody_put_back_is_not_taken_out)
{
    char *variables[] = {"LD_PRELOAD=" OURS, "RESIDUE_SOCKET=" SOCKET, NULL};
    environ = variables;
    environment_take_out();
    check_text(environ[0], "LD_PRELOAD=" OURS);
    check_text(environ[1], "RESIDUE_SOCKET=" SOCKET);
    environ = NULL;
    environment_take_out();
}

/* Fails while the copy of a child that never came back is kept for ever. */
Test(environment, a_copy_that_was_not_released_makes_room_for_the_next)
{
    char *scrubbed[] = {"A=b", NULL};
    const struct environment lost = hand_back(glibc, scrubbed);
    struct environment next = hand_back(glibc, scrubbed);
    unsigned char is_there;
    check_true(next.copy == lost.copy ||
               mincore(lost.copy, 4096, &is_there) != 0);
    environment_release(&next);
}

/* ---- PATH -------------------------------------------------------------- */

static char found[256];

static const char *
find(const char *file, const char *list)
{
    if (list == NULL)
        unsetenv("PATH");
    else
        setenv("PATH", list, 1);
    return environment_find(file, found, sizeof(found));
}

Test(environment, a_name_with_a_slash_is_a_path)
{
    check_text(find("./a", "/bin"), "./a");
    check_text(find("/no/such", "/bin"), "/no/such");
}

Test(environment, a_name_is_looked_for_in_order)
{
    char list[SCRATCH_PATH_BYTES + 64];
    char wanted[SCRATCH_PATH_BYTES];
    snprintf(list, sizeof(list), "/no/such:%s:/bin", scratch.path);
    check_text(find("musl", list), scratch_path(&scratch, "musl", wanted));
    check_text(find("sh", list), "/bin/sh");
    cr_assert_null(find("no-such-program", list));
}

Test(environment, what_may_not_be_executed_is_passed_over)
{
    char list[SCRATCH_PATH_BYTES + 64];
    char where[SCRATCH_PATH_BYTES];
    scratch_file(&scratch, "sh", "", 0, 0600, where);
    snprintf(list, sizeof(list), "%s:/bin", scratch.path);
    check_text(find("sh", list), "/bin/sh");
}

/*
 * execvp passes over a directory of that name. Fails while environment_find
 * takes it, which then keeps our entry for the image that really runs.
 */
Test(environment, a_directory_of_that_name_is_passed_over)
{
    char list[SCRATCH_PATH_BYTES + 64];
    char where[SCRATCH_PATH_BYTES];
    check_eq(mkdir(scratch_path(&scratch, "sh", where), 0755), 0);
    snprintf(list, sizeof(list), "%s:/bin", scratch.path);
    check_text(find("sh", list), "/bin/sh");
}

Test(environment, an_empty_entry_of_path_is_here)
{
    check_eq(chdir(scratch.path), 0);
    check_text(find("musl", ":/bin"), "musl");
    check_text(find("musl", "/bin:"), "musl");
    check_text(find("musl", "/no::/bin"), "musl");
    cr_assert_null(find("musl", "/no:/bin"));
}

Test(environment, without_path_there_is_a_default)
{
    check_text(find("sh", NULL), "/bin/sh");
}

Test(environment, a_path_too_long_is_passed_over)
{
    char list[600];
    memset(list, 'x', sizeof(list));
    list[0] = '/';
    strcpy(list + 300, ":/bin");
    check_text(find("sh", list), "/bin/sh");
    char name[300];
    memset(name, 'y', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    cr_assert_null(find(name, "/bin"));
}
