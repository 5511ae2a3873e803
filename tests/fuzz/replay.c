/*
 * Feeds each file of the given directories to a fuzzer, as plain tests: what
 * was found once stays found.
 */
#include <dirent.h>
#include <err.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "include/xalloc.h"
#include "tests/fuzz/fuzz.h"

enum { MOST_SECONDS = 10 }; /* for a file; then it hangs */

static unsigned
replay_file(const char *directory, const char *name)
{
    char *path = xasprintf("%s/%s", directory, name);
    FILE *file = fopen(path, "rbe");
    if (file == NULL)
        err(1, "%s", path);
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;
    size_t capacity = 0;
    for (int byte; (byte = fgetc(file)) != EOF;) {
        XGROW(bytes, capacity, n_bytes);
        bytes[n_bytes++] = (uint8_t)byte;
    }
    fclose(file);
    /* Exactly as large as it is, for a sanitizer to see. */
    uint8_t *exact = xcalloc(n_bytes, 1);
    if (n_bytes != 0)
        memcpy(exact, bytes, n_bytes);
    printf("# %s\n", name);
    fflush(stdout);
    alarm(MOST_SECONDS);
    LLVMFuzzerTestOneInput(exact, n_bytes);
    printf("ok - %s\n", name);
    free(exact);
    free(bytes);
    free(path);
    return 1;
}

static unsigned
replay_directory(const char *path)
{
    DIR *directory = opendir(path);
    if (directory == NULL)
        err(1, "%s", path);
    unsigned n = 0;
    const struct dirent *entry;
    while ((entry = readdir(directory)) != NULL) {
        if (entry->d_name[0] != '.')
            n += replay_file(path, entry->d_name);
    }
    closedir(directory);
    return n;
}

int
main(int argc, char **argv)
{
    unsigned n = 0;
    printf("TAP version 13\n");
    for (int i = 1; i < argc; i++)
        n += replay_directory(argv[i]);
    printf("1..%u\n", n);
    return n == 0;
}
