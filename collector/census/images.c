#include "collector/census/images.h"

#include <elf.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "collector/census/pages.h"

enum { MOST_SEGMENTS = 64 };

struct headers {
    Elf64_Ehdr elf;
    Elf64_Phdr segments[MOST_SEGMENTS];
};

static bool
is_elf(const Elf64_Ehdr *header)
{
    return memcmp(header->e_ident, ELFMAG, SELFMAG) == 0 &&
           header->e_ident[EI_CLASS] == ELFCLASS64 &&
           header->e_phentsize == sizeof(Elf64_Phdr) && header->e_phnum > 0 &&
           header->e_phnum <= MOST_SEGMENTS;
}

/* From the target's own pages, where they are resident. */
static bool
read_from_memory(struct memory *memory, const struct map *map,
                 const struct memory_runs *runs, struct headers *headers)
{
    if (!pages_is_resident(runs, map->start) ||
        !memory_read(memory, map->start, &headers->elf, sizeof(headers->elf)) ||
        !is_elf(&headers->elf))
        return false;
    const uint64_t n_bytes =
        (uint64_t)headers->elf.e_phnum * sizeof(Elf64_Phdr);
    return headers->elf.e_phoff + n_bytes <= MEMORY_PAGE &&
           memory_read(memory, map->start + headers->elf.e_phoff,
                       headers->segments, n_bytes);
}

/* The file, if it is still the one that was mapped; else -1. */
static int
open_mapped(const struct map *map)
{
    const int fd = open(map->name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat is;
    if (fd < 0 ||
        (fstat(fd, &is) == 0 && is.st_ino == map->inode && S_ISREG(is.st_mode)))
        return fd;
    close(fd);
    return -1;
}

static bool
read_from_file(const struct map *map, struct headers *headers)
{
    const int fd = open_mapped(map);
    if (fd < 0)
        return false;
    bool is_read = pread(fd, &headers->elf, sizeof(headers->elf), 0) ==
                       sizeof(headers->elf) &&
                   is_elf(&headers->elf);
    if (is_read) {
        const size_t n_bytes = headers->elf.e_phnum * sizeof(Elf64_Phdr);
        is_read = pread(fd, headers->segments, n_bytes,
                        (off_t)headers->elf.e_phoff) == (ssize_t)n_bytes;
    }
    close(fd);
    return is_read;
}

static uint64_t
page_up(uint64_t addr)
{
    return (addr + MEMORY_PAGE - 1) & ~(uint64_t)(MEMORY_PAGE - 1);
}

/* The address that the image's lowest segment asks for. */
static uint64_t
lowest_address(const struct headers *headers)
{
    uint64_t lowest = UINT64_MAX;
    for (unsigned i = 0; i < headers->elf.e_phnum; i++) {
        const Elf64_Phdr *segment = &headers->segments[i];
        if (segment->p_type == PT_LOAD && segment->p_vaddr < lowest)
            lowest = segment->p_vaddr;
    }
    return lowest & ~(uint64_t)(MEMORY_PAGE - 1);
}

static void
claim(const struct map *map, const struct headers *headers,
      struct claims *layer)
{
    const uint64_t bias = map->start - lowest_address(headers);
    for (unsigned i = 0; i < headers->elf.e_phnum; i++) {
        const Elf64_Phdr *segment = &headers->segments[i];
        if (segment->p_type != PT_LOAD || segment->p_memsz <= segment->p_filesz)
            continue;
        const uint64_t start = bias + segment->p_vaddr;
        claims_add(layer, page_up(start + segment->p_filesz),
                   page_up(start + segment->p_memsz), CAUSE_image_private);
    }
}

void
images_claim_bss(struct memory *memory, const struct maps *maps,
                 const struct memory_runs *runs, struct claims *layer)
{
    for (size_t i = 0; i < maps->n_maps; i++) {
        const struct map *map = &maps->maps[i];
        struct headers headers;
        if (map->inode == 0 || map->offset != 0 || !map->is_readable ||
            map->is_shared)
            continue;
        if (read_from_memory(memory, map, runs, &headers) ||
            read_from_file(map, &headers))
            claim(map, &headers, layer);
    }
}

bool
images_read(struct memory *memory, const struct memory_runs *runs,
            const struct map *map, uint64_t addr, void *where, size_t n_bytes)
{
    if (pages_is_resident(runs, addr))
        return memory_read(memory, addr, where, n_bytes);
    if (map->is_writable)
        return false;
    const int fd = open_mapped(map);
    if (fd < 0)
        return memory_read(memory, addr, where, n_bytes);
    const off_t offset = (off_t)(addr - map->start + map->offset);
    const bool is_read = pread(fd, where, n_bytes, offset) == (ssize_t)n_bytes;
    close(fd);
    return is_read;
}
