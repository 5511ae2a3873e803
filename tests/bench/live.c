/*
 * Many live blocks: argv[1] of them are made, then argv[2] times a random one
 * is freed and made anew, of argv[3] bytes, or with 0 of 16 to 256. Before each
 * step, and before it ends, it says so by a line and waits for one.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t
next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void *
make(uint64_t *state, size_t n_bytes)
{
    if (n_bytes == 0)
        n_bytes = 16 + next_random(state) % 241;
    char *block = malloc(n_bytes);
    if (block == NULL)
        exit(EXIT_FAILURE);
    *block = 1;
    return block;
}

static void
wait_for_word(void)
{
    puts("ready");
    fflush(stdout);
    if (getchar() == EOF)
        exit(EXIT_FAILURE);
}

int
main(int argc, char **argv)
{
    if (argc != 4)
        return EXIT_FAILURE;
    const size_t n_blocks = strtoul(argv[1], NULL, 10);
    const size_t n_pairs = strtoul(argv[2], NULL, 10);
    const size_t n_bytes = strtoul(argv[3], NULL, 10);
    uint64_t state = 88172645463325252;
    void **blocks = calloc(n_blocks, sizeof(blocks[0]));
    if (blocks == NULL)
        return EXIT_FAILURE;
    wait_for_word();
    for (size_t i = 0; i < n_blocks; i++)
        blocks[i] = make(&state, n_bytes);
    wait_for_word();
    for (size_t i = 0; i < n_pairs; i++) {
        void **place = &blocks[next_random(&state) % n_blocks];
        free(*place);
        *place = make(&state, n_bytes);
    }
    wait_for_word();
    return EXIT_SUCCESS;
}
