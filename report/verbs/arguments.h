/*
 * arguments.h - what verbs that read a recording have in common
 */
#ifndef REPORT_VERBS_ARGUMENTS_H
#define REPORT_VERBS_ARGUMENTS_H

#include <stdbool.h>

#include "include/text.h"
#include "report/query/query.h"

struct arguments {
    bool is_json;
    const char *type;   /* of --type, where the verb takes it; or NULL */
    const char *target; /* REC, REC@MOMENT or PID */
    const char *rest;   /* a second argument, where the verb takes one */
};

/*
 * Parses [--json] TARGET [REST]. Prints the help and ends the process where it
 * is asked for, or where the arguments are not those.
 */
struct arguments arguments_parse(int argc, char **argv, const char *help,
                                 bool takes_json, bool takes_rest);

/* The same of a verb that takes [--type NAME] besides, and no REST. */
struct arguments arguments_parse_type(int argc, char **argv, const char *help);

/* Opens the target, or ends the process: with what, on what, what to try. */
struct query *arguments_open(const char *target);

/* Ends the process if something went wrong since; otherwise nothing. */
void arguments_check(const struct query *query);

/*
 * Writes all of it to standard output, or ends the process. What people read is
 * tamed before (words.h); JSON escapes what it must.
 */
void arguments_print(struct text *text, bool is_json);

#endif
