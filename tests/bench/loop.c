/*
 * Nothing but malloc and free, as often as argv[1] says: the hooks bare. With 0
 * it is the program that does nothing.
 */
#include <stdlib.h>

int
main(int argc, char **argv)
{
    const long n_pairs = argc > 1 ? atol(argv[1]) : 0;
    for (long i = 0; i < n_pairs; i++) {
        volatile char *block = malloc(64);
        if (block == NULL)
            return EXIT_FAILURE;
        *block = (char)i;
        free((void *)block);
    }
    return EXIT_SUCCESS;
}
