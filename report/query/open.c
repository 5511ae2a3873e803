#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "include/rendezvous.h"
#include "include/xalloc.h"
#include "report/query/statement.h"

enum {
    BUSY_MS = 2000,
    HEADER_BYTES = 100,   /* of an SQLite file */
    USER_VERSION_AT = 60, /* in it, big-endian */
    APPLICATION_ID_AT = 68,
};

const char *
query_complaint(const struct query *query)
{
    return query->complaint;
}

bool
query_is_damaged(const struct query *query)
{
    return query->is_damaged;
}

bool
query_is_of_other_version(const struct query *query)
{
    return query->is_of_other_version;
}

const char *
query_path(const struct query *query)
{
    return query->path;
}

const char *
query_moment(const struct query *query)
{
    return query->moment;
}

int64_t
query_pid(const struct query *query)
{
    return query->pid;
}

/* ---- opening ----------------------------------------------------------- */

/* The recording that a pid is in, by the registry. NULL: it is in none. */
static char *
find_by_pid(const char *pid)
{
    char directory[RENDEZVOUS_PATH_BYTES];
    char target[PATH_MAX];
    if (!rendezvous_directory(directory))
        return NULL;
    char *link = xasprintf("%s/pid.%s", directory, pid);
    const ssize_t n = readlink(link, target, sizeof(target) - 1);
    free(link);
    return n < 0 ? NULL : xstrndup(target, (size_t)n);
}

static bool
is_number(const char *word)
{
    return word[0] != '\0' && strspn(word, "0123456789") == strlen(word);
}

/* Takes target apart into path and moment. */
static void
parse_target(struct query *query, const char *target)
{
    const char *at = strrchr(target, '@');
    query->moment = xstrdup("end");
    query->path = xstrdup(target);
    if (at != NULL && access(target, F_OK) != 0) {
        free(query->moment);
        query->moment = xstrdup(at + 1);
        query->path[at - target] = '\0';
    }
    if (is_number(query->path) && access(query->path, F_OK) != 0) {
        char *path = find_by_pid(query->path);
        if (path == NULL) {
            query_complain(
                query,
                "no traced process has pid %s; name a recording, or read the "
                "process with `residue inspect %s`",
                query->path, query->path);
            return;
        }
        query->pid = atoll(query->path);
        free(query->path);
        query->path = path;
    }
}

static uint32_t
big_endian(const unsigned char *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 |
           (uint32_t)bytes[2] << 8 | bytes[3];
}

static void
complain_of_version(struct query *query, uint32_t version)
{
    query->is_of_other_version = true;
    query_complain(query,
                   "%s: a recording of version %u, and this residue reads "
                   "version %d; use the residue that wrote it",
                   query->path, version, RECORDING_VERSION);
}

/* Looks at the file before SQLite does, for a better word about it. */
static void
check_file(struct query *query)
{
    unsigned char header[HEADER_BYTES];
    const int fd = open(query->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        query_complain(query, "%s: %s", query->path, strerror(errno));
        return;
    }
    struct stat is;
    const bool is_file = fstat(fd, &is) == 0 && S_ISREG(is.st_mode);
    const ssize_t n = is_file ? read(fd, header, sizeof(header)) : -1;
    close(fd);
    if (!is_file)
        query_complain(query, "%s: not a file", query->path);
    else if (n < HEADER_BYTES || memcmp(header, "SQLite format 3", 16) != 0 ||
             big_endian(header + APPLICATION_ID_AT) != RECORDING_APPLICATION_ID)
        query_complain(
            query, "%s: not a recording of residue; `residue run` makes one",
            query->path);
    else if (big_endian(header + USER_VERSION_AT) > RECORDING_VERSION ||
             big_endian(header + USER_VERSION_AT) < RECORDING_OLDEST)
        complain_of_version(query, big_endian(header + USER_VERSION_AT));
}

static bool
copy_file(const char *from, const char *to)
{
    char bytes[65536];
    const int in = open(from, O_RDONLY | O_CLOEXEC);
    const int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ssize_t n = -1;
    while (in >= 0 && out >= 0 && (n = read(in, bytes, sizeof(bytes))) > 0) {
        if (write(out, bytes, (size_t)n) != n) {
            n = -1;
            break;
        }
    }
    if (in >= 0)
        close(in);
    if (out >= 0)
        close(out);
    return n == 0;
}

/* Where the directory is read-only, SQLite needs a copy for its own files. */
static void
open_copy(struct query *query)
{
    const char *temporary = getenv("TMPDIR");
    query->copy = xasprintf("%s/residue.%d.rec",
                            temporary == NULL ? "/tmp" : temporary, getpid());
    char *wal = xasprintf("%s-wal", query->path);
    char *wal_copy = xasprintf("%s-wal", query->copy);
    const bool is_copied = copy_file(query->path, query->copy) &&
                           (access(wal, F_OK) != 0 || copy_file(wal, wal_copy));
    free(wal);
    free(wal_copy);
    sqlite3_close(query->database);
    query->database = NULL;
    if (!is_copied || sqlite3_open_v2(query->copy, &query->database,
                                      SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK)
        query_complain(
            query,
            "%s: its directory cannot be written to, and no copy could be "
            "made in %s",
            query->path, temporary == NULL ? "/tmp" : temporary);
}

/* Whether a first read works; what it says is kept for the complaint. */
static bool
can_read(struct query *query)
{
    return sqlite3_exec(query->database, "SELECT 1 FROM sqlite_master LIMIT 1",
                        NULL, NULL, NULL) == SQLITE_OK;
}

static bool
is_recording(struct query *query)
{
    return query_distrust(query) &&
           sqlite3_exec(query->database, "SELECT 1 FROM meta LIMIT 1", NULL,
                        NULL, NULL) == SQLITE_OK;
}

static void
open_database(struct query *query)
{
    const int result = sqlite3_open_v2(query->path, &query->database,
                                       SQLITE_OPEN_READONLY, NULL);
    sqlite3_busy_timeout(query->database, BUSY_MS);
    if (result != SQLITE_OK || !can_read(query)) {
        const int code = sqlite3_errcode(query->database);
        if (code == SQLITE_CANTOPEN || code == SQLITE_READONLY)
            open_copy(query);
    }
    if (query->complaint == NULL && !is_recording(query))
        query_complain_of_file(query);
}

struct query *
query_open(const char *target)
{
    struct query *query = xcalloc(1, sizeof(*query));
    parse_target(query, target);
    if (query->complaint == NULL)
        check_file(query);
    if (query->complaint == NULL)
        open_database(query);
    if (query->complaint == NULL && !query_is_moment(query, query->moment))
        query_complain(
            query,
            "%s: there is no moment '%s' in it; `start`, `peak`, `end`, a "
            "time like 01:10.5 or a mark's text are moments",
            query->path, query->moment);
    return query;
}

void
query_close(struct query *query)
{
    if (query == NULL)
        return;
    sqlite3_close(query->database);
    if (query->copy != NULL) {
        static const char *const endings[] = {"", "-wal", "-shm"};
        for (size_t i = 0; i < countof(endings); i++) {
            char *path = xasprintf("%s%s", query->copy, endings[i]);
            unlink(path);
            free(path);
        }
    }
    free(query->copy);
    free(query->path);
    free(query->moment);
    free(query->complaint);
    free(query);
}
