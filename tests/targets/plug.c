/* To be loaded and unloaded: allocates and frees at both, and when told. */
#include <stdlib.h>

void *plug_allocate(size_t n_bytes);
void plug_free(void *block);

static void *blocks[50];

__attribute__((constructor)) static void
begin(void)
{
    for (int i = 0; i < 50; i++)
        blocks[i] = malloc(30 + i);
}

/* A few are left. */
__attribute__((destructor)) static void
end(void)
{
    for (int i = 2; i < 50; i++)
        free(blocks[i]);
}

void *
plug_allocate(size_t n_bytes)
{
    return malloc(n_bytes);
}

void
plug_free(void *block)
{
    free(block);
}
