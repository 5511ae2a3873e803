#include "report/verb.h"

int
verb_report(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return EXIT_FINE;
}
