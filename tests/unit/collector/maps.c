#include "collector/census/maps.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/check.h"

static struct maps
parse(const char *text)
{
    return maps_parse(strdup(text));
}

/* ---- ordinary lines ---------------------------------------------------- */

static const char ordinary[] =
    "555555554000-555555556000 r-xp 00001000 fe:00 1234567    /usr/bin/cat\n"
    "7ffff7d00000-7ffff7e00000 rw-p 00000000 00:00 0 \n"
    "7ffff7e00000-7ffff7e01000 rw-s 00002000 00:01 2055       "
    "/memfd:residue (deleted)\n"
    "7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0          [stack]\n"
    "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0  [vsyscall]\n";

Test(maps, a_line_is_read_with_all_it_says)
{
    struct maps maps = parse(ordinary);
    check_eq(maps.n_maps, 5);
    const struct map *cat = &maps.maps[0];
    check_eq(cat->start, 0x555555554000);
    check_eq(cat->end, 0x555555556000);
    check_eq(cat->offset, 0x1000);
    check_eq(cat->inode, 1234567);
    check_text(cat->name, "/usr/bin/cat");
    check_true(cat->is_readable);
    check_false(cat->is_writable);
    check_false(cat->is_shared);
    check_text(maps.maps[1].name, "");
    check_true(maps.maps[1].is_writable);
    check_text(maps.maps[2].name, "/memfd:residue (deleted)");
    check_true(maps.maps[2].is_shared);
    check_false(maps.maps[4].is_readable);
    maps_finish(&maps);
}

Test(maps, the_kernels_own_list_is_read)
{
    char text[65536];
    FILE *file = fopen("/proc/self/maps", "re");
    const size_t n = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[n] = '\0';
    size_t n_lines = 0;
    for (size_t i = 0; i < n; i++)
        n_lines += text[i] == '\n';
    struct maps maps = parse(text);
    check_ge(maps.n_maps, n < sizeof(text) - 1 ? n_lines : n_lines - 1);
    const struct map *here =
        maps_at(&maps, (uint64_t)(uintptr_t) "a literal of this program");
    cr_assert_not_null(here);
    check_true(here->is_readable);
    check_true(here->inode != 0);
    maps_finish(&maps);
}

Test(maps, a_name_may_have_blanks)
{
    struct maps maps = parse("1000-2000 r--p 00000000 fe:00 7    /a b  c d\n");
    check_eq(maps.n_maps, 1);
    check_text(maps.maps[0].name, "/a b  c d");
    maps_finish(&maps);
}

Test(maps, the_last_line_needs_no_end)
{
    struct maps maps = parse("1000-2000 r--p 00000000 fe:00 7 /a");
    check_eq(maps.n_maps, 1);
    check_text(maps.maps[0].name, "/a");
    maps_finish(&maps);
}

/* ---- hostile lines ----------------------------------------------------- */

Test(maps, nothing_is_no_maps)
{
    struct maps maps = maps_parse(NULL);
    check_eq(maps.n_maps, 0);
    cr_assert_null(maps_at(&maps, 0));
    maps_finish(&maps);
    maps = parse("");
    check_eq(maps.n_maps, 0);
    maps_finish(&maps);
}

Test(maps, lines_without_sense_are_left_out)
{
    static const char *const hostile[] = {
        "nonsense\n",
        "\n\n\n",
        "1000-2000\n",
        "1000-2000 r--p\n",
        "1000-2000 r--p 0 fe:00\n",
        "1000-2000 r- 0 fe:00 7 /short-rights\n",
        "1000-2000 r--ppp 0 fe:00 7 /long-rights\n",
        "2000-1000 r--p 0 fe:00 7 /backwards\n",
        "1000-1000 r--p 0 fe:00 7 /empty\n",
        "zzzz-2000 r--p 0 fe:00 7 /no-number\n",
        "1000 2000 r--p 0 fe:00 7 /no-dash\n",
        "-1000-2000 r--p 0 fe:00 x /no-inode\n",
    };
    for (size_t i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++) {
        struct maps maps = parse(hostile[i]);
        cr_assert(maps.n_maps == 0, "taken for a mapping: %s", hostile[i]);
        maps_finish(&maps);
    }
}

Test(maps, a_hostile_line_does_not_spoil_its_neighbours)
{
    struct maps maps = parse("1000-2000 r--p 0 fe:00 7 /a\n"
                             "garbage\n"
                             "3000-4000 r--p 0 fe:00 8 /b\n");
    check_eq(maps.n_maps, 2);
    check_text(maps.maps[1].name, "/b");
    maps_finish(&maps);
}

Test(maps, what_overlaps_or_goes_back_is_left_out)
{
    struct maps maps = parse("3000-6000 r--p 0 fe:00 7 /a\n"
                             "1000-2000 r--p 0 fe:00 8 /before\n"
                             "5000-7000 r--p 0 fe:00 9 /over\n"
                             "6000-7000 r--p 0 fe:00 9 /behind\n");
    check_eq(maps.n_maps, 2);
    check_text(maps.maps[0].name, "/a");
    check_text(maps.maps[1].name, "/behind");
    maps_finish(&maps);
}

Test(maps, numbers_too_great_do_no_harm)
{
    struct maps maps =
        parse("1000-fffffffffffffffffffffffffff r--p 0 fe:00 7 /a\n"
              "2000-3000 r--p 0 fe:00 99999999999999999999999999 /b\n");
    for (size_t i = 0; i < maps.n_maps; i++)
        check_true(maps.maps[i].start < maps.maps[i].end);
    maps_finish(&maps);
}

/* ---- finding ----------------------------------------------------------- */

Test(maps, an_address_is_found_in_its_mapping)
{
    struct maps maps = parse("1000-2000 r--p 0 fe:00 7 /a\n"
                             "2000-3000 r--p 0 fe:00 7 /b\n"
                             "5000-6000 r--p 0 fe:00 7 /c\n");
    cr_assert_null(maps_at(&maps, 0xfff));
    check_text(maps_at(&maps, 0x1000)->name, "/a");
    check_text(maps_at(&maps, 0x1fff)->name, "/a");
    check_text(maps_at(&maps, 0x2000)->name, "/b");
    cr_assert_null(maps_at(&maps, 0x3000));
    cr_assert_null(maps_at(&maps, 0x4fff));
    check_text(maps_at(&maps, 0x5fff)->name, "/c");
    cr_assert_null(maps_at(&maps, 0x6000));
    cr_assert_null(maps_at(&maps, UINT64_MAX));
    maps_finish(&maps);
}

Test(maps, anonymous_is_what_allocators_live_in)
{
    struct maps maps = parse("1000-2000 rw-p 0 00:00 0 \n"
                             "2000-3000 rw-p 0 00:00 0 [heap]\n"
                             "3000-4000 rw-p 0 00:00 0 [anon:arena]\n"
                             "4000-5000 rw-p 0 00:00 0 [stack]\n"
                             "5000-6000 rw-s 0 00:01 9 /dev/zero (deleted)\n"
                             "6000-7000 rw-p 0 fe:00 9 /a\n"
                             "7000-8000 r--p 0 00:00 0 [vvar]\n"
                             "8000-9000 rw-s 0 00:00 0 \n");
    static const bool wanted[] = {true,  true,  true,  false,
                                  false, false, false, false};
    check_eq(maps.n_maps, 8);
    for (size_t i = 0; i < maps.n_maps; i++)
        cr_assert(map_is_anonymous(&maps.maps[i]) == wanted[i], "line %zu", i);
    maps_finish(&maps);
}
