/*
 * images.h - the zero-filled data of the images a target has mapped
 *
 * What follows an image's file pages in memory (.bss) is an anonymous mapping
 * like any other; the image's program headers say how far it reaches.
 */
#ifndef COLLECTOR_CENSUS_IMAGES_H
#define COLLECTOR_CENSUS_IMAGES_H

#include "collector/census/claims.h"
#include "collector/census/maps.h"
#include "collector/census/memory.h"

/* Adds a claim of image_private for each such range. */
void images_claim_bss(struct memory *memory, const struct maps *maps,
                      const struct memory_runs *runs, struct claims *layer);

#endif
