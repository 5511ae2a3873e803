#include "report/verbs/arguments.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "include/xalloc.h"
#include "report/verb.h"
#include "report/words.h"

/* What a verb takes. */
struct taken {
    const char *help;
    bool json;
    bool rest;
    bool type;
};

static struct arguments
parse(int argc, char **argv, const struct taken *taken)
{
    enum { JSON = 256, TYPE, HELP };
    static const struct option known[] = {
        {"help", no_argument,       NULL, HELP},
        {"json", no_argument,       NULL, JSON},
        {"type", required_argument, NULL, TYPE},
        {NULL,   0,                 NULL, 0   },
    };
    const char *help = taken->help;
    struct arguments arguments = {0};
    int option;
    while ((option = getopt_long(argc, argv, "h", known, NULL)) != -1) {
        if (option == HELP || option == 'h') {
            fputs(help, stdout);
            exit(EXIT_FINE);
        }
        if (option == JSON && taken->json) {
            arguments.is_json = true;
        } else if (option == TYPE && taken->type) {
            arguments.type = optarg;
        } else {
            fputs(help, stderr);
            exit(EXIT_BAD_USAGE);
        }
    }
    const int n_wanted = taken->rest ? 2 : 1;
    if (argc - optind != n_wanted) {
        fputs(help, stderr);
        exit(EXIT_BAD_USAGE);
    }
    arguments.target = argv[optind];
    arguments.rest = taken->rest ? argv[optind + 1] : NULL;
    return arguments;
}

struct arguments
arguments_parse(int argc, char **argv, const char *help, bool takes_json,
                bool takes_rest)
{
    return parse(
        argc, argv,
        &(struct taken){.help = help, .json = takes_json, .rest = takes_rest});
}

struct arguments
arguments_parse_type(int argc, char **argv, const char *help)
{
    return parse(argc, argv,
                 &(struct taken){.help = help, .json = true, .type = true});
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
