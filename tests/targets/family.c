/*
 * Processes of three generations, each of which frees and replaces what it has
 * inherited, for as long as nobody ends them. Says when it is there, and waits
 * for a byte of input.
 *
 *   family
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BLOCKS = 500, ROUNDS = 8000, GENERATIONS = 3 };

static void *blocks[BLOCKS];
static uint64_t dice;

static uint64_t throw(void)
{
    dice = dice * 6364136223846793005u + 1442695040888963407u;
    return dice >> 33;
}

static void
churn(void)
{
    for (int i = 0; i < ROUNDS; i++) {
        void **block = &blocks[throw() % BLOCKS];
        const size_t n_bytes = 1 + throw() % 3000;
        if (throw() % 4 == 0) {
            *block = realloc(*block, n_bytes);
        } else {
            free(*block);
            *block = malloc(n_bytes);
        }
    }
}

/* One that has children goes on while they do. */
static void
live(int generation)
{
    const pid_t child = generation < GENERATIONS ? fork() : -1;
    dice += child == 0;
    if (child == 0) {
        live(generation + 1);
        _exit(0);
    }
    churn();
    if (child > 0)
        waitpid(child, NULL, 0);
}

int
main(void)
{
    char byte;
    churn();
    if (write(STDOUT_FILENO, "0\n", 2) != 2 ||
        read(STDIN_FILENO, &byte, 1) != 1)
        return 1;
    for (;;)
        live(1);
}
