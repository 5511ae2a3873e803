/*
 * What the kernel writes about cgroups, in every arrangement there is: one
 * version, both, namespaces, containers that show the host's paths.
 */
#include "collector/cgroup_text.h"

#include <stdlib.h>

#include "include/attrs.h"
#include "include/xalloc.h"
#include "tests/unit/check.h"

/* ---- /proc/PID/cgroup -------------------------------------------------- */

static void
check_place(const char *text, enum cgroup_version version, const char *path)
{
    struct cgroup_place place = {.version = N_CGROUP_VERSIONS};
    cr_assert(cgroup_text_place(text, &place), "no place in \"%s\"", text);
    check_eq(place.version, version);
    check_text(place.path, path);
    free(place.path);
}

Test(cgroup_text, a_place_is_in_the_hierarchy_that_has_memory)
{
    check_place("0::/user.slice/a.scope\n", CGROUP_V2, "/user.slice/a.scope");
    check_place("9:cpu:/c\n4:memory:/m/x\n0::/\n", CGROUP_V1, "/m/x");
    check_place("0::/u\n3:cpu,memory,pids:/m\n", CGROUP_V1, "/m");
    check_place("4:memory:/a:b c\n", CGROUP_V1, "/a:b c");
    check_place("9:name=memory:/no\n8:mem:/no\n0::/u", CGROUP_V2, "/u");
    check_place("0::/../other\n", CGROUP_V2, "/../other");
}

Test(cgroup_text, a_text_without_a_place_has_none)
{
    static const char *const texts[] = {
        "",           "\n",     "4:memory:", "4:memory\n",
        "4:cpu:/x\n", "0::x\n", ":::::",     "1::/named\n",
    };
    struct cgroup_place place = {0};
    for (size_t i = 0; i < countof(texts); i++)
        cr_assert(!cgroup_text_place(texts[i], &place), "\"%s\"", texts[i]);
    cr_assert_null(place.path);
}

/* ---- the mounts -------------------------------------------------------- */

#define CPU "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu"
#define MEMORY                                                           \
    "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw," \
    "memory"
#define UNIFIED "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw"

/* NULL: it is not visible. */
static void
check_directory(const char *mountinfo, enum cgroup_version version,
                const char *path, const char *directory, const char *top)
{
    const struct cgroup_place place = {version, xstrdup(path)};
    size_t n_top = 0;
    char *is = cgroup_text_directory(mountinfo, &place, &n_top);
    free(place.path);
    if (directory == NULL) {
        cr_assert(is == NULL, "%s is shown as %s", path, is);
        return;
    }
    check_text(is, directory);
    check_eq(n_top, strlen(top));
    free(is);
}

Test(cgroup_text, a_place_is_a_directory_under_its_mount)
{
    static const char mounts[] = CPU "\n" MEMORY "\n" UNIFIED "\n";
    check_directory(mounts, CGROUP_V1, "/a/b", "/sys/fs/cgroup/memory/a/b",
                    "/sys/fs/cgroup/memory");
    check_directory(mounts, CGROUP_V1, "/", "/sys/fs/cgroup/memory",
                    "/sys/fs/cgroup/memory");
    check_directory(mounts, CGROUP_V2, "/a", "/sys/fs/cgroup/unified/a",
                    "/sys/fs/cgroup/unified");
    check_directory(CPU "\n", CGROUP_V1, "/a", NULL, NULL);
    check_directory(CPU "\n", CGROUP_V2, "/a", NULL, NULL);
    check_directory("", CGROUP_V2, "/a", NULL, NULL);
}

/* A container without a namespace of its own sees the host's paths. */
Test(cgroup_text, what_is_above_the_mounts_root_is_not_there)
{
    static const char mounts[] =
        "1 2 0:3 /docker/1f /sys/fs/cgroup/memory ro shared:5 master:6 - "
        "cgroup cgroup rw,memory\n";
    check_directory(mounts, CGROUP_V1, "/docker/1f", "/sys/fs/cgroup/memory",
                    "/sys/fs/cgroup/memory");
    check_directory(mounts, CGROUP_V1, "/docker/1f/in",
                    "/sys/fs/cgroup/memory/in", "/sys/fs/cgroup/memory");
    check_directory(mounts, CGROUP_V1, "/docker/1f2", NULL, NULL);
    check_directory(mounts, CGROUP_V1, "/docker", NULL, NULL);
    check_directory(mounts, CGROUP_V1, "/", NULL, NULL);
}

Test(cgroup_text, a_namespace_shows_what_is_under_its_root)
{
    static const char own[] = "1 2 0:3 / /c rw - cgroup2 none rw\n";
    check_directory(own, CGROUP_V2, "/", "/c", "/c");
    check_directory(own, CGROUP_V2, "/../sibling", NULL, NULL);
    check_directory(own, CGROUP_V2, "/..", NULL, NULL);
    check_directory(own, CGROUP_V2, "/a..b/..c", "/c/a..b/..c", "/c");
    /* Mounted by somebody one level further out. */
    static const char outer[] = "1 2 0:3 /.. /c rw - cgroup2 none rw\n";
    check_directory(outer, CGROUP_V2, "/../sibling", "/c/sibling", "/c");
    check_directory(outer, CGROUP_V2, "/", NULL, NULL);
}

Test(cgroup_text, of_two_mounts_that_with_more_ancestors_counts)
{
    check_directory("1 2 0:3 /a/b /inner rw - cgroup2 none rw\n"
                    "1 2 0:3 /a /outer rw - cgroup2 none rw\n"
                    "1 2 0:3 /a/b/c /last rw - cgroup2 none rw\n",
                    CGROUP_V2, "/a/b/c/d", "/outer/b/c/d", "/outer");
}

Test(cgroup_text, a_blank_in_a_mount_point_is_a_blank)
{
    check_directory("1 2 0:3 / /a\\040b\\134\\0 rw - cgroup2 none rw\n",
                    CGROUP_V2, "/x", "/a b\\\\0/x", "/a b\\\\0");
}

Test(cgroup_text, a_line_cut_short_is_no_mount)
{
    for (size_t n = 0; n < strlen(MEMORY); n++) {
        char *text = xstrndup(MEMORY, n);
        check_directory(text, CGROUP_V1, "/a", NULL, NULL);
        free(text);
    }
}

/* ---- numbers ----------------------------------------------------------- */

Test(cgroup_text, a_number_is_all_digits)
{
    check_eq(cgroup_text_number("0\n"), 0);
    check_eq(cgroup_text_number("209715200"), 209715200);
    check_eq(cgroup_text_number("9223372036854771712\n"), 9223372036854771712);
    static const char *const none[] = {
        "", "\n", "max\n", "-1\n", "12x\n", " 12\n", "99999999999999999999\n",
    };
    for (size_t i = 0; i < countof(none); i++)
        check_eq(cgroup_text_number(none[i]), CGROUP_UNKNOWN);
}

Test(cgroup_text, no_limit_is_unknown)
{
    check_eq(cgroup_text_limit(209715200), 209715200);
    check_eq(cgroup_text_limit(0), 0);
    check_eq(cgroup_text_limit(CGROUP_UNKNOWN), CGROUP_UNKNOWN);
    check_eq(cgroup_text_limit(9223372036854771712), CGROUP_UNKNOWN);
    check_eq(cgroup_text_limit(9223372036854710272), CGROUP_UNKNOWN);
}

Test(cgroup_text, a_value_stands_behind_its_whole_word)
{
    static const char stat[] = "anon 1\nfile 2\nfile_mapped 3\nshmem 4";
    check_eq(cgroup_text_value(stat, "anon"), 1);
    check_eq(cgroup_text_value(stat, "file"), 2);
    check_eq(cgroup_text_value(stat, "file_mapped"), 3);
    check_eq(cgroup_text_value(stat, "shmem"), 4);
    check_eq(cgroup_text_value(stat, "mapped"), CGROUP_UNKNOWN);
    check_eq(cgroup_text_value(stat, "fil"), CGROUP_UNKNOWN);
    check_eq(cgroup_text_value("", "anon"), CGROUP_UNKNOWN);
    check_eq(cgroup_text_value("anon\nanon x\nanon 5", "anon"), CGROUP_UNKNOWN);
}
