#include "report/verbs/arguments.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "include/xalloc.h"
#include "report/verb.h"
#include "report/words.h"

struct arguments
arguments_parse(int argc, char **argv, const char *help, bool takes_json,
                bool takes_rest)
{
    enum { JSON = 256, HELP };
    static const struct option known[] = {
        {"help", no_argument, NULL, HELP},
        {"json", no_argument, NULL, JSON},
        {NULL,   0,           NULL, 0   },
    };
    struct arguments arguments = {0};
    int option;
    while ((option = getopt_long(argc, argv, "h", known, NULL)) != -1) {
        if (option == HELP || option == 'h') {
            fputs(help, stdout);
            exit(EXIT_FINE);
        }
        if (option != JSON || !takes_json) {
            fputs(help, stderr);
            exit(EXIT_BAD_USAGE);
        }
        arguments.is_json = true;
    }
    const int n_wanted = takes_rest ? 2 : 1;
    if (argc - optind != n_wanted) {
        fputs(help, stderr);
        exit(EXIT_BAD_USAGE);
    }
    arguments.target = argv[optind];
    arguments.rest = takes_rest ? argv[optind + 1] : NULL;
    return arguments;
}

void
arguments_check(const struct query *query)
{
    const char *complaint = query_complaint(query);
    if (complaint != NULL)
        errx(EXIT_DAMAGED, "%s", complaint);
}

struct query *
arguments_open(const char *target)
{
    struct query *query = query_open(target);
    arguments_check(query);
    return query;
}

void
arguments_print(struct text *text, bool is_json)
{
    if (!is_json && text->n_bytes != 0)
        words_tame(text->bytes);
    if (fputs(text_of(text), stdout) == EOF || fflush(stdout) == EOF)
        err(EXIT_RUN_FAILED, "standard output cannot be written to");
}
