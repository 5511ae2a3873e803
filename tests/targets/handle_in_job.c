/* Each thread gives back the memory that its own pthread_t lies in. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

enum { JOBS = 5000, JOB_BYTES = 4096 };

struct job {
    pthread_t thread;
};

static _Atomic int n_done;

static void *
work(void *job)
{
    munmap(job, JOB_BYTES);
    n_done++;
    return NULL;
}

int
main(void)
{
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    for (int i = 0; i < JOBS; i++) {
        struct job *job = mmap(NULL, JOB_BYTES, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (pthread_create(&job->thread, &detached, work, job) != 0)
            return 1;
        while (n_done != i + 1)
            usleep(1);
    }
    printf("%d jobs\n", JOBS);
    return 0;
}
