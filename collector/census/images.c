#include "collector/census/images.h"

#include <elf.h>
#include <string.h>

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

static bool
read_from_file(const struct map *map, struct headers *headers)
{
    Elf64_Ehdr *elf = &headers->elf;
    return memory_read_file(map->name, map->inode, 0, elf, sizeof(*elf)) &&
           is_elf(elf) &&
           memory_read_file(map->name, map->inode, elf->e_phoff,
                            headers->segments,
                            elf->e_phnum * sizeof(Elf64_Phdr));
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
    const uint64_t offset = addr - map->start + map->offset;
    return !map->is_writable &&
           (memory_read_file(map->name, map->inode, offset, where, n_bytes) ||
            memory_read(memory, addr, where, n_bytes));
}
