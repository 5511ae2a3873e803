/*
 * cfi.h - how to get from one frame to the frame that called it
 *
 * What an image's .eh_frame says of one address (DWARF 5, 6.4; LSB 10.6), as
 * far as a stack is made of return addresses: where the caller's frame is, and
 * where it finds its rbp again. Of the image's own tables nothing is proved but
 * that they are read within their bounds: they are the target's code, as it
 * runs. No state, no call, no allocation.
 */
#ifndef PRELOAD_UNWIND_CFI_H
#define PRELOAD_UNWIND_CFI_H

#include <stdbool.h>
#include <stdint.h>

/* The canonical frame address: what rsp is once the function has returned. */
enum cfi_frame {
    CFI_UNKNOWN, /* not told, or in a way that we do not know */
    CFI_FROM_RSP,
    CFI_FROM_RBP,
    CFI_AT_RBP, /* it is stored at rbp + offset */
    CFI_SIGNAL, /* the kernel's frame: the registers are in its ucontext */
    CFI_OUTERMOST,
};

enum cfi_rbp {
    CFI_RBP_SAME,
    CFI_RBP_BY_FRAME, /* stored at the frame address + offset */
    CFI_RBP_BY_RBP,   /* stored at rbp + offset */
    CFI_RBP_UNKNOWN,  /* not to be had */
};

struct cfi_rule {
    enum cfi_frame frame;
    enum cfi_rbp rbp;
    int32_t frame_offset;
    int32_t rbp_offset;
};

/* An image's .eh_frame_hdr, and the end of the memory that it may refer to. */
struct cfi_tables {
    const uint8_t *header; /* NULL: there is none */
    uintptr_t start;       /* of the image */
    uintptr_t end;
};

/*
 * For a return address ask for the one before it: it may be the first of the
 * next function, or of a part of this one with other rules.
 */
struct cfi_rule cfi_find(const struct cfi_tables *tables, uintptr_t address);

#endif
