/*
 * residue - why a process' memory stays high
 */
#include <stdio.h>
#include <string.h>

#include "include/attrs.h"
#include "include/xalloc.h"
#include "report/verb.h"
#include "report/version.h"

/* The preload stays out of programs that export this name. */
EXPORT extern const char residue_is_no_target;
const char residue_is_no_target = 1;

/* In help-text order: most used first. */
static const struct verb verbs[] = {
    {"run",     verb_run,     "run a program, say why its memory stays high" },
    {"inspect", verb_inspect, "the same of a process that runs already"      },
    {"why",     verb_why,     "the verdict on a recording or a process"      },
    {"stats",   verb_stats,   "ledger, arenas, classes, types, collections"  },
    {"diff",    verb_diff,    "what two moments differ in"                   },
    {"report",  verb_report,  "one self-contained page"                      },
    {"query",   verb_query,   "SQL on a recording"                           },
    {"mark",    verb_mark,    "label this moment, take a full census now"    },
    {"doctor",  verb_doctor,  "what would keep residue from seeing a program"},
};

static void
print_help(FILE *where)
{
    fputs("usage: residue VERB [ARG ...]\n\n", where);
    for (size_t i = 0; i < countof(verbs); i++)
        fprintf(where, "  %-8s %s\n", verbs[i].name, verbs[i].summary);
    fputs(
        "\n"
        "residue run CMD ...     runs CMD, prints the verdict, leaves a file\n"
        "residue VERB --help     what a verb takes\n",
        where);
}

static const struct verb *
find_verb(const char *name)
{
    for (size_t i = 0; i < countof(verbs); i++) {
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    }
    return NULL;
}

/* How many letters two words have in common at their start. */
static size_t
likeness(const char *a, const char *b)
{
    size_t n = 0;
    while (a[n] != '\0' && a[n] == b[n])
        n++;
    return n;
}

static const char *
nearest_verb(const char *name)
{
    const char *nearest = NULL;
    size_t best = 0;
    for (size_t i = 0; i < countof(verbs); i++) {
        const size_t n = likeness(verbs[i].name, name);
        if (n > best) {
            best = n;
            nearest = verbs[i].name;
        }
    }
    return nearest;
}

int
main(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return EXIT_BAD_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "help") == 0 && argc > 2 && find_verb(argv[2]) != NULL) {
        char *const asking[] = {argv[2], "--help", NULL};
        return find_verb(argv[2])->run(2, (char **)asking);
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 ||
        strcmp(name, "help") == 0) {
        print_help(stdout);
        return EXIT_FINE;
    }
    if (strcmp(name, "--version") == 0) {
        printf("residue %s\n", RESIDUE_VERSION);
        return EXIT_FINE;
    }
    const struct verb *verb = find_verb(name);
    if (verb == NULL) {
        const char *nearest = nearest_verb(name);
        if (nearest != NULL)
            errx(EXIT_BAD_USAGE,
                 "there is no verb '%s'; did you mean '%s'? See residue --help",
                 name, nearest);
        errx(EXIT_BAD_USAGE, "there is no verb '%s'; see residue --help", name);
    }
    return verb->run(argc - 1, argv + 1);
}
