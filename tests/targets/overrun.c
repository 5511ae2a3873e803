/*
 * Writes one byte past the end of a block and frees it: what MALLOC_CHECK_=3
 * with libc_malloc_debug.so ends by SIGABRT, and what malloc alone overlooks.
 */
#include <stdlib.h>

static volatile size_t n_bytes = 20; /* which the compiler does not know */

int
main(void)
{
    char *block = malloc(n_bytes);
    if (block == NULL)
        return 2;
    block[n_bytes] = 1;
    free(block);
    return 0;
}
