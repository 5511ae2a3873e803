#include "tests/unit/collector/chunked.h"

#include <string.h>

#include "include/glibc.h"

struct chunked
chunked_begin(char *here, uint64_t bits)
{
    return (struct chunked){.here = here, .bits = bits};
}

static void
put_header(struct chunked *chunked, uint64_t n_bytes)
{
    const uint64_t size = n_bytes | chunked->bits |
                          (chunked->free_before == 0 ? GLIBC_PREV_INUSE : 0);
    if (chunked->free_before != 0)
        memcpy(chunked->here, &chunked->free_before, sizeof(uint64_t));
    memcpy(chunked->here + 8, &size, sizeof(size));
}

void
chunked_put(struct chunked *chunked, uint64_t n_bytes, bool is_used)
{
    put_header(chunked, n_bytes);
    chunked->here += n_bytes;
    chunked->free_before = is_used ? 0 : n_bytes;
}

/* malloc/malloc.c, sysmalloc: the top that was is free, behind it two. */
void
chunked_end_full(struct chunked *chunked)
{
    put_header(chunked, GLIBC_FENCEPOST_BYTES);
    const uint64_t last = GLIBC_PREV_INUSE;
    memcpy(chunked->here + GLIBC_FENCEPOST_BYTES + 8, &last, sizeof(last));
    chunked->here += (size_t)2 * GLIBC_FENCEPOST_BYTES;
}
