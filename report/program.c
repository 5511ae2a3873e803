#include "report/program.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "include/xalloc.h"

/* ---- finding ----------------------------------------------------------- */

static bool
is_runnable(const char *path)
{
    struct stat is;
    if (stat(path, &is) != 0)
        return false;
    if (!S_ISREG(is.st_mode) || access(path, X_OK) != 0) {
        errno = EACCES;
        return false;
    }
    return true;
}

/* In the directories of PATH; EACCES is remembered, as execvp does. */
static char *
find_in_path(const char *name)
{
    const char *list = getenv("PATH");
    bool is_forbidden = false;
    for (list = list == NULL ? "/bin:/usr/bin" : list;;) {
        const size_t length = strcspn(list, ":");
        char *path = xasprintf("%.*s%s%s", (int)length, list,
                               length == 0 ? "" : "/", name);
        if (is_runnable(path))
            return path;
        is_forbidden = is_forbidden || errno == EACCES;
        free(path);
        if (list[length] == '\0')
            break;
        list += length + 1;
    }
    errno = is_forbidden ? EACCES : ENOENT;
    return NULL;
}

char *
program_find(const char *name)
{
    if (name[0] == '\0') {
        errno = ENOENT;
        return NULL;
    }
    if (strchr(name, '/') == NULL)
        return find_in_path(name);
    return is_runnable(name) ? xstrdup(name) : NULL;
}

/* ---- sanitizers -------------------------------------------------------- */

/* The file offset of an address, by the image's segments; 0: nowhere. */
static uint64_t
offset_of(const Elf64_Phdr *segments, unsigned n, uint64_t addr)
{
    for (unsigned i = 0; i < n; i++) {
        const Elf64_Phdr *segment = &segments[i];
        if (segment->p_type == PT_LOAD && addr >= segment->p_vaddr &&
            addr - segment->p_vaddr < segment->p_filesz)
            return addr - segment->p_vaddr + segment->p_offset;
    }
    return 0;
}

/* Whether one of the libraries it needs is a sanitizer's runtime. */
static bool
needs_sanitizer(int fd, const Elf64_Phdr *segments, unsigned n,
                const Elf64_Phdr *dynamic)
{
    enum { MOST_ENTRIES = 512 };
    static Elf64_Dyn entries[MOST_ENTRIES];
    uint64_t n_entries = dynamic->p_filesz / sizeof(entries[0]);
    if (n_entries > MOST_ENTRIES)
        n_entries = MOST_ENTRIES;
    if (!image_read(fd, entries, n_entries * sizeof(entries[0]),
                    dynamic->p_offset))
        return false;
    uint64_t strings = 0;
    for (uint64_t i = 0; i < n_entries; i++) {
        if (entries[i].d_tag == DT_STRTAB)
            strings = offset_of(segments, n, entries[i].d_un.d_ptr);
    }
    for (uint64_t i = 0; i < n_entries && strings != 0; i++) {
        char name[32] = "";
        if (entries[i].d_tag != DT_NEEDED)
            continue;
        const ssize_t got = pread(fd, name, sizeof(name) - 1,
                                  (off_t)(strings + entries[i].d_un.d_val));
        if (got > 0 && (strncmp(name, "libasan.so", 10) == 0 ||
                        strncmp(name, "libtsan.so", 10) == 0 ||
                        strncmp(name, "liblsan.so", 10) == 0))
            return true;
    }
    return false;
}

static bool
is_sanitized(const char *path)
{
    enum { MOST_SEGMENTS = 64 };
    Elf64_Ehdr header;
    Elf64_Phdr segments[MOST_SEGMENTS];
    bool is = false;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    if (image_read(fd, &header, sizeof(header), 0) &&
        memcmp(header.e_ident, ELFMAG, SELFMAG) == 0 &&
        header.e_phnum <= MOST_SEGMENTS &&
        image_read(fd, segments, header.e_phnum * sizeof(segments[0]),
                   header.e_phoff)) {
        for (unsigned i = 0; i < header.e_phnum && !is; i++)
            is = segments[i].p_type == PT_DYNAMIC &&
                 needs_sanitizer(fd, segments, header.e_phnum, &segments[i]);
    }
    close(fd);
    return is;
}

/* ---- judging ----------------------------------------------------------- */

enum program_obstacle
program_inspect(const char *path)
{
    switch (image_inspect(path)) {
    case IMAGE_STATIC:
        return PROGRAM_STATIC;
    case IMAGE_PRIVILEGED:
        return PROGRAM_PRIVILEGED;
    case IMAGE_MUSL:
        return PROGRAM_MUSL;
    case IMAGE_OTHER_ABI:
        return PROGRAM_OTHER_ABI;
    case IMAGE_OTHER_LINKER:
        return PROGRAM_OTHER_LINKER;
    case IMAGE_GLIBC:
        return is_sanitized(path) ? PROGRAM_SANITIZED : PROGRAM_VISIBLE;
    case IMAGE_UNREADABLE:
        break; /* a script without a first line, or a file we may not read */
    }
    return PROGRAM_VISIBLE;
}

static const char *const obstacles[] = {
    [PROGRAM_VISIBLE] = "",
    [PROGRAM_STATIC] =
        "is statically linked, and no library can be preloaded into it",
    [PROGRAM_PRIVILEGED] =
        "is setuid, setgid or has capabilities, which keeps preloads out",
    [PROGRAM_MUSL] = "is linked with musl, and residue needs glibc",
    [PROGRAM_OTHER_ABI] = "is not a 64-bit program for x86-64",
    [PROGRAM_OTHER_LINKER] = "asks for a dynamic linker that is not glibc's",
    [PROGRAM_SANITIZED] =
        "is built with a sanitizer, whose allocator must come first",
};

static const char *const cures[] = {
    [PROGRAM_VISIBLE] = "",
    [PROGRAM_STATIC] = "use a dynamically linked build",
    [PROGRAM_PRIVILEGED] =
        "run a copy without these, or the program that it starts",
    [PROGRAM_MUSL] = "use a build for glibc",
    [PROGRAM_OTHER_ABI] = "use a 64-bit build",
    [PROGRAM_OTHER_LINKER] = "use a build for glibc",
    [PROGRAM_SANITIZED] = "use a build without it",
};

const char *
program_obstacle_is(enum program_obstacle obstacle)
{
    return obstacles[obstacle];
}

const char *
program_obstacle_cure(enum program_obstacle obstacle)
{
    return cures[obstacle];
}
