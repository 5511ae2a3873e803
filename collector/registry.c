#include "collector/registry.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "include/rendezvous.h"

static struct {
    char recording[PATH_MAX];
    bool is_open;
} registry;

void
registry_open(const char *recording)
{
    registry.is_open = realpath(recording, registry.recording) != NULL;
}

static bool
link_of(pid_t pid, char *path)
{
    return registry.is_open && rendezvous_directory(path) &&
           rendezvous_append(path, "/pid.") &&
           rendezvous_append_number(path, (uint64_t)pid);
}

void
registry_enter(pid_t pid)
{
    char path[RENDEZVOUS_PATH_BYTES];
    if (!link_of(pid, path))
        return;
    unlink(path);
    if (symlink(registry.recording, path) != 0)
        return; /* then only the path of the recording names it */
}

/* A collector that was killed leaves its links, and numbers are used again. */
bool
registry_enter_new(pid_t pid)
{
    char path[RENDEZVOUS_PATH_BYTES];
    if (!link_of(pid, path))
        return false;
    if (access(path, F_OK) != 0)
        unlink(path);
    return symlink(registry.recording, path) == 0;
}

void
registry_leave(pid_t pid)
{
    char path[RENDEZVOUS_PATH_BYTES];
    char target[PATH_MAX];
    if (!link_of(pid, path))
        return;
    const ssize_t n = readlink(path, target, sizeof(target) - 1);
    if (n < 0)
        return;
    target[n] = '\0';
    if (strcmp(target, registry.recording) == 0)
        unlink(path);
}
