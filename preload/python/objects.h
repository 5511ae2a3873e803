/*
 * objects.h - CPython's object allocator, block by block
 *
 * At level exact the allocators of the domains MEM and OBJ (PyMem_SetAllocator,
 * PEP 445) get a wrapper each, from 3.6 on, that tells of what they give and
 * take. It is there before the interpreter starts. Some interpreters put their
 * own back while they start: until they have, that is looked for.
 *
 * An interpreter's lock is held around all of its calls. A free-threaded build
 * has none, and is left alone.
 */
#ifndef PRELOAD_PYTHON_OBJECTS_H
#define PRELOAD_PYTHON_OBJECTS_H

#include <stdbool.h>

#include "include/attrs.h"

extern HIDDEN bool python_objects_are_wanted;

/*
 * Constructor, once the collector has said what it wants, if python_detect
 * found an interpreter.
 */
void python_objects_init(void);

void python_objects_install(void);

/* While the interpreter is not initialised: nobody else runs it. */
static inline void
python_objects_look(void)
{
    if (unlikely(python_objects_are_wanted))
        python_objects_install();
}

/* Whether the wrappers are called. Needs the interpreter's lock. */
bool python_objects_are_told(void);

#endif
