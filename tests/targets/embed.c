/*
 * A program with an interpreter inside: does what its words say, in order.
 *
 *   embed LIBPYTHON local|global|linked WORD ...
 *
 * The library is opened in that scope, or was linked (LINKED), and may be said
 * to be of another VERSION. Words: init and finalize an interpreter; sub begins
 * one more, in which what follows is run; run TEXT.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    void (*init)(int);
    void (*finalize)(void);
    void *(*sub)(void);
    int (*run)(const char *, void *);
} api;

#ifdef VERSION

const char *Py_GetVersion(void);

/* Comes before the library's own. */
const char *
Py_GetVersion(void)
{
    return VERSION;
}

#endif

#ifdef LINKED

void Py_InitializeEx(int with_signals);
void Py_Finalize(void);
void *Py_NewInterpreter(void);
int PyRun_SimpleStringFlags(const char *text, void *flags);

static void
open_library(const char *path, const char *how)
{
    (void)path;
    (void)how;
    api.init = Py_InitializeEx;
    api.finalize = Py_Finalize;
    api.sub = Py_NewInterpreter;
    api.run = PyRun_SimpleStringFlags;
}

#else

static void
find(void *library, const char *name, void *where)
{
    void *symbol = dlsym(library, name);
    if (symbol == NULL) {
        fprintf(stderr, "embed: %s\n", dlerror());
        exit(1);
    }
    memcpy(where, &symbol, sizeof(symbol));
}

static void
open_library(const char *path, const char *how)
{
    const int scope = strcmp(how, "global") == 0 ? RTLD_GLOBAL : RTLD_LOCAL;
    void *library = dlopen(path, RTLD_NOW | scope);
    if (library == NULL) {
        fprintf(stderr, "embed: %s\n", dlerror());
        exit(1);
    }
    find(library, "Py_InitializeEx", &api.init);
    find(library, "Py_Finalize", &api.finalize);
    find(library, "Py_NewInterpreter", &api.sub);
    find(library, "PyRun_SimpleStringFlags", &api.run);
}

#endif

int
main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    open_library(argv[1], argv[2]);
    for (int i = 3; i < argc; i++) {
        if (strcmp(argv[i], "init") == 0)
            api.init(0);
        else if (strcmp(argv[i], "finalize") == 0)
            api.finalize();
        else if (strcmp(argv[i], "sub") == 0 && api.sub() == NULL)
            return 1;
        else if (strcmp(argv[i], "run") == 0 && i + 1 < argc &&
                 api.run(argv[++i], NULL) != 0)
            return 1;
    }
    return 0;
}
