#include "preload/environment.h"

#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "include/image.h"
#include "preload/raw.h"

#define PRELOAD_VARIABLE "LD_PRELOAD="

enum { OWN_PATH_BYTES = 4096 };

static struct {
    char own_path[OWN_PATH_BYTES];
    size_t own_bytes;
} environment;

void
environment_init(const char *own_path)
{
    const size_t n_bytes = strlen(own_path);
    if (n_bytes >= sizeof(environment.own_path))
        return;
    memcpy(environment.own_path, own_path, n_bytes + 1);
    environment.own_bytes = n_bytes;
}

static size_t
variable_at(char *const variables[], const char *prefix)
{
    size_t i = 0;
    while (variables[i] != NULL &&
           strncmp(variables[i], prefix, strlen(prefix)) != 0)
        i++;
    return i;
}

/* LD_PRELOAD's separators (ld.so(8)). */
static bool
is_separator(char letter)
{
    return letter == ' ' || letter == ':' || letter == '\0';
}

/* Our entry in a list of preloads, or NULL. */
static const char *
find_own_entry(const char *list)
{
    if (environment.own_bytes == 0)
        return NULL;
    const char *at = list;
    while ((at = strstr(at, environment.own_path)) != NULL) {
        const bool starts = at == list || is_separator(at[-1]);
        if (starts && is_separator(at[environment.own_bytes]))
            return at;
        at += environment.own_bytes;
    }
    return NULL;
}

/* Takes our entry out of a list, as often as it stands there. */
static void
erase_own_entries(char *list)
{
    char *entry = (char *)(uintptr_t)find_own_entry(list);
    while (entry != NULL) {
        const char *tail = entry + environment.own_bytes;
        if (*tail != '\0')
            tail++; /* the separator goes with the entry */
        memmove(entry, tail, strlen(tail) + 1);
        entry = (char *)(uintptr_t)find_own_entry(list);
    }
}

/*
 * A copy of the array whose LD_PRELOAD lacks our entry, array and string in one
 * mapping.
 */
static void
leave_out(struct environment *result, size_t preload_at)
{
    char *const *variables = result->variables;
    size_t n = 0;
    while (variables[n] != NULL)
        n++;
    const char *was = variables[preload_at];
    const size_t array_bytes = (n + 1) * sizeof(char *);
    const size_t n_bytes = array_bytes + strlen(was) + 1;
    char *copy = raw_map(n_bytes, -1, 0);
    if (copy == NULL)
        return;

    char *text = copy + array_bytes;
    char *list = text + strlen(PRELOAD_VARIABLE);
    memcpy(text, was, strlen(was) + 1);
    erase_own_entries(list);

    char **array = (char **)(void *)copy;
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (i != preload_at)
            array[at++] = variables[i];
        else if (*list != '\0')
            array[at++] = text;
    }
    array[at] = NULL;
    result->variables = array;
    result->copy = copy;
    result->copy_bytes = n_bytes;
}

struct environment
environment_for(const char *path, char *const variables[])
{
    struct environment result = {.variables = variables};
    if (variables == NULL)
        return result;
    const size_t preload_at = variable_at(variables, PRELOAD_VARIABLE);
    const char *entry =
        variables[preload_at] == NULL
            ? NULL
            : find_own_entry(variables[preload_at] + strlen(PRELOAD_VARIABLE));
    if (entry == NULL || path == NULL)
        return result;

    const enum image image = image_inspect(path);
    result.is_followed = image == IMAGE_GLIBC;
    if (image == IMAGE_MUSL || image == IMAGE_OTHER_ABI ||
        image == IMAGE_OTHER_LINKER)
        leave_out(&result, preload_at);
    return result;
}

void
environment_release(struct environment *result)
{
    if (result->copy != NULL)
        raw_unmap(result->copy, result->copy_bytes);
    result->copy = NULL;
}

bool
environment_is_runnable(const char *path)
{
    struct stat is;
    return path != NULL &&
           raw_call3(SYS_stat, (long)(uintptr_t)path, (long)(uintptr_t)&is,
                     0) == 0 &&
           S_ISREG(is.st_mode) &&
           raw_call3(SYS_access, (long)(uintptr_t)path, X_OK, 0) == 0;
}

/* One directory of PATH and the file; false: too long, or not executable. */
static bool
try_directory(const char *directory, size_t directory_bytes, const char *file,
              char *path, size_t n_bytes)
{
    const size_t file_bytes = strlen(file);
    if (directory_bytes + file_bytes + 2 > n_bytes)
        return false;
    memcpy(path, directory, directory_bytes);
    size_t at = directory_bytes;
    if (at != 0)
        path[at++] = '/';
    memcpy(path + at, file, file_bytes + 1);
    return environment_is_runnable(path);
}

const char *
environment_find(const char *file, char *path, size_t n_bytes)
{
    if (strchr(file, '/') != NULL)
        return file;
    const char *list = "/bin:/usr/bin";
    if (environ != NULL) { /* clearenv(3) leaves none */
        const size_t at = variable_at(environ, "PATH=");
        if (environ[at] != NULL)
            list = environ[at] + strlen("PATH=");
    }
    for (;;) {
        const size_t length = strcspn(list, ":");
        if (try_directory(list, length, file, path, n_bytes))
            return path;
        if (list[length] == '\0')
            return NULL;
        list += length + 1;
    }
}
