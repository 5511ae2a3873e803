/*
 * image.h - what kind of program lies at a path, as far as a preload cares
 *
 * The dynamic linker loads us only into a dynamically linked ELF64 image for
 * glibc that runs without extra privileges. The preload asks before an exec,
 * `residue run` and `residue doctor` before they promise anything.
 *
 * Header-only, without allocation, and by direct system calls: it runs inside
 * hooks. A script is judged by its interpreter, as the kernel does
 * (fs/binfmt_script.c).
 */
#ifndef INCLUDE_IMAGE_H
#define INCLUDE_IMAGE_H

#include <elf.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "include/attrs.h"

enum image {
    IMAGE_GLIBC,      /* ours to follow */
    IMAGE_UNREADABLE, /* not there, not ours to read, or nothing known */
    IMAGE_STATIC,
    IMAGE_PRIVILEGED, /* setuid, setgid or with file capabilities */
    IMAGE_MUSL,
    IMAGE_OTHER_ABI, /* 32-bit, or another machine's */
    IMAGE_OTHER_LINKER,
};

enum {
    IMAGE_LINE_BYTES = 256, /* BINPRM_BUF_SIZE */
    IMAGE_MAX_SCRIPTS = 5,  /* interpreters of interpreters */
};

static inline bool
image_read(int fd, void *where, size_t n_bytes, uint64_t offset)
{
    return syscall(SYS_pread64, fd, where, n_bytes, offset) == (long)n_bytes;
}

/*
 * By the name of the dynamic linker that PT_INTERP asks for. Not inlined, nor
 * the next: each brings a buffer, and the preload's frames are small.
 */
static NOINLINE UNUSED enum image
image_by_linker(int fd, const Elf64_Phdr *interp)
{
    char path[IMAGE_LINE_BYTES] = "";
    const size_t n_bytes = interp->p_filesz < sizeof(path) - 1
                               ? (size_t)interp->p_filesz
                               : sizeof(path) - 1;
    if (!image_read(fd, path, n_bytes, interp->p_offset))
        return IMAGE_UNREADABLE;
    const char *name = strrchr(path, '/');
    name = name == NULL ? path : name + 1;
    if (strncmp(name, "ld-linux-x86-64.so", 18) == 0)
        return IMAGE_GLIBC;
    return strncmp(name, "ld-musl-", 8) == 0 ? IMAGE_MUSL : IMAGE_OTHER_LINKER;
}

static NOINLINE UNUSED enum image
image_of_elf(int fd)
{
    Elf64_Ehdr header;
    if (!image_read(fd, &header, sizeof(header), 0) ||
        header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != EM_X86_64)
        return IMAGE_OTHER_ABI;
    for (unsigned i = 0; i < header.e_phnum; i++) {
        Elf64_Phdr segment;
        if (!image_read(fd, &segment, sizeof(segment),
                        header.e_phoff + (uint64_t)i * sizeof(segment)))
            return IMAGE_UNREADABLE;
        if (segment.p_type == PT_INTERP)
            return image_by_linker(fd, &segment);
    }
    return IMAGE_STATIC;
}

static inline bool
image_is_privileged(int fd)
{
    struct stat is;
    if (fstat(fd, &is) == 0 && (is.st_mode & (S_ISUID | S_ISGID)) != 0)
        return true;
    return syscall(SYS_fgetxattr, fd, "security.capability", NULL, 0) > 0;
}

/*
 * Replaces "#!INTERPRETER ARGUMENT" by "INTERPRETER" in line. False: it names
 * none.
 */
static inline bool
image_script_interpreter(char *line)
{
    char *start = line + 2;
    while (*start == ' ' || *start == '\t')
        start++;
    const size_t n_bytes = strcspn(start, " \t\n");
    if (n_bytes == 0)
        return false;
    memmove(line, start, n_bytes);
    line[n_bytes] = '\0';
    return true;
}

/* errno may change. */
static inline enum image
image_inspect(const char *path)
{
    char line[IMAGE_LINE_BYTES + 1];
    for (unsigned depth = 0; depth < IMAGE_MAX_SCRIPTS; depth++) {
        const int fd = (int)syscall(SYS_openat, AT_FDCWD, path,
                                    O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
        if (fd < 0)
            return IMAGE_UNREADABLE;
        const long n =
            syscall(SYS_pread64, fd, line, (size_t)IMAGE_LINE_BYTES, 0L);
        const bool is_elf = n >= SELFMAG && memcmp(line, ELFMAG, SELFMAG) == 0;
        enum image image = IMAGE_UNREADABLE;
        if (is_elf)
            image =
                image_is_privileged(fd) ? IMAGE_PRIVILEGED : image_of_elf(fd);
        syscall(SYS_close, fd);
        if (is_elf || n < 2 || memcmp(line, "#!", 2) != 0)
            return image;
        line[n] = '\0';
        if (!image_script_interpreter(line))
            return IMAGE_UNREADABLE;
        path = line;
    }
    return IMAGE_UNREADABLE;
}

#endif
