#include "collector/cgroup.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uthash.h>

#include "include/attrs.h"
#include "include/text.h"
#include "include/xalloc.h"

enum {
    FRESH_US = 50000,   /* a reading serves all processes of a tick */
    KILL_US = 30000000, /* how long a kill may take to become a death */
    FILE_BYTES = 8192,  /* memory.stat has some 60 lines */
    LAG_PART = 8,       /* the kernel sums up a group now and then */
};

/* What each version calls it; NULL: it has no such thing. */
static const struct names {
    const char *current;
    const char *limit;
    const char *kills;
    const char *kernel;
    const char *anon_word; /* in memory.stat, like the next three */
    const char *file_word;
    const char *shmem_word;
    const char *kernel_word;
    const char *limit_word; /* of all ancestors together */
} names[] = {
    [CGROUP_V1] = {.current = "memory.usage_in_bytes",
                   .limit = "memory.limit_in_bytes",
                   .kills = "memory.oom_control",
                   .kernel = "memory.kmem.usage_in_bytes",
                   .anon_word = "total_rss",
                   .file_word = "total_cache",
                   .shmem_word = "total_shmem",
                   .limit_word = "hierarchical_memory_limit"},
    [CGROUP_V2] = {.current = "memory.current",
                   .limit = "memory.max",
                   .kills = "memory.events",
                   .anon_word = "anon",
                   .file_word = "file",
                   .shmem_word = "shmem",
                   .kernel_word = "kernel"      },
};
static_assert(countof(names) == N_CGROUP_VERSIONS, "names of each version");

struct cgroup_table {
    char *proc;
    struct cgroup *groups; /* those that may be found, by directory */
    struct cgroup *last;   /* the one found last, or NULL */
    char *last_place;
};

struct cgroup {
    struct cgroup_table *table;
    unsigned n_users;
    bool is_gone; /* removed by its owner; its name may be another's now */
    enum cgroup_version version;
    char *directory;
    size_t n_top_bytes; /* of it: the mount point */
    int current_fd;
    int kills_fd;
    int stat_fd;
    int kernel_fd;
    struct cgroup_pulse pulse;
    uint64_t read_us;
    uint64_t killed_us;  /* when the count was last seen to have grown */
    int64_t n_unclaimed; /* kills that no death was put down to yet */
    UT_hash_handle hh;
};

/* ---- files ------------------------------------------------------------- */

/* The whole of it, which the caller frees; NULL: it cannot be read. */
static char *
read_all(const char *path)
{
    char bytes[FILE_BYTES];
    struct text text = {0};
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    ssize_t n;
    while ((n = read(fd, bytes, sizeof(bytes))) > 0)
        text_add_bytes(&text, bytes, (size_t)n);
    close(fd);
    if (n < 0)
        text_finish(&text);
    return n < 0 ? NULL : text_take(&text);
}

/* An open file from its start; empty if that cannot be. */
static const char *
reread(int fd, char bytes[FILE_BYTES])
{
    const ssize_t n = fd < 0 ? -1 : pread(fd, bytes, FILE_BYTES - 1, 0);
    bytes[n < 0 ? 0 : n] = '\0';
    return bytes;
}

static int
open_in(const char *directory, const char *name)
{
    if (name == NULL)
        return -1;
    char *path = xasprintf("%s/%s", directory, name);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    free(path);
    return fd;
}

static void
close_all(const struct cgroup *group)
{
    const int fds[] = {group->current_fd, group->kills_fd, group->stat_fd,
                       group->kernel_fd};
    for (size_t i = 0; i < countof(fds); i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
}

/* ---- kills ------------------------------------------------------------- */

/* A group that was removed says nothing: what it said last stays. */
static void
count_kills(struct cgroup *group, uint64_t now_us)
{
    char bytes[FILE_BYTES];
    const int64_t before = group->pulse.oom_kills;
    const int64_t now =
        cgroup_text_value(reread(group->kills_fd, bytes), "oom_kill");
    if (now == CGROUP_UNKNOWN)
        return;
    group->pulse.oom_kills = now;
    if (before == CGROUP_UNKNOWN || now <= before)
        return;
    if (now_us - group->killed_us > KILL_US)
        group->n_unclaimed = 0;
    group->n_unclaimed += now - before;
    group->killed_us = now_us;
}

static void
read_pulse(struct cgroup *group, uint64_t now_us)
{
    char bytes[FILE_BYTES];
    group->read_us = now_us;
    group->pulse.current = cgroup_text_number(reread(group->current_fd, bytes));
    count_kills(group, now_us);
}

/* ---- finding ----------------------------------------------------------- */

struct cgroup_table *
cgroup_table_create(const char *proc)
{
    struct cgroup_table *table = xcalloc(1, sizeof(*table));
    table->proc = xstrdup(proc);
    return table;
}

void
cgroup_table_destroy(struct cgroup_table *table)
{
    if (table == NULL)
        return;
    free(table->last_place);
    free(table->proc);
    free(table);
}

/* A group whose directory shortens to the nearest one that counts memory. */
static bool
open_nearest(struct cgroup *group)
{
    for (;;) {
        group->current_fd =
            open_in(group->directory, names[group->version].current);
        if (group->current_fd >= 0)
            return true;
        char *slash = strrchr(group->directory, '/');
        if (strlen(group->directory) <= group->n_top_bytes || slash == NULL)
            return false;
        *slash = '\0';
    }
}

static void
destroy(struct cgroup *group)
{
    close_all(group);
    free(group->directory);
    free(group);
}

/* With the file that tells its use; the rest is opened if it is a new one. */
static struct cgroup *
resolve(struct cgroup_table *table, const char *text)
{
    struct cgroup_place place;
    if (!cgroup_text_place(text, &place))
        return NULL;
    char *path = xasprintf("%s/self/mountinfo", table->proc);
    char *mountinfo = read_all(path);
    free(path);
    struct cgroup *group = xcalloc(1, sizeof(*group));
    *group = (struct cgroup){
        .table = table,
        .version = place.version,
        .current_fd = -1,
        .kills_fd = -1,
        .stat_fd = -1,
        .kernel_fd = -1,
        .pulse = {CGROUP_UNKNOWN, CGROUP_UNKNOWN},
    };
    if (mountinfo != NULL)
        group->directory =
            cgroup_text_directory(mountinfo, &place, &group->n_top_bytes);
    free(mountinfo);
    free(place.path);
    if (group->directory != NULL && open_nearest(group))
        return group;
    destroy(group);
    return NULL;
}

static void
forget(struct cgroup *group)
{
    HASH_DEL(group->table->groups, group);
    group->is_gone = true;
    if (group->table->last == group)
        group->table->last = NULL;
}

/* Whether its directory still is the one that was opened. */
static bool
is_there(const struct cgroup *group)
{
    char bytes[FILE_BYTES];
    return reread(group->current_fd, bytes)[0] != '\0';
}

/* What is known by that name already. */
static struct cgroup *
known(const struct cgroup *fresh)
{
    struct cgroup *group = NULL;
    HASH_FIND_STR(fresh->table->groups, fresh->directory, group);
    if (group == NULL || is_there(group))
        return group;
    forget(group);
    return NULL;
}

static struct cgroup *
enter(struct cgroup *fresh)
{
    const struct names *const its = &names[fresh->version];
    fresh->kills_fd = open_in(fresh->directory, its->kills);
    fresh->stat_fd = open_in(fresh->directory, "memory.stat");
    fresh->kernel_fd = open_in(fresh->directory, its->kernel);
    HASH_ADD_KEYPTR(hh, fresh->table->groups, fresh->directory,
                    strlen(fresh->directory), fresh);
    return fresh;
}

/* One more user of the group of a place; NULL: it is not visible. */
static struct cgroup *
find(struct cgroup_table *table, const char *place)
{
    struct cgroup *group = table->last;
    if (group == NULL || strcmp(place, table->last_place) != 0 ||
        !is_there(group)) {
        struct cgroup *fresh = resolve(table, place);
        group = fresh == NULL ? NULL : known(fresh);
        if (group != NULL)
            destroy(fresh);
        else if (fresh != NULL)
            group = enter(fresh);
        free(table->last_place);
        table->last_place = xstrdup(place);
        table->last = group;
    }
    if (group != NULL)
        group->n_users++;
    return group;
}

static void
let_go(struct cgroup *group)
{
    if (group == NULL || --group->n_users != 0)
        return;
    if (!group->is_gone)
        forget(group);
    destroy(group);
}

/* Version 1 shows whoever is exiting at the root, wherever it was. */
static bool
is_exiting(const char *text)
{
    struct cgroup_place place;
    if (!cgroup_text_place(text, &place))
        return false;
    const bool is_root =
        place.version == CGROUP_V1 && strcmp(place.path, "/") == 0;
    free(place.path);
    return is_root;
}

void
cgroup_review(struct cgroup_table *table, int32_t pid, uint64_t now_us,
              struct cgroup_member *member)
{
    char *path = xasprintf("%s/%d/cgroup", table->proc, pid);
    char *place = read_all(path);
    free(path);
    if (place == NULL ||
        (member->place != NULL &&
         (strcmp(place, member->place) == 0 || is_exiting(place)))) {
        free(place); /* it is gone, or where it was */
        return;
    }
    struct cgroup *group = find(table, place);
    cgroup_leave(member);
    *member = (struct cgroup_member){group, now_us, place};
    if (group != NULL)
        read_pulse(group, now_us); /* kills before its time are not its own */
}

void
cgroup_follow(const struct cgroup_member *parent, uint64_t since_us,
              struct cgroup_member *member)
{
    if (parent->group == NULL)
        return;
    parent->group->n_users++;
    *member =
        (struct cgroup_member){parent->group, since_us, xstrdup(parent->place)};
}

void
cgroup_leave(struct cgroup_member *member)
{
    let_go(member->group);
    free(member->place);
    *member = (struct cgroup_member){0};
}

/* ---- reading ----------------------------------------------------------- */

struct cgroup_pulse
cgroup_pulse(struct cgroup *group, uint64_t now_us)
{
    if (group == NULL)
        return (struct cgroup_pulse){CGROUP_UNKNOWN, CGROUP_UNKNOWN};
    if (group->read_us == 0 || now_us - group->read_us >= FRESH_US)
        read_pulse(group, now_us);
    return group->pulse;
}

/* The least of the group's own limit and those above that are visible. */
static int64_t
least_limit(const struct cgroup *group)
{
    char bytes[FILE_BYTES];
    int64_t least = CGROUP_UNKNOWN;
    char *directory = xstrdup(group->directory);
    for (;;) {
        const int fd = open_in(directory, names[group->version].limit);
        const int64_t limit =
            cgroup_text_limit(cgroup_text_number(reread(fd, bytes)));
        if (fd >= 0)
            close(fd);
        if (limit != CGROUP_UNKNOWN &&
            (least == CGROUP_UNKNOWN || limit < least))
            least = limit;
        char *slash = strrchr(directory, '/');
        if (strlen(directory) <= group->n_top_bytes || slash == NULL)
            break;
        *slash = '\0';
    }
    free(directory);
    return least;
}

/* Where the kernel sums that up itself, it knows of invisible ones too. */
static int64_t
limit_of(const struct cgroup *group, const char *stat)
{
    const char *word = names[group->version].limit_word;
    const int64_t whole =
        word == NULL ? CGROUP_UNKNOWN : cgroup_text_value(stat, word);
    return whole == CGROUP_UNKNOWN ? least_limit(group)
                                   : cgroup_text_limit(whole);
}

struct cgroup_usage
cgroup_usage(struct cgroup *group, uint64_t now_us)
{
    struct cgroup_usage usage = {
        CGROUP_UNKNOWN, CGROUP_UNKNOWN, CGROUP_UNKNOWN, CGROUP_UNKNOWN,
        CGROUP_UNKNOWN, CGROUP_UNKNOWN, CGROUP_UNKNOWN,
    };
    char bytes[FILE_BYTES];
    if (group == NULL)
        return usage;
    const struct names *const its = &names[group->version];
    const char *stat = reread(group->stat_fd, bytes);
    usage.anon = cgroup_text_value(stat, its->anon_word);
    usage.shmem = cgroup_text_value(stat, its->shmem_word);
    const int64_t cache = cgroup_text_value(stat, its->file_word);
    if (usage.shmem != CGROUP_UNKNOWN && cache >= usage.shmem)
        usage.file = cache - usage.shmem;
    if (its->kernel_word != NULL)
        usage.kernel = cgroup_text_value(stat, its->kernel_word);
    usage.max = limit_of(group, stat);
    read_pulse(group, now_us);
    usage.current = group->pulse.current;
    usage.oom_kills = group->pulse.oom_kills;
    if (group->kernel_fd >= 0)
        usage.kernel = cgroup_text_number(reread(group->kernel_fd, bytes));
    return usage;
}

int64_t
cgroup_others(const struct cgroup_usage *usage, int64_t own_bytes)
{
    if (usage->anon == CGROUP_UNKNOWN || own_bytes < 0)
        return CGROUP_UNKNOWN;
    if (own_bytes <= usage->anon)
        return usage->anon - own_bytes;
    return own_bytes - usage->anon <= own_bytes / LAG_PART ? 0 : CGROUP_UNKNOWN;
}

bool
cgroup_claim_kill(const struct cgroup_member *member, uint64_t now_us)
{
    struct cgroup *group = member->group;
    if (group == NULL)
        return false;
    read_pulse(group, now_us);
    if (group->n_unclaimed == 0 || group->killed_us <= member->since_us ||
        now_us - group->killed_us > KILL_US)
        return false;
    group->n_unclaimed--;
    return true;
}

void
cgroup_return_kill(struct cgroup *group)
{
    if (group != NULL)
        group->n_unclaimed++;
}
