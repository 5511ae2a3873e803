#include "collector/names_file.h"

#include <dirent.h>
#include <elf.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "include/attrs.h"

enum {
    PATH_BYTES = 4096 + 64, /* what the kernel takes, behind /proc/PID/root */
    MOST_SEGMENTS = 256,
    MOST_NOTE_BYTES = 16384, /* those of Debian's programs have 100 */
};

bool
build_id_is(const struct build_id *one, const struct build_id *other)
{
    return one->n_bytes == other->n_bytes &&
           memcmp(one->bytes, other->bytes, one->n_bytes) == 0;
}

/* ---- notes ------------------------------------------------------------- */

static bool
read_at(int fd, void *where, size_t n_bytes, uint64_t offset)
{
    return offset <= INT64_MAX &&
           pread(fd, where, n_bytes, (off_t)offset) == (ssize_t)n_bytes;
}

/* How far it is to the next note; a whole one always goes on. */
static uint64_t
padded(uint64_t n_bytes, uint64_t align)
{
    return (n_bytes + align - 1) / align * align;
}

static bool
find_in_notes(const unsigned char *notes, size_t n_bytes, uint64_t align,
              struct build_id *id)
{
    uint64_t at = 0;
    Elf64_Nhdr note;
    while (at <= n_bytes && n_bytes - at >= sizeof(note)) {
        memcpy(&note, notes + at, sizeof(note));
        const uint64_t name = at + sizeof(note);
        const uint64_t content =
            at + padded(sizeof(note) + note.n_namesz, align);
        if (content > n_bytes || note.n_descsz > n_bytes - content)
            return false;
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 &&
            memcmp(notes + name, "GNU", 4) == 0 && note.n_descsz > 0) {
            const size_t n = note.n_descsz < sizeof(id->bytes)
                                 ? note.n_descsz
                                 : sizeof(id->bytes);
            memcpy(id->bytes, notes + content, n);
            id->n_bytes = (uint8_t)n;
            return true;
        }
        at = content + padded(note.n_descsz, align);
    }
    return false;
}

static bool
find_in_segment(int fd, const Elf64_Phdr *segment, struct build_id *id)
{
    unsigned char notes[MOST_NOTE_BYTES];
    const size_t n_bytes = segment->p_filesz < sizeof(notes)
                               ? (size_t)segment->p_filesz
                               : sizeof(notes);
    return segment->p_type == PT_NOTE &&
           read_at(fd, notes, n_bytes, segment->p_offset) &&
           find_in_notes(notes, n_bytes, segment->p_align == 8 ? 8 : 4, id);
}

struct build_id
names_file_build_id(int fd)
{
    struct build_id id = {.n_bytes = 0};
    Elf64_Ehdr header;
    if (!read_at(fd, &header, sizeof(header), 0) ||
        memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
        header.e_ident[EI_CLASS] != ELFCLASS64 ||
        header.e_phentsize != sizeof(Elf64_Phdr))
        return id;
    for (unsigned i = 0; i < header.e_phnum && i < MOST_SEGMENTS; i++) {
        Elf64_Phdr segment;
        if (header.e_phoff > INT64_MAX ||
            !read_at(fd, &segment, sizeof(segment),
                     header.e_phoff + i * sizeof(segment)) ||
            find_in_segment(fd, &segment, &id))
            break;
    }
    return id;
}

/* ---- finding ----------------------------------------------------------- */

/*
 * A device or a FIFO does things when it is opened, so nothing is before we
 * know what it is.
 */
static int
open_regular(const char *path)
{
    const int seen = open(path, O_PATH | O_CLOEXEC);
    if (seen < 0)
        return -1;
    struct stat is;
    int fd = -1;
    if (fstat(seen, &is) == 0 && S_ISREG(is.st_mode)) {
        char again[64];
        snprintf(again, sizeof(again), "/proc/self/fd/%d", seen);
        fd = open(again, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    }
    close(seen);
    return fd;
}

typedef int opener(const struct names_told *told);

static int
open_in_its_view(const struct names_told *told)
{
    char path[PATH_BYTES];
    /* Without a '/' it is a name that no file has: linux-vdso.so.1. */
    if (strchr(told->path, '/') == NULL)
        return -1;
    const int n = snprintf(path, sizeof(path), "/proc/%d/%s/%s", told->pid,
                           told->path[0] == '/' ? "root" : "cwd", told->path);
    return n < (int)sizeof(path) ? open_regular(path) : -1;
}

static int
open_in_our_view(const struct names_told *told)
{
    return told->path[0] == '/' ? open_regular(told->path) : -1;
}

static int
open_its_program(const struct names_told *told)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/exe", told->pid);
    return open_regular(path);
}

static int
open_what_is_mapped(const struct names_told *told)
{
    char path[512];
    char prefix[32];
    snprintf(path, sizeof(path), "/proc/%d/map_files", told->pid);
    const int n = snprintf(prefix, sizeof(prefix), "%" PRIx64 "-", told->start);
    DIR *folder = opendir(path);
    if (folder == NULL)
        return -1;
    int fd = -1;
    const struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) {
        if (strncmp(entry->d_name, prefix, (size_t)n) != 0)
            continue;
        snprintf(path, sizeof(path), "/proc/%d/map_files/%s", told->pid,
                 entry->d_name);
        fd = open_regular(path);
        break;
    }
    closedir(folder);
    return fd;
}

/* True, and *fd and *id are set: what it opens is the image. */
static bool
opens(opener *open_it, const struct names_told *told, int *fd,
      struct build_id *id)
{
    *fd = open_it(told);
    if (*fd < 0)
        return false;
    *id = names_file_build_id(*fd);
    if (told->build_id.n_bytes == 0 || build_id_is(&told->build_id, id))
        return true;
    close(*fd);
    return false;
}

int
names_file_open(const struct names_told *told, struct build_id *id)
{
    static opener *const provable[] = {open_in_its_view, open_in_our_view,
                                       open_its_program, open_what_is_mapped};
    int fd;
    if (told->build_id.n_bytes != 0) {
        for (size_t i = 0; i < countof(provable); i++) {
            if (opens(provable[i], told, &fd, id))
                return fd;
        }
        return -1;
    }
    if (opens(open_what_is_mapped, told, &fd, id) ||
        opens(told->path[0] == '\0' ? open_its_program : open_in_its_view, told,
              &fd, id))
        return fd;
    return -1;
}
