/*
 * A thread whose stack the program supplies: the last 64 KiB of a mapping of
 * 64 MiB that is all in use. Says "ready" and waits for its input to end.
 */
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MAPPED_BYTES = 64 * 1024 * 1024, STACK_BYTES = 64 * 1024 };

static void *
wait_for_end(void *unused)
{
    char word;
    if (write(STDOUT_FILENO, "ready\n", 6) != 6)
        return NULL;
    return read(STDIN_FILENO, &word, 1) < 0 ? NULL : unused;
}

int
main(void)
{
    char *start = mmap(NULL, MAPPED_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pthread_attr_t attributes;
    pthread_t thread;
    memset(start, 1, MAPPED_BYTES);
    pthread_attr_init(&attributes);
    pthread_attr_setstack(&attributes, start + MAPPED_BYTES - STACK_BYTES,
                          STACK_BYTES);
    if (pthread_create(&thread, &attributes, wait_for_end, NULL) != 0)
        return 1;
    return pthread_join(thread, NULL) != 0;
}
