#include "collector/cgroup_text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "include/attrs.h"
#include "include/xalloc.h"

/* Version 1 says no limit by the greatest multiple of a page there is. */
#define NO_LIMIT ((int64_t)1 << 62)

/* Some bytes of a text, which is not theirs. */
struct words {
    const char *at;
    size_t n_bytes;
};

/* What stands before the separator or the end; *rest goes behind it. */
static struct words
cut(struct words *rest, char separator)
{
    const char *end = memchr(rest->at, separator, rest->n_bytes);
    const size_t n = end == NULL ? rest->n_bytes : (size_t)(end - rest->at);
    const struct words part = {rest->at, n};
    const size_t n_gone = end == NULL ? n : n + 1;
    *rest = (struct words){rest->at + n_gone, rest->n_bytes - n_gone};
    return part;
}

static bool
is_word(struct words words, const char *word)
{
    return words.n_bytes == strlen(word) &&
           memcmp(words.at, word, words.n_bytes) == 0;
}

static bool
has_item(struct words list, const char *item)
{
    while (list.n_bytes != 0) {
        if (is_word(cut(&list, ','), item))
            return true;
    }
    return false;
}

/* ---- where a process is ------------------------------------------------ */

bool
cgroup_text_place(const char *text, struct cgroup_place *place)
{
    struct words lines = {text, strlen(text)};
    struct words unified = {0};
    while (lines.n_bytes != 0) {
        struct words path = cut(&lines, '\n');
        const struct words number = cut(&path, ':');
        const struct words controllers = cut(&path, ':');
        if (path.n_bytes == 0 || path.at[0] != '/')
            continue;
        if (has_item(controllers, "memory")) {
            place->version = CGROUP_V1;
            place->path = xstrndup(path.at, path.n_bytes);
            return true;
        }
        if (is_word(number, "0") && controllers.n_bytes == 0)
            unified = path;
    }
    if (unified.at == NULL)
        return false;
    place->version = CGROUP_V2;
    place->path = xstrndup(unified.at, unified.n_bytes);
    return true;
}

/* ---- where that is mounted --------------------------------------------- */

struct mount {
    struct words root;
    struct words point;
};

/* False: the line is no mount of that hierarchy. */
static bool
parse_mount(struct words line, enum cgroup_version version, struct mount *mount)
{
    for (unsigned i = 0; i < 3; i++)
        cut(&line, ' '); /* its number, its parent's, its device */
    mount->root = cut(&line, ' ');
    mount->point = cut(&line, ' ');
    while (line.n_bytes != 0 && !is_word(cut(&line, ' '), "-"))
        continue;
    const struct words type = cut(&line, ' ');
    cut(&line, ' '); /* its source */
    if (mount->point.n_bytes == 0)
        return false;
    if (version == CGROUP_V2)
        return is_word(type, "cgroup2");
    return is_word(type, "cgroup") && has_item(line, "memory");
}

/* How much of the path the mount's root is; false: it does not show it. */
static bool
shows(const struct mount *mount, const char *path, size_t *n_bytes)
{
    const size_t n = is_word(mount->root, "/") ? 0 : mount->root.n_bytes;
    *n_bytes = n;
    return strncmp(path, mount->root.at, n) == 0 &&
           (path[n] == '/' || path[n] == '\0');
}

static bool
is_octal(const char *at, size_t n_bytes)
{
    if (n_bytes < 4 || at[0] != '\\')
        return false;
    for (size_t i = 1; i < 4; i++) {
        if (at[i] < '0' || at[i] > '7')
            return false;
    }
    return true;
}

/* Blanks and the like are written as "\040". */
static size_t
unescape(char *to, struct words from)
{
    size_t n = 0;
    for (size_t i = 0; i < from.n_bytes; i++) {
        const char *at = from.at + i;
        if (is_octal(at, from.n_bytes - i)) {
            to[n++] =
                (char)((at[1] - '0') << 6 | (at[2] - '0') << 3 | (at[3] - '0'));
            i += 3;
        } else {
            to[n++] = *at;
        }
    }
    return n;
}

static bool
leads_up(const char *path)
{
    return strstr(path, "/../") != NULL ||
           (strlen(path) >= 3 && strcmp(path + strlen(path) - 3, "/..") == 0);
}

char *
cgroup_text_directory(const char *mountinfo, const struct cgroup_place *place,
                      size_t *n_top_bytes)
{
    struct words lines = {mountinfo, strlen(mountinfo)};
    struct mount found = {0};
    size_t n_root = SIZE_MAX;
    while (lines.n_bytes != 0) {
        struct mount mount;
        size_t n;
        /* Of several the one that shows most of what is above. */
        if (parse_mount(cut(&lines, '\n'), place->version, &mount) &&
            shows(&mount, place->path, &n) && n < n_root) {
            found = mount;
            n_root = n;
        }
    }
    if (n_root == SIZE_MAX || leads_up(place->path + n_root))
        return NULL;
    const char *below = place->path + n_root;
    char *directory = xcalloc(1, found.point.n_bytes + strlen(below) + 1);
    *n_top_bytes = unescape(directory, found.point);
    if (strcmp(below, "/") != 0)
        strcpy(directory + *n_top_bytes, below);
    return directory;
}

/* ---- numbers ----------------------------------------------------------- */

int64_t
cgroup_text_number(const char *text)
{
    char *end;
    if (text[0] < '0' || text[0] > '9')
        return CGROUP_UNKNOWN;
    errno = 0;
    const long long number = strtoll(text, &end, 10);
    if (errno != 0 || (*end != '\n' && *end != '\0'))
        return CGROUP_UNKNOWN;
    return number;
}

int64_t
cgroup_text_limit(int64_t number)
{
    return number >= NO_LIMIT ? CGROUP_UNKNOWN : number;
}

int64_t
cgroup_text_value(const char *text, const char *word)
{
    const size_t n = strlen(word);
    while (text != NULL && *text != '\0') {
        if (strncmp(text, word, n) == 0 && text[n] == ' ')
            return cgroup_text_number(text + n + 1);
        text = strchr(text, '\n');
        text = text == NULL ? NULL : text + 1;
    }
    return CGROUP_UNKNOWN;
}
