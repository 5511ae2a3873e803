#include "tests/unit/scratch.h"

#include <err.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct scratch
scratch_create(void)
{
    struct scratch scratch;
    const char *temporary = getenv("TMPDIR");
    snprintf(scratch.path, sizeof(scratch.path), "%s/residue-unit-XXXXXX",
             temporary == NULL ? "/tmp" : temporary);
    if (mkdtemp(scratch.path) == NULL)
        err(1, "%s cannot be made", scratch.path);
    return scratch;
}

static int
remove_one(const char *path, const struct stat *is, int kind, struct FTW *ftw)
{
    (void)is;
    (void)kind;
    (void)ftw;
    return remove(path);
}

void
scratch_remove(const struct scratch *scratch)
{
    nftw(scratch->path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

char *
scratch_path(const struct scratch *scratch, const char *name,
             char where[SCRATCH_PATH_BYTES])
{
    const int n =
        snprintf(where, SCRATCH_PATH_BYTES, "%s/%s", scratch->path, name);
    if (n >= SCRATCH_PATH_BYTES)
        errx(1, "%s/%s is too long", scratch->path, name);
    return where;
}

char *
scratch_file(const struct scratch *scratch, const char *name, const void *bytes,
             size_t n_bytes, mode_t mode, char where[SCRATCH_PATH_BYTES])
{
    scratch_path(scratch, name, where);
    const int fd = open(where, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, bytes, n_bytes) != (ssize_t)n_bytes ||
        fchmod(fd, mode) != 0)
        err(1, "%s cannot be written", where);
    close(fd);
    return where;
}
