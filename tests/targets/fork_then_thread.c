/*
 * Children of a threaded program that start a thread before they have allocated
 * anything: two threads of a process that nobody knows yet.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILDREN = 200, BLOCKS = 50, BLOCK_BYTES = 200000 };

static int n_failed;

static void *
allocate(void *unused)
{
    for (int i = 0; i < BLOCKS; i++)
        free(malloc(BLOCK_BYTES));
    return unused;
}

static void *
fork_all(void *unused)
{
    for (int i = 0; i < CHILDREN; i++) {
        const pid_t child = fork();
        if (child == 0) {
            pthread_t thread;
            pthread_create(&thread, NULL, allocate, NULL);
            allocate(NULL);
            pthread_join(thread, NULL);
            _exit(0);
        }
        int status = -1;
        waitpid(child, &status, 0);
        n_failed += status != 0;
    }
    return unused;
}

int
main(void)
{
    pthread_t first;
    pthread_t forking;
    pthread_create(&first, NULL, allocate, NULL); /* leaves a stack behind */
    pthread_join(first, NULL);
    pthread_create(&forking, NULL, fork_all, NULL);
    pthread_join(forking, NULL);
    printf("%d of %d children failed\n", n_failed, CHILDREN);
    return n_failed != 0;
}
