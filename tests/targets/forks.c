/*
 * A child, born in one of several ways, that frees what it inherited and keeps
 * blocks of its own, while its parent does the same.
 *
 *   forks fork|_Fork|vfork|vfork-exec|vfork-close|again|daemon|crowd
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BLOCKS = 2000, THREADS = 40, MAPPED = 8, MAPPED_BYTES = 1500000 };

static char *blocks[BLOCKS];

/* Another third of the blocks each time, of another size. */
static void
churn(int number)
{
    for (int i = number % 3; i < BLOCKS; i += 3) {
        free(blocks[i]);
        blocks[i] = malloc(16 + i * (number + 1) % 4000);
    }
}

static void
wait_for(pid_t child)
{
    int status = -1;
    waitpid(child, &status, 0);
    printf("status %#x\n", status);
}

static void
run_child(pid_t pid)
{
    if (pid == 0) {
        churn(1);
        _exit(3);
    }
    churn(2);
    wait_for(pid);
}

/*
 * On its parent's memory: what it keeps is its parent's; what it closes is its
 * own.
 */
static void
run_vfork(const char *more)
{
    const pid_t pid = vfork();
    if (pid == 0) {
        if (strcmp(more, "-close") == 0)
            syscall(SYS_close_range, 3, ~0u, 0);
        for (int i = 0; i < 3; i++)
            churn(i);
        if (strcmp(more, "-exec") == 0)
            execlp("true", "true", (char *)NULL);
        _exit(3);
    }
    churn(2);
    wait_for(pid);
}

/* A child that forks, and so on; each generation has its parent's blocks. */
static void
run_again(int left)
{
    const pid_t pid = left == 0 ? -1 : fork();
    churn(left);
    if (pid > 0)
        wait_for(pid);
    if (pid != 0)
        return;
    run_again(left - 1);
    fflush(stdout);
    _exit(left);
}

/* Forks twice, as daemons do. Its last word is the end of a pipe. */
static void
run_daemon(void)
{
    int pipes[2];
    char word;
    if (pipe(pipes) != 0)
        exit(2);
    const pid_t pid = fork();
    if (pid == 0) {
        setsid();
        churn(1);
        if (fork() != 0)
            _exit(4);
        for (int fd = 0; fd < 3; fd++)
            close(fd);
        churn(2);
        _exit(0);
    }
    close(pipes[1]);
    wait_for(pid);
    printf("%zd bytes\n", read(pipes[0], &word, 1));
}

static pthread_barrier_t all_are_there;

static void *
stay(void *unused)
{
    free(malloc(100));
    pthread_barrier_wait(&all_are_there);
    pause();
    return unused;
}

/* Its child's first blocks are mapped by the kernel, wherever there is room. */
static void
run_crowd(void)
{
    pthread_t thread;
    pthread_barrier_init(&all_are_there, NULL, THREADS + 1);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&thread, NULL, stay, NULL);
    pthread_barrier_wait(&all_are_there);
    const pid_t pid = fork();
    for (int i = 0; pid == 0 && i < MAPPED; i++) {
        blocks[i] = realloc(blocks[i], MAPPED_BYTES);
        memset(blocks[i], 1, MAPPED_BYTES);
    }
    run_child(pid);
}

int
main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "";
    churn(0);
    churn(1);
    if (strcmp(how, "fork") == 0)
        run_child(fork());
    else if (strcmp(how, "_Fork") == 0)
        run_child(_Fork());
    else if (strncmp(how, "vfork", strlen("vfork")) == 0)
        run_vfork(how + strlen("vfork"));
    else if (strcmp(how, "crowd") == 0)
        run_crowd();
    else if (strcmp(how, "again") == 0)
        run_again(4);
    else if (strcmp(how, "daemon") == 0)
        run_daemon();
    else
        return 2;
    return 0;
}
