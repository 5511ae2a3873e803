/*
 * Exits inside a constructor. As a program after residue's constructor, as a
 * library that is preloaded behind it before.
 */
#include <stdio.h>
#include <stdlib.h>

static void *blocks[700];

__attribute__((constructor)) static void
leave(void)
{
    for (int i = 0; i < 700; i++)
        blocks[i] = malloc(8 + i);
    for (int i = 0; i < 700; i += 3)
        free(blocks[i]);
    printf("gone\n");
    exit(6);
}

int
main(void)
{
    return 0;
}
