/*
 * images.h - the image files that a target has mapped
 *
 * What follows an image's file pages in memory (.bss) is an anonymous mapping
 * like any other; the image's program headers say how far it reaches.
 */
#ifndef COLLECTOR_CENSUS_IMAGES_H
#define COLLECTOR_CENSUS_IMAGES_H

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/census/claims.h"
#include "collector/census/maps.h"
#include "collector/census/memory.h"

enum { IMAGES_MOST_SEGMENTS = 64 };

struct images_headers {
    Elf64_Ehdr elf;
    Elf64_Phdr segments[IMAGES_MOST_SEGMENTS];
    uint64_t bias; /* from the addresses that they name to the target's */
};

/* Those of the image that begins with this mapping. False: it is none. */
bool images_headers(struct memory *memory, const struct memory_runs *runs,
                    const struct map *map, struct images_headers *headers);

/*
 * What ld.so keeps of the images: its list of them lies in mappings that it
 * made before anybody could see it. The layer gets each page that holds a link
 * map, or that one points to, where the claims leave it unexplained.
 */
void images_claim_loader(struct memory *memory, const struct maps *maps,
                         const struct memory_runs *runs,
                         const struct claims *claims, struct claims *layer);

/* Adds a claim of image_private for each such range, in order. */
void images_claim_bss(struct memory *memory, const struct maps *maps,
                      const struct memory_runs *runs, struct claims *layer);

/*
 * Bytes of one page of a file's mapping. Where the page is not resident they
 * come from the file, so that the target's RSS stays what it is; only if the
 * file is out of reach is its page, which costs no memory of its own, mapped.
 */
bool images_read(struct memory *memory, const struct memory_runs *runs,
                 const struct map *map, uint64_t addr, void *where,
                 size_t n_bytes);

#endif
