#include "preload/environment.h"

#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "include/image.h"
#include "include/rendezvous.h"
#include "preload/raw.h"

#define PRELOAD_VARIABLE "LD_PRELOAD="
#define SOCKET_VARIABLE RENDEZVOUS_VARIABLE "="
#define DISABLED "RESIDUE_DISABLE=1"

/* Tells the new image what it is to take out again: some of these letters. */
#define PUT_BACK_VARIABLE "RESIDUE_PUT_BACK="

enum put_back {
    PUT_BACK_VARIABLE_WHOLE = 'v', /* LD_PRELOAD, which was not there */
    PUT_BACK_ENTRY = 'e',          /* ours, in one that was */
    PUT_BACK_SOCKET = 's',
};

enum { OWN_PATH_BYTES = 4096 };

static struct {
    char own_path[OWN_PATH_BYTES];
    size_t own_bytes;
    char socket[RENDEZVOUS_PATH_BYTES]; /* empty: nothing is put back */
    bool is_socket_named;               /* by a variable */
} environment;

/*
 * A child of vfork that has its exec leaves its copy in its parent's memory,
 * whose thread this is: the next one takes its place.
 */
static __thread struct {
    void *start;
    size_t n_bytes;
} left __attribute__((tls_model("initial-exec")));

void
environment_init(const char *own_path)
{
    const size_t n_bytes = strlen(own_path);
    if (n_bytes >= sizeof(environment.own_path))
        return;
    memcpy(environment.own_path, own_path, n_bytes + 1);
    environment.own_bytes = n_bytes;
}

void
environment_set_socket(const char *path, bool is_named)
{
    const size_t n_bytes = strlen(path);
    if (n_bytes >= sizeof(environment.socket))
        return;
    memcpy(environment.socket, path, n_bytes + 1);
    environment.is_socket_named = is_named;
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

/* ---- copies ------------------------------------------------------------ */

/* Memory for an array and its texts; NULL: there is none. */
static char *
make_copy(struct environment *result, size_t n_bytes)
{
    if (left.start != NULL)
        raw_unmap(left.start, left.n_bytes);
    left.start = raw_map(n_bytes, -1, 0);
    left.n_bytes = n_bytes;
    result->copy = left.start;
    result->copy_bytes = n_bytes;
    return left.start;
}

void
environment_leave(void)
{
    if (left.start != NULL)
        raw_unmap(left.start, left.n_bytes);
    left.start = NULL;
}

static size_t
count_variables(char *const *variables)
{
    size_t n = 0;
    while (variables[n] != NULL)
        n++;
    return n;
}

/*
 * A copy of the array whose LD_PRELOAD lacks our entry, array and string in one
 * mapping.
 */
static void
leave_out(struct environment *result, size_t preload_at)
{
    char *const *variables = result->variables;
    const size_t n = count_variables(variables);
    const char *was = variables[preload_at];
    const size_t array_bytes = (n + 1) * sizeof(char *);
    char *copy = make_copy(result, array_bytes + strlen(was) + 1);
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
}

/* Where the text ends. */
static char *
append(char *at, const char *text)
{
    const size_t n_bytes = strlen(text);
    memcpy(at, text, n_bytes + 1);
    return at + n_bytes;
}

/* LD_PRELOAD with our entry first: another preload may call what we hook. */
static char *
append_entry(char *at, const char *others)
{
    at = append(append(at, PRELOAD_VARIABLE), environment.own_path);
    return others == NULL ? at : append(append(at, ":"), others);
}

/* A copy with our entry, our socket, and which of them it had not. */
static void
put_back(struct environment *result, bool has_entry, bool has_socket)
{
    static char *const none[] = {NULL};
    char *const *variables =
        result->variables == NULL ? none : result->variables;
    const size_t n = count_variables(variables);
    const size_t preload_at = variable_at(variables, PRELOAD_VARIABLE);
    const char *others = variables[preload_at] == NULL
                             ? NULL
                             : variables[preload_at] + strlen(PRELOAD_VARIABLE);
    const size_t array_bytes = (n + 4) * sizeof(char *);
    char *copy = make_copy(
        result, array_bytes + sizeof(PRELOAD_VARIABLE) + environment.own_bytes +
                    1 + (others == NULL ? 0 : strlen(others)) +
                    sizeof(SOCKET_VARIABLE) + sizeof(environment.socket) +
                    sizeof(PUT_BACK_VARIABLE) + 2);
    if (copy == NULL)
        return;

    char letters[3] = "";
    size_t n_letters = 0;
    char *text = copy + array_bytes;
    char **array = (char **)(void *)copy;
    memcpy(array, variables, n * sizeof(*array));
    size_t at = n;
    if (!has_entry) {
        array[others == NULL ? at++ : preload_at] = text;
        letters[n_letters++] =
            others == NULL ? PUT_BACK_VARIABLE_WHOLE : PUT_BACK_ENTRY;
        text = append_entry(text, others) + 1;
    }
    if (!has_socket) {
        array[at++] = text;
        letters[n_letters++] = PUT_BACK_SOCKET;
        text = append(append(text, SOCKET_VARIABLE), environment.socket) + 1;
    }
    array[at++] = text;
    append(append(text, PUT_BACK_VARIABLE), letters);
    array[at] = NULL;
    result->variables = array;
    result->is_followed = true;
}

/* ---- at an exec -------------------------------------------------------- */

/* Its value, or NULL. */
static const char *
value_of(char *const variables[], const char *prefix)
{
    if (variables == NULL)
        return NULL;
    const char *variable = variables[variable_at(variables, prefix)];
    return variable == NULL ? NULL : variable + strlen(prefix);
}

/* Not so once the process has another root. */
static bool
is_reachable(const char *path)
{
    return raw_call3(SYS_access, (long)(uintptr_t)path, R_OK, 0) == 0;
}

/* Whether a new image is to have what somebody took out of its environment. */
static bool
may_put_back(char *const variables[])
{
    return environment.socket[0] != '\0' && environment.own_path[0] == '/' &&
           is_reachable(environment.socket) &&
           value_of(variables, DISABLED) == NULL &&
           value_of(variables, PUT_BACK_VARIABLE) == NULL;
}

struct environment
environment_for(const char *path, char *const variables[])
{
    struct environment result = {.variables = variables};
    const char *list = value_of(variables, PRELOAD_VARIABLE);
    const bool has_entry = list != NULL && find_own_entry(list) != NULL;
    const bool has_socket =
        value_of(variables, SOCKET_VARIABLE) != NULL ||
        (has_entry && !environment.is_socket_named); /* there is another way */
    if (path == NULL || (!has_entry && !may_put_back(variables)))
        return result;

    const enum image image = image_inspect(path);
    const bool can_load =
        image == IMAGE_GLIBC && is_reachable(environment.own_path);
    result.is_followed = has_entry && can_load;
    if (can_load && !(has_entry && has_socket) && may_put_back(variables))
        put_back(&result, has_entry, has_socket);
    else if (has_entry && (image == IMAGE_MUSL || image == IMAGE_OTHER_ABI ||
                           image == IMAGE_OTHER_LINKER ||
                           (image == IMAGE_GLIBC && !can_load)))
        leave_out(&result, variable_at(variables, PRELOAD_VARIABLE));
    return result;
}

void
environment_release(struct environment *result)
{
    if (result->copy != NULL)
        raw_unmap(result->copy, result->copy_bytes);
    if (result->copy == left.start)
        left.start = NULL;
    result->copy = NULL;
}

/* ---- in the new image -------------------------------------------------- */

static void
take_out(const char *prefix)
{
    size_t at = variable_at(environ, prefix);
    for (; environ[at] != NULL; at++)
        environ[at] = environ[at + 1];
}

void
environment_take_out(void)
{
    const char *letters = value_of(environ, PUT_BACK_VARIABLE);
    if (letters == NULL)
        return;
    const char *list = value_of(environ, PRELOAD_VARIABLE);
    take_out(PUT_BACK_VARIABLE);
    if (strchr(letters, PUT_BACK_SOCKET) != NULL)
        take_out(SOCKET_VARIABLE);
    if (strchr(letters, PUT_BACK_VARIABLE_WHOLE) != NULL)
        take_out(PRELOAD_VARIABLE);
    else if (list != NULL && strchr(letters, PUT_BACK_ENTRY) != NULL)
        erase_own_entries((char *)(uintptr_t)list);
}

/* ---- paths ------------------------------------------------------------- */

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
