/*
 * Signal handlers that allocate, and that do not return.
 *
 *   handlers between|aside|within|jump|jump-within|fork-within|fork-amid
 *
 * `between` interrupts nobody's call; `aside` neither, on the smallest stack of
 * its own that a handler is promised; `within` calls of mmap: never one of
 * malloc, which may not be entered twice. `jump` leaves the handler of a fault
 * by siglongjmp, `jump-within` that of a timer, out of calls of mmap; of
 * `fork-within` it forks, and the child goes on with the call too; of
 * `fork-amid` it does so anywhere in malloc, realloc and free.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BLOCKS = 997, PAGE_BYTES = 4096, ROUNDS = 300, FORKS = 60 };

static void *blocks[BLOCKS];
static volatile sig_atomic_t n_handled;
static volatile sig_atomic_t is_armed;
static volatile sig_atomic_t is_child;
static sigjmp_buf back;

static void
allocate(int n)
{
    for (int i = 0; i < 7; i++) {
        const int place = (n * 7 + i) % BLOCKS;
        free(blocks[place]);
        blocks[place] = malloc(50 + n % 500);
    }
}

static void
handle(int number)
{
    (void)number;
    allocate(n_handled++);
}

static void
jump(int number)
{
    n_handled++;
    if (number == SIGSEGV || is_armed)
        siglongjmp(back, 1);
}

static void
move_aside(void)
{
    const size_t n_bytes = sysconf(_SC_SIGSTKSZ);
    const stack_t stack = {.ss_sp = malloc(n_bytes), .ss_size = n_bytes};
    const struct sigaction action = {
        .sa_handler = handle,
        .sa_flags = SA_ONSTACK,
    };
    sigaltstack(&stack, NULL);
    sigaction(SIGUSR1, &action, NULL);
}

static void
interrupt(void)
{
    for (int i = 0; i < ROUNDS; i++) {
        raise(SIGUSR1);
        allocate(i);
    }
}

static void
set_timer(long us)
{
    const struct itimerval every = {
        {0, us},
        {0, us}
    };
    setitimer(ITIMER_REAL, &every, NULL);
}

static void
set_timer_once(long us)
{
    const struct itimerval once = {
        {0, 0 },
        {0, us}
    };
    setitimer(ITIMER_REAL, &once, NULL);
}

static void
map(void)
{
    void *page = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(page, PAGE_BYTES);
}

static void
handle_within(void)
{
    signal(SIGALRM, handle);
    set_timer(300);
    while (n_handled < ROUNDS)
        map();
    set_timer(0);
}

static void
jump_out(void)
{
    signal(SIGSEGV, jump);
    for (volatile int n = 0; n < ROUNDS; n++) {
        allocate(n);
        if (sigsetjmp(back, 1) == 0)
            *(volatile char *)NULL = 1;
        allocate(n + 1);
    }
}

static void
jump_out_within(void)
{
    signal(SIGALRM, jump);
    set_timer(300);
    while (n_handled < ROUNDS) {
        if (sigsetjmp(back, 1) == 0) {
            is_armed = 1;
            for (;;)
                map();
        }
        is_armed = 0;
    }
    set_timer(0);
    for (int n = 0; n < ROUNDS; n++)
        allocate(n);
}

static void
fork_within(int number)
{
    (void)number;
    int status = -1;
    const pid_t pid = fork();
    is_child = pid == 0;
    is_armed = 0;
    if (pid == 0)
        return;
    waitpid(pid, &status, 0);
    n_handled += WIFEXITED(status) && WEXITSTATUS(status) == 7;
}

static void
allocate_once(void)
{
    static void *volatile block;
    block = malloc(100);
    block = realloc(block, 200);
    free(block);
}

static void
fork_out_of(void (*call)(void), int n_forks)
{
    signal(SIGALRM, fork_within);
    for (int forks = 0; forks < n_forks && !is_child; forks++) {
        is_armed = 1;
        set_timer_once(100 + forks % 50);
        while (is_armed && !is_child)
            call();
    }
    for (int n = 0; n < ROUNDS; n++)
        allocate(n);
    if (is_child)
        _exit(7);
    n_handled = n_handled == n_forks ? ROUNDS : 0;
}

int
main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "";
    if (strcmp(how, "between") == 0) {
        signal(SIGUSR1, handle);
        interrupt();
    } else if (strcmp(how, "aside") == 0) {
        move_aside();
        interrupt();
    } else if (strcmp(how, "within") == 0) {
        handle_within();
    } else if (strcmp(how, "jump") == 0) {
        jump_out();
    } else if (strcmp(how, "jump-within") == 0) {
        jump_out_within();
    } else if (strcmp(how, "fork-within") == 0) {
        fork_out_of(map, FORKS);
    } else if (strcmp(how, "fork-amid") == 0) {
        fork_out_of(allocate_once, 10 * FORKS);
    }
    printf("%d\n", n_handled >= ROUNDS);
    return 0;
}
