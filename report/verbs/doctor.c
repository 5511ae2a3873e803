#include "report/verb.h"

int
verb_doctor(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return EXIT_FINE;
}
