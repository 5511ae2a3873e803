/*
 * rendezvous.h - where targets, collectors and readers of one user meet
 *
 * One directory, mode 0700 and owned by the user, holds the default socket
 * (`socket`), the sockets of single runs and the registry. It is the first that
 * can be had of
 *
 *     $XDG_RUNTIME_DIR/residue
 *     /run/residue/UID
 *     residue-UID in the system's temporary directory
 *
 * RESIDUE_SOCKET names a socket outright. Header-only and without stdio or
 * allocation, for the preload needs it before main.
 */
#ifndef INCLUDE_RENDEZVOUS_H
#define INCLUDE_RENDEZVOUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RENDEZVOUS_VARIABLE "RESIDUE_SOCKET"
#define RENDEZVOUS_SOCKET "socket"

enum {
    RENDEZVOUS_PATH_BYTES = 108, /* sizeof(sockaddr_un.sun_path) */
    RENDEZVOUS_N_DIRECTORIES = 3,
};

/* Appends text to path; false, and path is of no use, when it is too long. */
static inline bool
rendezvous_append(char *path, const char *text)
{
    const size_t had = strlen(path);
    const size_t more = strlen(text);
    if (had + more >= RENDEZVOUS_PATH_BYTES)
        return false;
    memcpy(path + had, text, more + 1);
    return true;
}

static inline bool
rendezvous_append_number(char *path, uint64_t number)
{
    char digits[24];
    size_t at = sizeof(digits) - 1;
    digits[at] = '\0';
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    return rendezvous_append(path, digits + at);
}

/*
 * The candidate number `which` (below RENDEZVOUS_N_DIRECTORIES), in a buffer of
 * RENDEZVOUS_PATH_BYTES. False: this one does not apply here.
 */
static inline bool
rendezvous_candidate(unsigned which, char *path)
{
    path[0] = '\0';
    if (which == 0) {
        const char *runtime = getenv("XDG_RUNTIME_DIR");
        return runtime != NULL && runtime[0] == '/' &&
               rendezvous_append(path, runtime) &&
               rendezvous_append(path, "/residue");
    }
    if (which == 1)
        return rendezvous_append(path, "/run/residue/") &&
               rendezvous_append_number(path, geteuid());
    const char *temporary = getenv("TMPDIR");
    if (temporary == NULL || temporary[0] != '/')
        temporary = "/tmp";
    return rendezvous_append(path, temporary) &&
           rendezvous_append(path, "/residue-") &&
           rendezvous_append_number(path, geteuid());
}

/* Whether the directory exists and nobody else can write or look into it. */
static inline bool
rendezvous_is_private(const char *path)
{
    struct stat is;
    return lstat(path, &is) == 0 && S_ISDIR(is.st_mode) &&
           is.st_uid == geteuid() && (is.st_mode & 077) == 0;
}

/* The first candidate that exists and is private; false: there is none. */
static inline bool
rendezvous_directory(char *path)
{
    for (unsigned which = 0; which < RENDEZVOUS_N_DIRECTORIES; which++) {
        if (rendezvous_candidate(which, path) && rendezvous_is_private(path))
            return true;
    }
    return false;
}

/* The same for who serves: makes the directory where there is none yet. */
static inline bool
rendezvous_make_directory(char *path)
{
    for (unsigned which = 0; which < RENDEZVOUS_N_DIRECTORIES; which++) {
        if (!rendezvous_candidate(which, path))
            continue;
        mkdir(path, 0700);
        if (rendezvous_is_private(path))
            return true;
    }
    return false;
}

/* The socket a process without instructions turns to; false: none exists. */
static inline bool
rendezvous_socket(char *path)
{
    const char *named = getenv(RENDEZVOUS_VARIABLE);
    path[0] = '\0';
    if (named != NULL && named[0] != '\0')
        return rendezvous_append(path, named);
    return rendezvous_directory(path) &&
           rendezvous_append(path, "/" RENDEZVOUS_SOCKET) &&
           access(path, F_OK) == 0;
}

#endif
