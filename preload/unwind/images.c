/*
 * Places in the table are taken in turn and filled before they are shown. None
 * is ever filled again: what has gone is marked so, and comes back to life if
 * the same image is found at the same address. A full table means shorter
 * stacks.
 */
#include "preload/unwind/images.h"

#include <dlfcn.h>
#include <link.h>
#include <stdatomic.h>
#include <string.h>

#include "include/attrs.h"

enum { MOST_IMAGES = 2048, MOST_HEADERS = 64 };

enum state {
    BEING_FILLED,
    HERE,
    GONE,       /* or not: nobody has asked since one went */
    SUPERSEDED, /* another has come to its addresses */
};

/* glibc's struct dl_find_object (dlfcn.h, 2.35), which older headers lack. */
struct found {
    unsigned long long flags;
    void *start;
    void *end;
    struct link_map *link_map;
    void *eh_frame_header;
    unsigned long long reserved[7];
};

static struct {
    struct image items[MOST_IMAGES];
    _Atomic uint32_t n; /* taken; may be more than there are */
    _Atomic uint32_t epoch;
    int (*find_object)(void *, struct found *);
} images;

static uint32_t
n_images(void)
{
    const uint32_t n = atomic_load(&images.n);
    return n < MOST_IMAGES ? n : MOST_IMAGES;
}

/* ---- what an image says of itself -------------------------------------- */

/* Names and descriptions of notes are padded to four bytes (ELF gABI). */
static size_t
padded(size_t n_bytes)
{
    return (n_bytes + 3) & ~(size_t)3;
}

static void
read_notes(struct image *image, const char *notes, size_t n_bytes)
{
    while (n_bytes >= sizeof(ElfW(Nhdr))) {
        const ElfW(Nhdr) *note = (const void *)notes;
        const size_t name_bytes = padded(note->n_namesz);
        const size_t all = sizeof(*note) + name_bytes + padded(note->n_descsz);
        if (all > n_bytes)
            return;
        const char *name = notes + sizeof(*note);
        if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 &&
            memcmp(name, "GNU", 4) == 0 &&
            note->n_descsz <= sizeof(image->build_id)) {
            memcpy(image->build_id, name + name_bytes, note->n_descsz);
            image->build_id_bytes = (uint8_t)note->n_descsz;
            return;
        }
        notes += all;
        n_bytes -= all;
    }
}

/* A segment that is mapped, as far as the image's bounds tell. */
static bool
is_within(const struct image *image, const ElfW(Phdr) * segment)
{
    const uintptr_t start = image->bias + segment->p_vaddr;
    return start >= image->tables.start && start <= image->tables.end &&
           segment->p_memsz <= image->tables.end - start;
}

static void
read_segments(struct image *image, const ElfW(Phdr) * segments, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const ElfW(Phdr) *segment = &segments[i];
        const uintptr_t start = image->bias + segment->p_vaddr;
        if (!is_within(image, segment))
            continue;
        if (segment->p_type == PT_GNU_EH_FRAME)
            image->tables.header = (const uint8_t *)start;
        if (segment->p_type == PT_NOTE && image->build_id_bytes == 0)
            read_notes(image, (const char *)start, segment->p_memsz);
    }
}

/* Its own header, where the image begins with it. */
static void
read_header(struct image *image)
{
    const ElfW(Ehdr) *header = (const void *)image->tables.start;
    if (image->tables.end - image->tables.start < sizeof(*header) ||
        memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 ||
        header->e_phoff != sizeof(*header) || header->e_phnum > MOST_HEADERS)
        return;
    read_segments(image, (const ElfW(Phdr) *)(header + 1), header->e_phnum);
}

/* ---- the table --------------------------------------------------------- */

static bool
is_same(const struct image *one, const struct image *other)
{
    return one->tables.start == other->tables.start &&
           one->tables.end == other->tables.end && one->bias == other->bias &&
           one->tables.header == other->tables.header &&
           one->build_id_bytes == other->build_id_bytes &&
           memcmp(one->build_id, other->build_id, sizeof(one->build_id)) == 0;
}

static bool
overlap(const struct image *one, const struct image *other)
{
    return one->tables.start < other->tables.end &&
           other->tables.start < one->tables.end;
}

/* It is there now: what had its addresses before is to be told apart. */
static void
show(struct image *image)
{
    bool has_followed = atomic_load(&image->state) == SUPERSEDED;
    for (uint32_t i = 0; i < n_images(); i++) {
        struct image *other = &images.items[i];
        const int state = atomic_load(&other->state);
        if (other == image || (state != HERE && state != GONE) ||
            !overlap(other, image))
            continue;
        atomic_store(&other->state, SUPERSEDED);
        has_followed = true;
    }
    if (has_followed) {
        atomic_fetch_add(&images.epoch, 1);
        atomic_store(&image->told_at, 0);
    }
    atomic_store(&image->state, HERE);
}

/* The one in the table that is like it; NULL: the table is full. */
static struct image *
keep(const struct image *fresh)
{
    for (uint32_t i = 0; i < n_images(); i++) {
        struct image *image = &images.items[i];
        const int state = atomic_load(&image->state);
        if (state == BEING_FILLED || !is_same(image, fresh))
            continue;
        image->path = fresh->path;
        if (state != HERE)
            show(image);
        return image;
    }
    if (n_images() == MOST_IMAGES)
        return NULL;
    const uint32_t place = atomic_fetch_add(&images.n, 1);
    if (place >= MOST_IMAGES)
        return NULL;
    struct image *image = &images.items[place];
    image->tables = fresh->tables;
    image->bias = fresh->bias;
    image->path = fresh->path;
    memcpy(image->build_id, fresh->build_id, sizeof(image->build_id));
    image->build_id_bytes = fresh->build_id_bytes;
    show(image);
    return image;
}

static struct image *
find_known(uintptr_t address)
{
    for (uint32_t i = n_images(); i-- > 0;) {
        struct image *image = &images.items[i];
        if (atomic_load(&image->state) == HERE &&
            address - image->tables.start <
                image->tables.end - image->tables.start)
            return image;
    }
    return NULL;
}

/*
 * By glibc 2.35 and later: takes no lock, and may be called anywhere. It is
 * asked each time, for glibc itself unloads images that nobody tells us of, and
 * tables that have gone must not be read.
 */
static struct image *
find_by_loader(uintptr_t address)
{
    struct found found;
    if (images.find_object((void *)address, &found) != 0)
        return NULL;
    struct image *known = find_known(address);
    if (known != NULL && known->tables.start == (uintptr_t)found.start &&
        known->tables.end == (uintptr_t)found.end &&
        known->tables.header == found.eh_frame_header &&
        known->bias == found.link_map->l_addr)
        return known;
    struct image image = {
        .tables = {.start = (uintptr_t)found.start,
                   .end = (uintptr_t)found.end},
        .bias = found.link_map->l_addr,
        .path = found.link_map->l_name,
    };
    read_header(&image);
    image.tables.header = found.eh_frame_header;
    return keep(&image);
}

/* dl_iterate_phdr's callback. */
static int
list_one(struct dl_phdr_info *info, size_t n_bytes, void *unused)
{
    (void)n_bytes, (void)unused;
    struct image image = {
        .tables = {.start = UINTPTR_MAX},
        .bias = info->dlpi_addr,
        .path = info->dlpi_name,
    };
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        const uintptr_t start = info->dlpi_addr + segment->p_vaddr;
        if (segment->p_type != PT_LOAD)
            continue;
        if (start < image.tables.start)
            image.tables.start = start;
        if (start + segment->p_memsz > image.tables.end)
            image.tables.end = start + segment->p_memsz;
    }
    read_segments(&image, info->dlpi_phdr, info->dlpi_phnum);
    if (image.tables.end != 0)
        keep(&image);
    return 0;
}

void
images_init(void)
{
    *(void **)&images.find_object = dlsym(RTLD_DEFAULT, "_dl_find_object");
    if (images.find_object == NULL)
        dl_iterate_phdr(list_one, NULL);
}

struct image *
images_find(uintptr_t address)
{
    return images.find_object == NULL ? find_known(address)
                                      : find_by_loader(address);
}

uint32_t
images_epoch(void)
{
    return atomic_load_explicit(&images.epoch, memory_order_relaxed);
}

void
images_forget(void)
{
    for (uint32_t i = 0; i < n_images() && images.find_object != NULL; i++) {
        int here = HERE;
        atomic_compare_exchange_strong(&images.items[i].state, &here, GONE);
    }
}
