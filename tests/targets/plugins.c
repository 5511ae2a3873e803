/*
 * Loads a library over and over, in two threads, and unloads it.
 *
 *   plugins LIBRARY churn
 *   plugins LIBRARY deep    RTLD_DEEPBIND, once: it finds glibc's malloc first;
 *                           a hundred of its blocks are freed here, another
 *                           hundred of ours are freed there
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 200, BLOCKS = 100 };

static void *
churn(void *path)
{
    for (int i = 0; i < ROUNDS; i++) {
        void *library = dlopen(path, RTLD_NOW | (i % 2 ? RTLD_GLOBAL : 0));
        if (library == NULL)
            abort();
        void *(*allocate)(size_t);
        *(void **)&allocate = dlsym(library, "plug_allocate");
        if (dlsym(library, "no such name") != NULL)
            abort();
        free(allocate(100 + i));
        dlclose(library);
    }
    return NULL;
}

static void
bind_deep(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_DEEPBIND);
    void *(*allocate)(size_t);
    void (*release)(void *);
    void *ours[BLOCKS];
    void *its[BLOCKS];
    *(void **)&allocate = dlsym(library, "plug_allocate");
    *(void **)&release = dlsym(library, "plug_free");
    for (int i = 0; i < BLOCKS; i++) {
        ours[i] = malloc(5000 + 16 * i);
        its[i] = allocate(9000 + 16 * i);
    }
    for (int i = 0; i < BLOCKS; i++) {
        free(its[i]);
        release(ours[i]);
    }
}

int
main(int argc, char **argv)
{
    pthread_t other;
    if (argc < 3)
        return 2;
    if (strcmp(argv[2], "deep") == 0) {
        bind_deep(argv[1]);
    } else {
        pthread_create(&other, NULL, churn, argv[1]);
        churn(argv[1]);
        pthread_join(other, NULL);
    }
    printf("done\n");
    return 0;
}
