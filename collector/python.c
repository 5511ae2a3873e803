#include "collector/python.h"

#include <elf.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "collector/census/maps.h"
#include "include/cpython.h"
#include "include/xalloc.h"

enum {
    MOST_SEGMENTS = 64,
    MOST_SECTIONS = 4096,
    NAME_BYTES = 32, /* of a symbol or a section that we look for */
    PAGE = 4096,
    MOST_MAPS_BYTES = 64 * 1024 * 1024,
};

/*
 * More than any table of symbols, or constants, of an interpreter. A file may
 * be anybody's, and is read by the loop: one of each is looked at.
 */
#define MOST_SECTION_BYTES ((uint64_t)64 * 1024 * 1024)

/* ---- versions ---------------------------------------------------------- */

bool
python_version_of_number(uint64_t number, char *version)
{
    static const char *const levels[16] = {
        [0xa] = "a", [0xb] = "b", [0xc] = "rc"};
    const unsigned major = number >> 24 & 0xff;
    const unsigned minor = number >> 16 & 0xff;
    const unsigned micro = number >> 8 & 0xff;
    const char *level = levels[number >> 4 & 0xf];
    if (number >> 32 != 0 || major < 2)
        return false;
    int at = snprintf(version, PYTHON_VERSION_BYTES, "%u.%u.%u", major, minor,
                      micro);
    if (level != NULL)
        snprintf(version + at, PYTHON_VERSION_BYTES - (size_t)at, "%s%u", level,
                 (unsigned)(number & 0xf));
    return true;
}

char *
python_native_note(const char *version, bool is_known)
{
    return is_known
               ? xasprintf("Python %s has no arena here (PYTHONMALLOC=malloc "
                           "or mimalloc, a free-threaded build, or it has not "
                           "begun): only its native side is shown",
                           version)
               : xasprintf("Python %s is not known to this version: only its "
                           "native side is shown",
                           version);
}

/* Reads "3.9" of a name like python3.9 or libpython3.9.so.1.0. */
static bool
version_in_name(const char *name, unsigned *major, unsigned *minor)
{
    const char *at = name;
    while ((at = strstr(at, "python")) != NULL) {
        at += 6;
        if (sscanf(at, "%1u.%2u", major, minor) == 2)
            return true;
    }
    return false;
}

/* Whether a string is "3.9.18" or "3.9.18+", of a version there can be. */
static bool
is_version(const char *text, size_t length, unsigned *major, unsigned *minor)
{
    unsigned micro;
    int used = 0;
    if (length >= PYTHON_VERSION_BYTES ||
        sscanf(text, "%1u.%2u.%2u%n", major, minor, &micro, &used) != 3 ||
        (*major != 2 && *major != 3) || text[1] != '.')
        return false;
    return strspn(text + used, "abrc0123456789+") == length - (size_t)used;
}

bool
python_version_in(const char *bytes, uint64_t n_bytes, const char *name,
                  char *version)
{
    unsigned named[2] = {0, 0};
    bool has_found = false;
    const bool is_named = version_in_name(name, &named[0], &named[1]);
    for (uint64_t at = 0; at + 1 < n_bytes; at++) {
        unsigned is[2];
        /* Linkers let a string share the end of a longer one. */
        const char before = at == 0 ? '\0' : bytes[at - 1];
        if ((bytes[at] != '2' && bytes[at] != '3') || bytes[at + 1] != '.' ||
            before == '.' || (before >= '0' && before <= '9'))
            continue;
        const size_t length = strnlen(bytes + at, n_bytes - at);
        if (length == n_bytes - at ||
            !is_version(bytes + at, length, &is[0], &is[1]))
            continue;
        const bool is_better = is_named ? is[0] == named[0] && is[1] == named[1]
                                        : cpython_is_known(is[0], is[1]);
        if (!is_better || has_found)
            continue;
        memcpy(version, bytes + at, length + 1);
        has_found = true;
    }
    return has_found;
}

/* ---- one image --------------------------------------------------------- */

struct image_file {
    int fd;
    Elf64_Ehdr elf;
    Elf64_Phdr segments[MOST_SEGMENTS];
    Elf64_Shdr *sections;
};

static bool
read_at(int fd, void *where, uint64_t n_bytes, uint64_t offset)
{
    return pread(fd, where, n_bytes, (off_t)offset) == (ssize_t)n_bytes;
}

/* The whole section and a NUL behind it, or NULL. */
static char *
read_section(const struct image_file *file, const Elf64_Shdr *section)
{
    struct stat is;
    if (section->sh_type == SHT_NOBITS || fstat(file->fd, &is) != 0 ||
        section->sh_size > MOST_SECTION_BYTES ||
        section->sh_size > (uint64_t)is.st_size)
        return NULL;
    char *bytes = xcalloc(section->sh_size + 1, 1);
    if (read_at(file->fd, bytes, section->sh_size, section->sh_offset))
        return bytes;
    free(bytes);
    return NULL;
}

static void
close_file(struct image_file *file)
{
    free(file->sections);
    if (file->fd >= 0)
        close(file->fd);
}

static bool
open_elf(int fd, struct image_file *file)
{
    Elf64_Ehdr *elf = &file->elf;
    *file = (struct image_file){.fd = fd};
    if (fd < 0 || !read_at(fd, elf, sizeof(*elf), 0) ||
        memcmp(elf->e_ident, ELFMAG, SELFMAG) != 0 ||
        elf->e_ident[EI_CLASS] != ELFCLASS64 ||
        elf->e_phentsize != sizeof(Elf64_Phdr) ||
        elf->e_phnum > MOST_SEGMENTS ||
        elf->e_shentsize != sizeof(Elf64_Shdr) ||
        elf->e_shnum > MOST_SECTIONS ||
        !read_at(fd, file->segments, elf->e_phnum * sizeof(Elf64_Phdr),
                 elf->e_phoff))
        return false;
    file->sections = xcalloc(elf->e_shnum, sizeof(Elf64_Shdr));
    return read_at(fd, file->sections, elf->e_shnum * sizeof(Elf64_Shdr),
                   elf->e_shoff);
}

/* As the target sees the path; or, where it was deleted, by the mapping. */
static int
open_mapped(pid_t pid, const struct map *map)
{
    struct stat is;
    char *path = xasprintf("/proc/%d/root%s", pid, map->name);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    free(path);
    if (fd >= 0 && fstat(fd, &is) == 0 && is.st_ino == map->inode &&
        S_ISREG(is.st_mode))
        return fd;
    if (fd >= 0)
        close(fd);
    path = xasprintf("/proc/%d/map_files/%" PRIx64 "-%" PRIx64, pid, map->start,
                     map->end);
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    free(path);
    return fd;
}

/* ---- its symbols ------------------------------------------------------- */

enum { GET_VERSION, VERSION, RUNTIME, N_NAMES };

static const char *const names[N_NAMES] = {
    [GET_VERSION] = "Py_GetVersion",
    [VERSION] = "Py_Version",
    [RUNTIME] = "_PyRuntime",
};

/* Their values in one table, 0 where it has none. */
static void
look_up(const struct image_file *file, const Elf64_Shdr *table,
        uint64_t *values)
{
    if (table->sh_link >= file->elf.e_shnum)
        return;
    const Elf64_Shdr *strings = &file->sections[table->sh_link];
    char *symbols = read_section(file, table);
    char *text = read_section(file, strings);
    const uint64_t n = table->sh_size / sizeof(Elf64_Sym);
    for (uint64_t i = 0; symbols != NULL && text != NULL && i < n; i++) {
        Elf64_Sym symbol;
        memcpy(&symbol, symbols + i * sizeof(symbol), sizeof(symbol));
        if (symbol.st_shndx == SHN_UNDEF || symbol.st_name >= strings->sh_size)
            continue;
        for (unsigned name = 0; name < N_NAMES; name++) {
            if (strcmp(text + symbol.st_name, names[name]) == 0)
                values[name] = symbol.st_value;
        }
    }
    free(symbols);
    free(text);
}

static bool
find_symbols(const struct image_file *file, uint64_t *values)
{
    unsigned i = 0;
    while (i < file->elf.e_shnum && file->sections[i].sh_type != SHT_DYNSYM)
        i++;
    if (i < file->elf.e_shnum)
        look_up(file, &file->sections[i], values);
    return values[GET_VERSION] != 0;
}

/* ---- its version ------------------------------------------------------- */

static bool
version_by_number(const struct image_file *file, uint64_t addr, char *version)
{
    for (unsigned i = 0; addr != 0 && i < file->elf.e_phnum; i++) {
        const Elf64_Phdr *segment = &file->segments[i];
        uint64_t number;
        if (segment->p_type == PT_LOAD &&
            addr - segment->p_vaddr < segment->p_filesz)
            return read_at(file->fd, &number, sizeof(number),
                           addr - segment->p_vaddr + segment->p_offset) &&
                   python_version_of_number(number, version);
    }
    return false;
}

static bool
is_rodata(const struct image_file *file, const Elf64_Shdr *section)
{
    char name[NAME_BYTES] = "";
    const Elf64_Ehdr *elf = &file->elf;
    return section->sh_type == SHT_PROGBITS && elf->e_shstrndx < elf->e_shnum &&
           read_at(file->fd, name, sizeof(".rodata"),
                   file->sections[elf->e_shstrndx].sh_offset +
                       section->sh_name) &&
           strcmp(name, ".rodata") == 0;
}

static bool
version_by_text(const struct image_file *file, const char *name, char *version)
{
    unsigned i = 0;
    while (i < file->elf.e_shnum && !is_rodata(file, &file->sections[i]))
        i++;
    if (i == file->elf.e_shnum)
        return false;
    const Elf64_Shdr *section = &file->sections[i];
    char *bytes = read_section(file, section);
    const bool has_found =
        bytes != NULL &&
        python_version_in(bytes, section->sh_size, name, version);
    free(bytes);
    return has_found;
}

static void
find_version(const struct image_file *file, uint64_t addr, const char *name,
             struct python *python)
{
    unsigned major;
    unsigned minor;
    if (!version_by_number(file, addr, python->version) &&
        !version_by_text(file, name, python->version)) {
        if (version_in_name(name, &major, &minor))
            snprintf(python->version, sizeof(python->version), "%u.%u", major,
                     minor);
        else
            snprintf(python->version, sizeof(python->version), "unknown");
    }
    if (sscanf(python->version, "%u.%u", &major, &minor) == 2 &&
        cpython_is_known(major, minor)) {
        python->major = major;
        python->minor = minor;
    }
}

/* ---- all --------------------------------------------------------------- */

static void
place(const struct image_file *file, const struct map *map,
      const uint64_t *values, struct python *python)
{
    uint64_t lowest = UINT64_MAX;
    for (unsigned i = 0; i < file->elf.e_phnum; i++) {
        const Elf64_Phdr *segment = &file->segments[i];
        if (segment->p_type == PT_LOAD && segment->p_vaddr < lowest)
            lowest = segment->p_vaddr;
    }
    const uint64_t bias = map->start - (lowest & ~(uint64_t)(PAGE - 1));
    if (values[RUNTIME] != 0)
        python->runtime = bias + values[RUNTIME];
    for (unsigned i = 0; i < file->elf.e_phnum; i++) {
        const Elf64_Phdr *segment = &file->segments[i];
        if (segment->p_type != PT_LOAD || (segment->p_flags & PF_X) == 0 ||
            values[GET_VERSION] - segment->p_vaddr >= segment->p_memsz)
            continue;
        python->text_start = bias + segment->p_vaddr;
        python->text_bytes = segment->p_memsz;
    }
}

static bool
is_interpreter(pid_t pid, const struct map *map, struct python *python)
{
    struct image_file file;
    uint64_t values[N_NAMES] = {0};
    const bool is =
        open_elf(open_mapped(pid, map), &file) && find_symbols(&file, values);
    if (is) {
        const char *slash = strrchr(map->name, '/');
        find_version(&file, values[VERSION],
                     slash == NULL ? map->name : slash + 1, python);
        place(&file, map, values, python);
    }
    close_file(&file);
    return is;
}

static char *
read_maps(pid_t pid)
{
    char *path = xasprintf("/proc/%d/maps", pid);
    FILE *file = fopen(path, "re");
    free(path);
    char *text = NULL;
    size_t n_bytes = 0;
    if (file == NULL || getdelim(&text, &n_bytes, '\0', file) < 0 ||
        n_bytes > MOST_MAPS_BYTES) {
        free(text);
        text = NULL;
    }
    if (file != NULL)
        fclose(file);
    return text;
}

/* Likely ones first: the program itself, then files named after Python. */
static unsigned
rank_of(const struct map *map, bool is_first)
{
    const char *slash = strrchr(map->name, '/');
    if (slash != NULL && strstr(slash, "libpython") != NULL)
        return 0;
    if (is_first)
        return 1;
    return slash != NULL && strstr(slash, "python") != NULL ? 2 : 3;
}

bool
python_find(pid_t pid, struct python *python)
{
    enum { N_RANKS = 4 };
    *python = (struct python){0};
    struct maps maps = maps_parse(read_maps(pid));
    bool has_found = false;
    for (unsigned rank = 0; rank < N_RANKS && !has_found; rank++) {
        bool is_first = true;
        for (size_t i = 0; i < maps.n_maps && !has_found; i++) {
            const struct map *map = &maps.maps[i];
            if (map->inode == 0 || map->offset != 0 || map->name[0] != '/')
                continue;
            if (rank_of(map, is_first) == rank)
                has_found = is_interpreter(pid, map, python);
            is_first = false;
        }
    }
    maps_finish(&maps);
    return has_found;
}

/* The first mapping of the file that has this one. */
static const struct map *
first_of(const struct maps *maps, const struct map *map)
{
    while (map > maps->maps && map->offset != 0)
        map--;
    return map;
}

bool
python_find_at(pid_t pid, uint64_t addr, struct python *python)
{
    *python = (struct python){0};
    struct maps maps = maps_parse(read_maps(pid));
    const struct map *text = maps_at(&maps, addr);
    bool is = false;
    if (text != NULL && text->inode != 0 && text->name[0] == '/') {
        const struct map *first = first_of(&maps, text);
        python->text_start = text->start;
        python->text_bytes = text->end - text->start;
        is = first->inode == text->inode && is_interpreter(pid, first, python);
    }
    maps_finish(&maps);
    return is;
}
