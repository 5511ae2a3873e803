/* Loaded and unloaded by sites.c; NAME tells two builds of it apart. */
#include <stdlib.h>

#define NOINLINE __attribute__((noinline))

void *make_in_plugin(void);

static NOINLINE void *
NAME(void)
{
    void *volatile block = malloc(555);
    return block;
}

__attribute__((visibility("default"))) void *
make_in_plugin(void)
{
    void *volatile block = NAME();
    return block;
}
