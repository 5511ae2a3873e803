/*
 * images.h - the images whose code is on the target's stacks
 *
 * What is known of an image stays at its place for as long as the process
 * lives, so that any thread may read it without a lock. glibc 2.35 and later
 * says of any address, at any time, which image it lies in (_dl_find_object).
 * Before, only those that were there at the start are known, which never go,
 * and a stack through another one ends there.
 */
#ifndef PRELOAD_UNWIND_IMAGES_H
#define PRELOAD_UNWIND_IMAGES_H

#include <stdbool.h>
#include <stdint.h>

#include "include/wire.h"
#include "preload/unwind/cfi.h"

struct image {
    struct cfi_tables tables;
    uintptr_t bias;
    const char *path; /* the loader's; "": the program itself */
    uint8_t build_id[WIRE_BUILD_ID_BYTES];
    uint8_t build_id_bytes;
    _Atomic int state;       /* images.c's */
    _Atomic uint8_t told_at; /* the caller's; 0 again once it was gone */
};

/* Constructor, once. */
void images_init(void);

/* The image that this address lies in, or NULL: none is known. */
struct image *images_find(uintptr_t address);

/*
 * One may have gone. Whoever asks from now on learns what is there; the images
 * that are still there need not be told again.
 */
void images_forget(void);

/* Grows where an address may mean another image than it did before. */
uint32_t images_epoch(void);

#endif
