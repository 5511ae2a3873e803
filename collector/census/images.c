#include "collector/census/images.h"

#include <string.h>

#include "collector/census/pages.h"
#include "include/attrs.h"
#include "include/glibc.h"

enum {
    MOST_DYNAMIC = 128, /* entries of a dynamic section */
    MOST_LINK_MAPS = 4096,
};

#define LEAST_ADDRESS ((uint64_t)4096)

static bool
is_elf(const Elf64_Ehdr *header)
{
    return memcmp(header->e_ident, ELFMAG, SELFMAG) == 0 &&
           header->e_ident[EI_CLASS] == ELFCLASS64 &&
           header->e_phentsize == sizeof(Elf64_Phdr) && header->e_phnum > 0 &&
           header->e_phnum <= IMAGES_MOST_SEGMENTS;
}

/* From the target's own pages, where they are resident. */
static bool
read_from_memory(struct memory *memory, const struct map *map,
                 const struct memory_runs *runs, struct images_headers *headers)
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
read_from_file(const struct map *map, struct images_headers *headers)
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
lowest_address(const struct images_headers *headers)
{
    uint64_t lowest = UINT64_MAX;
    for (unsigned i = 0; i < headers->elf.e_phnum; i++) {
        const Elf64_Phdr *segment = &headers->segments[i];
        if (segment->p_type == PT_LOAD && segment->p_vaddr < lowest)
            lowest = segment->p_vaddr;
    }
    return lowest & ~(uint64_t)(MEMORY_PAGE - 1);
}

bool
images_headers(struct memory *memory, const struct memory_runs *runs,
               const struct map *map, struct images_headers *headers)
{
    if (map->inode == 0 || map->offset != 0 || !map->is_readable ||
        map->is_shared ||
        (!read_from_memory(memory, map, runs, headers) &&
         !read_from_file(map, headers)))
        return false;
    headers->bias = map->start - lowest_address(headers);
    return true;
}

static void
claim_bss(const struct map *map, const struct images_headers *headers,
          struct claims *layer)
{
    for (unsigned i = 0; i < headers->elf.e_phnum; i++) {
        const Elf64_Phdr *segment = &headers->segments[i];
        if (segment->p_type != PT_LOAD || segment->p_memsz <= segment->p_filesz)
            continue;
        const uint64_t start = headers->bias + segment->p_vaddr;
        claims_add(layer, (struct claim){
                              .start = page_up(start + segment->p_filesz),
                              .end = page_up(start + segment->p_memsz),
                              .cause = CAUSE_image_private,
                              .proof = PROOF_bss,
                              .address = map->start,
                          });
    }
}

void
images_claim_bss(struct memory *memory, const struct maps *maps,
                 const struct memory_runs *runs, struct claims *layer)
{
    for (size_t i = 0; i < maps->n_maps; i++) {
        struct images_headers headers;
        if (images_headers(memory, runs, &maps->maps[i], &headers))
            claim_bss(&maps->maps[i], &headers, layer);
    }
    claims_sort(layer);
}

/* ---- the loader's own -------------------------------------------------- */

static bool
read_resident(struct memory *memory, const struct memory_runs *runs,
              uint64_t addr, void *where, size_t n_bytes)
{
    return addr >= LEAST_ADDRESS && pages_is_resident(runs, addr) &&
           pages_is_resident(runs, addr + n_bytes - 1) &&
           memory_read(memory, addr, where, n_bytes);
}

/* The program's DT_DEBUG, which ld.so has filled in; 0: it is none. */
static uint64_t
find_r_debug(struct memory *memory, const struct memory_runs *runs,
             const struct images_headers *headers)
{
    bool is_program = false;
    Elf64_Dyn entries[MOST_DYNAMIC];
    size_t n_entries = 0;
    for (unsigned i = 0; i < headers->elf.e_phnum; i++) {
        const Elf64_Phdr *segment = &headers->segments[i];
        is_program = is_program || segment->p_type == PT_INTERP;
        if (segment->p_type != PT_DYNAMIC || n_entries != 0)
            continue;
        n_entries = segment->p_memsz / sizeof(entries[0]);
        n_entries = n_entries < MOST_DYNAMIC ? n_entries : MOST_DYNAMIC;
        if (n_entries == 0 ||
            !read_resident(memory, runs, headers->bias + segment->p_vaddr,
                           entries, n_entries * sizeof(entries[0])))
            return 0;
    }
    for (size_t i = 0; i < n_entries && is_program; i++) {
        if (entries[i].d_tag == DT_DEBUG)
            return entries[i].d_un.d_ptr;
    }
    return 0;
}

/* The page of an address that a link map holds, or has for itself. */
static void
claim_page(const struct claims *claims, uint64_t addr, uint64_t link_map,
           struct claims *layer)
{
    const uint64_t page = addr & ~(uint64_t)(MEMORY_PAGE - 1);
    if (claims_are(claims, page, page + MEMORY_PAGE, CAUSE_unexplained))
        claims_add(layer,
                   (struct claim){page, page + MEMORY_PAGE, CAUSE_image_private,
                                  PROOF_link_map, link_map});
}

/* From one link map to the next: struct link_map in include/link.h of glibc. */
static void
claim_link_maps(struct memory *memory, const struct memory_runs *runs,
                const struct claims *claims, uint64_t first,
                struct claims *layer)
{
    uint64_t words[GLIBC_LINK_MAP_BYTES / sizeof(uint64_t)];
    uint64_t at = first;
    uint64_t previous = 0;
    for (unsigned n = 0; n < MOST_LINK_MAPS && at != 0; n++) {
        if (!read_resident(memory, runs, at, words, sizeof(words)) ||
            words[GLIBC_LINK_MAP_PREVIOUS] != previous)
            return;
        claim_page(claims, at, at, layer);
        claim_page(claims, at + sizeof(words) - 1, at, layer);
        for (size_t i = 0; i < countof(words); i++) {
            if (words[i] >= LEAST_ADDRESS && words[i] < MEMORY_END)
                claim_page(claims, words[i], at, layer);
        }
        previous = at;
        at = words[GLIBC_LINK_MAP_NEXT];
    }
}

void
images_claim_loader(struct memory *memory, const struct maps *maps,
                    const struct memory_runs *runs, const struct claims *claims,
                    struct claims *layer)
{
    for (size_t i = 0; i < maps->n_maps; i++) {
        struct images_headers headers;
        uint64_t words[2]; /* r_version, r_map */
        if (!images_headers(memory, runs, &maps->maps[i], &headers))
            continue;
        const uint64_t r_debug = find_r_debug(memory, runs, &headers);
        if (r_debug == 0)
            continue;
        if (read_resident(memory, runs, r_debug, words, sizeof(words)))
            claim_link_maps(memory, runs, claims, words[1], layer);
        break;
    }
    claims_sort(layer);
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
