#include "collector/process_python.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "collector/process_state.h"
#include "tests/unit/check.h"

static struct image image;
static struct process process;

static void
set_up(void)
{
    image = (struct image){.hello = {.python_version = "3.12.1"},
                           .python_major = 3,
                           .python_minor = 12};
    process = (struct process){.image = &image, .proc = {.pid = getpid()}};
}

static void
clean_up(void)
{
    free(process.note);
}

TestSuite(process_python, .init = set_up, .fini = clean_up, .timeout = 20);

static void
take(bool is_native, size_t n_arenas)
{
    const struct census census = {.is_native = is_native, .n_arenas = n_arenas};
    process_judge_python(&process, &census);
}

Test(process_python, the_note_comes_with_a_census_and_goes_with_another)
{
    take(false, 3);
    check_true(process.note == NULL);
    check_true(image.had_arenas);
    image.had_arenas = false;
    take(true, 0);
    check_true(strstr(process.note, "Python 3.12.1 has no arena") != NULL);
    check_false(image.had_arenas);
    take(false, 1);
    check_true(process.note == NULL);
}

Test(process_python, one_that_is_not_known_has_a_note_without_a_census)
{
    image.python_major = 0;
    process.note = process_note(&process);
    check_true(strstr(process.note, "is not known") != NULL);
}

Test(process_python, an_allocator_of_its_own_is_said_first)
{
    image.is_native = true;
    image.hello.flags = WIRE_FLAG_OWN_ALLOCATOR;
    process.note = process_note(&process);
    check_true(strstr(process.note, "its own malloc") != NULL);
}

/* This program is no interpreter: it is not looked at twice for that. */
Test(process_python, a_stranger_is_remembered)
{
    image.arena_caller = (uintptr_t)&process_find_python;
    process_find_python(&process);
    check_eq(image.arena_caller, 0);
    check_eq(image.n_looks, 1);
    check_true((uintptr_t)&process_find_python - image.stranger.start <
               image.stranger.n_bytes);
    process_find_python(&process); /* nobody has asked for more */
    check_eq(image.n_looks, 1);
}

Test(process_python, what_was_found_is_as_if_it_had_been_told)
{
    image = (struct image){.arenas = arenas_create()};
    const struct python python = {
        .version = "3.99.0 with a long tail",
        .text_start = 4096,
        .text_bytes = 8192,
        .runtime = 77,
    };
    image_take_python(&image, &python);
    check_text(image.hello.python_version, "3.99.0 with a long tail");
    check_eq(image.hello.python_text.n_bytes, 8192);
    check_eq(image.hello.python_runtime, 77);
    check_eq(image.python_major, 0);
    check_true(image.is_python_found);
    arenas_destroy(image.arenas);
}
