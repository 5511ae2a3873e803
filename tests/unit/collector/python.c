/*
 * Which version an interpreter is of, by what its file says.
 */
#include "collector/python.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/check.h"

TestSuite(python, .timeout = 20);

static char version[PYTHON_VERSION_BYTES];

Test(python, the_constant_of_311_and_later)
{
    check_true(python_version_of_number(0x030b07f0, version));
    check_text(version, "3.11.7");
    check_true(python_version_of_number(0x030e00c2, version));
    check_text(version, "3.14.0rc2");
    check_true(python_version_of_number(0x030f00a1, version));
    check_text(version, "3.15.0a1");
    check_false(python_version_of_number(0, version));
    check_false(python_version_of_number((uint64_t)1 << 40, version));
}

#define IN(bytes, name) \
    python_version_in(bytes, sizeof(bytes) - 1, name, version)

Test(python, the_text_of_those_before)
{
    check_true(IN("\0abc\0"
                  "3.9.18\0"
                  "x\0",
                  "libpython3.9.so.1.0"));
    check_text(version, "3.9.18");
    check_true(IN("2.7.18\0", "python2.7"));
    check_text(version, "2.7.18");
    check_true(IN("Python 3.8.18+\0", "python3"));
    check_text(version, "3.8.18+");
}

Test(python, other_libraries_versions_are_not_taken_for_it)
{
    check_true(IN("3.40.1\0"
                  "3.7.17\0"
                  "3.10.13\0",
                  "python3.10"));
    check_text(version, "3.10.13");
    check_true(IN("3.40.1\0"
                  "1.3.10.2\0"
                  "3.10.13\0",
                  "server"));
    check_text(version, "3.10.13");
    check_false(IN("13.9.18\0"
                   "3.9\0"
                   "3.9.x\0"
                   "3.9.18 of\0",
                   "python3.9"));
    check_false(IN("3.9.18", "python3.9")); /* without an end */
    check_false(IN("", "python3.9"));
}

Test(python, who_is_no_interpreter_is_known_by_its_text)
{
    struct python python;
    const uint64_t here = (uintptr_t)&python_find_at;
    check_false(python_find_at(getpid(), here, &python));
    check_true(here - python.text_start < python.text_bytes);
    check_text(python.version, "");
    check_false(python_find_at(getpid(), (uintptr_t)&python, &python));
    check_eq(python.text_bytes, 0);
    check_false(python_find_at(0x7fffffff, here, &python));
}

Test(python, the_note_says_what_is_missing)
{
    char *known = python_native_note("3.13.0", true);
    char *unknown = python_native_note("3.99.0", false);
    check_true(strncmp(known, "Python 3.13.0 has no arena", 26) == 0);
    check_text(unknown, "Python 3.99.0 is not known to this version: only its "
                        "native side is shown");
    free(known);
    free(unknown);
}

Test(python, a_process_without_an_interpreter_has_none)
{
    struct python python;
    check_false(python_find(getpid(), &python));
    check_text(python.version, "");
    check_eq(python.major, 0);
    check_false(python_find(0x7fffffff, &python));
}
