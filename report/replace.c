#include "report/replace.h"

#include <ctype.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "include/xalloc.h"
#include "report/control.h"
#include "report/query/query.h"

static const char page_start[] = "<!doctype html>";

static char *
refuse(const char *path, const char *why)
{
    return xasprintf("%s: %s", path, why);
}

/* NULL: there is a file, we may replace files, and it is an ordinary one. */
static char *
check_ordinary(const char *path, const struct stat *is, bool is_asked_to)
{
    if (S_ISDIR(is->st_mode))
        return refuse(path, "it is a directory; name a file in it");
    if (!S_ISREG(is->st_mode))
        return refuse(path, "it is no file; name one");
    if (!is_asked_to)
        return refuse(path, "it exists; -f replaces it");
    return NULL;
}

static bool
is_being_written(struct query *query)
{
    char *socket = query_meta(query, "socket");
    const int fd = socket == NULL ? -1 : control_connect(socket);
    free(socket);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

char *
replace_recording(const char *path, bool is_asked_to)
{
    struct stat is;
    if (stat(path, &is) != 0)
        return NULL;
    char *complaint = check_ordinary(path, &is, is_asked_to);
    if (complaint != NULL || is.st_size == 0)
        return complaint;
    struct query *query = query_open(path);
    if (query_complaint(query) != NULL && !query_is_damaged(query) &&
        !query_is_of_other_version(query))
        complaint =
            refuse(path, "it is not a recording, and stays; name another file");
    else if (is_being_written(query))
        complaint = refuse(path, "it is being written; name another file");
    query_close(query);
    return complaint;
}

char *
replace_page(const char *path, bool is_asked_to)
{
    struct stat is;
    char start[sizeof(page_start)] = "";
    if (stat(path, &is) != 0)
        return NULL;
    char *complaint = check_ordinary(path, &is, is_asked_to);
    if (complaint != NULL || is.st_size == 0)
        return complaint;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd < 0 ? -1 : read(fd, start, sizeof(start) - 1);
    if (fd >= 0)
        close(fd);
    if (n != sizeof(start) - 1 || strcasecmp(start, page_start) != 0)
        return refuse(path, "it is not a page, and stays; name another file");
    return NULL;
}

char *
replace_default_name(const char *program, pid_t pid)
{
    const char *slash = strrchr(program, '/');
    char *name = xstrdup(slash == NULL ? program : slash + 1);
    for (char *letter = name; *letter != '\0'; letter++) {
        if (!isalnum((unsigned char)*letter) && strchr("._-", *letter) == NULL)
            *letter = '_';
    }
    char *path = xasprintf("residue.%s.%d.rec", name, pid);
    free(name);
    return path;
}

void
replace_remove(const char *path)
{
    static const char *const endings[] = {"", "-wal", "-shm", "-journal"};
    for (size_t i = 0; i < countof(endings); i++) {
        char *file = xasprintf("%s%s", path, endings[i]);
        unlink(file);
        free(file);
    }
}
