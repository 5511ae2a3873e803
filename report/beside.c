#include "report/beside.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "include/xalloc.h"

/* From the directory of this program: installed, then as meson builds. */
static const char *const collectors[] = {
    "residued",
    "../collector/residued",
    NULL,
};
static const char *const preloads[] = {
    "../lib/residue/libresidue-preload.so",
    "../lib/x86_64-linux-gnu/residue/libresidue-preload.so",
    "../lib64/residue/libresidue-preload.so",
    "../preload/libresidue-preload.so",
    NULL,
};

static char *
find(const char *const *candidates, int rights)
{
    char own[PATH_MAX];
    const ssize_t n = readlink("/proc/self/exe", own, sizeof(own) - 1);
    if (n <= 0)
        return NULL;
    own[n] = '\0';
    *strrchr(own, '/') = '\0';
    for (; *candidates != NULL; candidates++) {
        char *path = xasprintf("%s/%s", own, *candidates);
        char *absolute = realpath(path, NULL);
        free(path);
        if (absolute != NULL && access(absolute, rights) == 0)
            return absolute;
        free(absolute);
    }
    return NULL;
}

char *
beside_collector(void)
{
    return find(collectors, X_OK);
}

char *
beside_preload(void)
{
    return find(preloads, R_OK);
}
