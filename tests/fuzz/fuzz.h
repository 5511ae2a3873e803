/*
 * fuzz.h - what every fuzzer defines
 *
 * A fuzzer is a function of bytes that aborts where something that must hold
 * does not. libFuzzer calls it where the compiler has it; replay.c calls it for
 * the files of a corpus everywhere.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* libFuzzer's name and type. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

#define fuzz_holds(condition)                                                \
    do {                                                                     \
        if (!(condition)) {                                                  \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, \
                    #condition);                                             \
            abort();                                                         \
        }                                                                    \
    } while (0)

#endif
