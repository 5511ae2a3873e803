/*
 * residue report - one offline page of a recording
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "include/xalloc.h"
#include "report/page.h"
#include "report/replace.h"
#include "report/units.h"
#include "report/verb.h"
#include "report/verbs/arguments.h"

static const char help[] =
    "usage: residue report [-o F.html] [-f] [--names] REC[@MOMENT]|PID\n"
    "\n"
    "Writes one self-contained page: the verdict, the ledger over time, the\n"
    "arenas, the types that hold them. It needs no network to be opened.\n"
    "MOMENT is start, peak, end (the default), a time (01:10.5) or a mark.\n"
    "\n"
    "  -o F.html  the page (default: REC.html)\n"
    "  -f         replace it if it exists\n"
    "  --names    show the arguments of the program and whole paths, too\n";

struct options {
    const char *output; /* NULL: by default name */
    const char *target;
    bool replaces;
    bool shows_names;
};

static struct options
parse(int argc, char **argv)
{
    enum { NAMES = 256, HELP };
    static const struct option known[] = {
        {"names", no_argument, NULL, NAMES},
        {"help",  no_argument, NULL, HELP },
        {NULL,    0,           NULL, 0    },
    };
    struct options options = {0};
    int option;
    while ((option = getopt_long(argc, argv, "o:fh", known, NULL)) != -1) {
        switch (option) {
        case 'o':
            options.output = optarg;
            break;
        case 'f':
            options.replaces = true;
            break;
        case NAMES:
            options.shows_names = true;
            break;
        case 'h':
        case HELP:
            fputs(help, stdout);
            exit(EXIT_FINE);
        default:
            fputs(help, stderr);
            exit(EXIT_BAD_USAGE);
        }
    }
    if (argc - optind != 1) {
        fputs(help, stderr);
        exit(EXIT_BAD_USAGE);
    }
    options.target = argv[optind];
    return options;
}

static void
say_where(const char *path)
{
    char size[UNITS_BYTES];
    struct stat is;
    if (stat(path, &is) == 0)
        fprintf(stderr, "residue: the page is %s (%s)\n", path,
                units_bytes(size, is.st_size));
}

int
verb_report(int argc, char **argv)
{
    const struct options options = parse(argc, argv);
    struct query *query = arguments_open(options.target);
    char *path = options.output != NULL
                     ? xstrdup(options.output)
                     : xasprintf("%s.html", query_path(query));
    char *complaint = replace_page(path, options.replaces);
    if (complaint != NULL)
        errx(EXIT_BAD_USAGE, "%s", complaint);

    complaint = options.shows_names ? page_write_with_names(query, path)
                                    : page_write(query, path);
    arguments_check(query);
    if (complaint != NULL)
        errx(EXIT_RUN_FAILED, "%s", complaint);
    say_where(path);
    free(path);
    query_close(query);
    return EXIT_FINE;
}
