#include "collector/naming.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "collector/names_file.h"
#include "include/xalloc.h"
#include "tests/unit/check.h"
#include "tests/unit/scratch.h"

/* A copy of libc, which is there or not, and an address in it. */
static struct scratch scratch;
static char path[SCRATCH_PATH_BYTES];
static char libc[SCRATCH_PATH_BYTES];
static struct sites_image image;
static struct catalogue *catalogue;
static struct naming *naming;

static void
set_up(void)
{
    Dl_info info;
    const uintptr_t function = (uintptr_t)dlsym(RTLD_DEFAULT, "getpid");
    check_true(dladdr((void *)function, &info) != 0);
    snprintf(libc, sizeof(libc), "%s", info.dli_fname);
    const int fd = open(libc, O_RDONLY | O_CLOEXEC);
    const struct build_id id = names_file_build_id(fd);
    close(fd);
    scratch = scratch_create();
    image.module.path = scratch_path(&scratch, "libc", path);
    image.module.build_id_bytes = id.n_bytes;
    memcpy(image.module.build_id, id.bytes, sizeof(id.bytes));
    catalogue = catalogue_create();
    naming = naming_create(catalogue);
    const struct catalogue_frame frame = {
        .offset = function - (uintptr_t)info.dli_fbase + 1,
        .module = catalogue_module(catalogue, &image.module),
    };
    check_eq(catalogue_frame(catalogue, &frame), 1);
}

static void
tear_down(void)
{
    naming_destroy(naming);
    catalogue_destroy(catalogue);
    scratch_remove(&scratch);
}

TestSuite(naming, .init = set_up, .fini = tear_down, .timeout = 30);

static void
put_file(void)
{
    char *command = xasprintf("cp '%s' '%s'", libc, path);
    cr_assert(system(command) == 0, "%s", command);
    free(command);
}

/* How many functions the frame is known to stand in. */
static size_t
count_names(void)
{
    struct site_news *news = site_news_create();
    check_eq(naming_say(naming, news), 0);
    const size_t n = news->n_names;
    site_news_destroy(news);
    return n;
}

Test(naming, a_file_that_is_there_gives_names)
{
    put_file();
    naming_hear(naming, getpid(), &image);
    check_true(count_names() != 0);
}

Test(naming, a_file_that_was_not_there_is_tried_once_by_a_process)
{
    naming_hear(naming, getpid(), &image);
    put_file();
    naming_hear(naming, getpid(), &image);
    naming_hear(naming, getpid(), &image);
    check_eq(count_names(), 0);
}

Test(naming, another_process_may_have_the_file)
{
    naming_hear(naming, getpid(), &image);
    put_file();
    naming_hear(naming, getppid(), &image);
    check_true(count_names() != 0);
}

/* Two that tell of it in turn do not keep the collector at it. */
Test(naming, a_file_that_nobody_has_is_given_up)
{
    for (unsigned i = 0; i < 200; i++)
        naming_hear(naming, i % 2 == 0 ? getpid() : getppid(), &image);
    put_file();
    naming_hear(naming, getpid(), &image);
    naming_hear(naming, getppid(), &image);
    check_eq(count_names(), 0);
}
