/*
 * process.h - a process that has introduced itself to the memory sink
 */
#ifndef TESTS_UNIT_PRELOAD_PROCESS_H
#define TESTS_UNIT_PRELOAD_PROCESS_H

#include "preload/process.h"
#include "tests/unit/check.h"
#include "tests/unit/preload/memory_sink.h"

static inline void
process_introduce(void)
{
    const struct process_python none = {0};
    memory_sink_start();
    check_true(process_start("/a/socket", 0, &none));
    check_eq(process_mode(), PROCESS_ON);
    check_eq(memory_sink->n_hellos, 1);
}

#endif
