#include "include/rendezvous.h"

#include <stdio.h>

#include "tests/unit/check.h"
#include "tests/unit/scratch.h"

static struct scratch scratch;

/* No test shall see, or touch, what the user has. */
static void
set_up(void)
{
    scratch = scratch_create();
    unsetenv(RENDEZVOUS_VARIABLE);
    setenv("XDG_RUNTIME_DIR", scratch.path, 1);
    setenv("TMPDIR", scratch.path, 1);
}

static void
clean_up(void)
{
    scratch_remove(&scratch);
}

TestSuite(rendezvous, .init = set_up, .fini = clean_up);

static char path[RENDEZVOUS_PATH_BYTES];

/* "SCRATCH/name" */
static const char *
below(const char *name)
{
    static char where[SCRATCH_PATH_BYTES];
    return scratch_path(&scratch, name, where);
}

/* ---- building paths ---------------------------------------------------- */

Test(rendezvous, a_path_grows_up_to_what_a_socket_address_holds)
{
    char text[RENDEZVOUS_PATH_BYTES];
    memset(text, 'x', sizeof(text));
    text[RENDEZVOUS_PATH_BYTES - 1] = '\0';
    path[0] = '\0';
    check_true(rendezvous_append(path, text));
    check_eq(strlen(path), RENDEZVOUS_PATH_BYTES - 1);
    check_true(rendezvous_append(path, ""));
    check_false(rendezvous_append(path, "y"));
}

Test(rendezvous, numbers_are_written_in_full)
{
    path[0] = '\0';
    check_true(rendezvous_append_number(path, 0));
    check_true(rendezvous_append(path, " "));
    check_true(rendezvous_append_number(path, 1000));
    check_true(rendezvous_append(path, " "));
    check_true(rendezvous_append_number(path, UINT64_MAX));
    check_text(path, "0 1000 18446744073709551615");
}

/* ---- candidates -------------------------------------------------------- */

Test(rendezvous, the_candidates_come_in_their_order)
{
    char expected[RENDEZVOUS_PATH_BYTES];
    setenv("XDG_RUNTIME_DIR", "/run/user/77", 1);
    check_true(rendezvous_candidate(0, path));
    check_text(path, "/run/user/77/residue");

    snprintf(expected, sizeof(expected), "/run/residue/%u", geteuid());
    check_true(rendezvous_candidate(1, path));
    check_text(path, expected);

    setenv("TMPDIR", "/var/tmp", 1);
    snprintf(expected, sizeof(expected), "/var/tmp/residue-%u", geteuid());
    check_true(rendezvous_candidate(2, path));
    check_text(path, expected);
}

Test(rendezvous, without_variables_there_are_fewer)
{
    unsetenv("XDG_RUNTIME_DIR");
    unsetenv("TMPDIR");
    check_false(rendezvous_candidate(0, path));
    check_true(rendezvous_candidate(2, path));
    check_eq(strncmp(path, "/tmp/residue-", 13), 0);
}

Test(rendezvous, relative_directories_do_not_apply)
{
    setenv("XDG_RUNTIME_DIR", "run", 1);
    setenv("TMPDIR", "tmp", 1);
    check_false(rendezvous_candidate(0, path));
    check_true(rendezvous_candidate(2, path));
    check_eq(strncmp(path, "/tmp/residue-", 13), 0);
}

Test(rendezvous, directories_too_long_for_a_socket_do_not_apply)
{
    char text[RENDEZVOUS_PATH_BYTES];
    memset(text, 'x', sizeof(text));
    text[0] = '/';
    text[RENDEZVOUS_PATH_BYTES - 3] = '\0';
    setenv("XDG_RUNTIME_DIR", text, 1);
    setenv("TMPDIR", text, 1);
    check_false(rendezvous_candidate(0, path));
    check_false(rendezvous_candidate(2, path));
}

/* ---- privacy ----------------------------------------------------------- */

Test(rendezvous, only_the_users_own_closed_directory_is_private)
{
    check_eq(mkdir(below("directory"), 0700), 0);
    check_true(rendezvous_is_private(below("directory")));
    static const mode_t open_modes[] = {0710, 0701, 0750, 0777, 01777};
    for (size_t i = 0; i < sizeof(open_modes) / sizeof(open_modes[0]); i++) {
        check_eq(chmod(below("directory"), open_modes[i]), 0);
        cr_assert(!rendezvous_is_private(below("directory")),
                  "mode %o is taken for private", open_modes[i]);
    }
}

Test(rendezvous, what_is_no_directory_is_not_private)
{
    char where[SCRATCH_PATH_BYTES];
    scratch_file(&scratch, "file", "", 0, 0600, where);
    check_false(rendezvous_is_private(where));
    check_false(rendezvous_is_private(below("nothing")));
}

Test(rendezvous, a_link_to_a_private_directory_is_not_private)
{
    check_eq(mkdir(below("directory"), 0700), 0);
    check_eq(symlink("directory", below("link")), 0);
    check_false(rendezvous_is_private(below("link")));
}

Test(rendezvous, a_directory_of_somebody_else_is_not_private)
{
    check_eq(mkdir(below("directory"), 0700), 0);
    if (chown(below("directory"), 12345, 12345) != 0)
        cr_skip_test("giving a directory away needs root");
    check_false(rendezvous_is_private(below("directory")));
}

/* ---- directory and socket ---------------------------------------------- */

Test(rendezvous, the_first_private_candidate_is_the_directory)
{
    char in_tmp[RENDEZVOUS_PATH_BYTES];
    check_true(rendezvous_candidate(2, in_tmp));
    check_eq(mkdir(in_tmp, 0700), 0);
    check_eq(mkdir(below("residue"), 0755), 0);
    check_true(rendezvous_directory(path));
    check_true(strcmp(path, below("residue")) != 0);

    check_eq(chmod(below("residue"), 0700), 0);
    check_true(rendezvous_directory(path));
    check_text(path, below("residue"));
}

Test(rendezvous, who_serves_makes_the_directory)
{
    check_true(rendezvous_make_directory(path));
    check_text(path, below("residue"));
    check_true(rendezvous_is_private(path));
    check_true(rendezvous_make_directory(path)); /* and takes it again */
    check_text(path, below("residue"));
}

Test(rendezvous, who_serves_leaves_a_public_directory_alone)
{
    check_eq(mkdir(below("residue"), 0700), 0);
    check_eq(chmod(below("residue"), 0777), 0);
    check_true(rendezvous_make_directory(path));
    check_true(strcmp(path, below("residue")) != 0);
}

Test(rendezvous, the_default_socket_must_exist)
{
    char where[SCRATCH_PATH_BYTES];
    check_true(rendezvous_make_directory(path));
    check_false(rendezvous_socket(path));
    scratch_file(&scratch, "residue/socket", "", 0, 0600, where);
    check_true(rendezvous_socket(path));
    check_text(path, where);
}

Test(rendezvous, a_named_socket_is_taken_as_it_is)
{
    setenv(RENDEZVOUS_VARIABLE, "/somewhere/else", 1);
    check_true(rendezvous_socket(path));
    check_text(path, "/somewhere/else");
    setenv(RENDEZVOUS_VARIABLE, "", 1);
    check_false(rendezvous_socket(path));
}

Test(rendezvous, a_named_socket_may_be_too_long)
{
    char text[2 * RENDEZVOUS_PATH_BYTES];
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    setenv(RENDEZVOUS_VARIABLE, text, 1);
    check_false(rendezvous_socket(path));
}
