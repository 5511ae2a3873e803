/*
 * python.h - which interpreter a process runs, seen from outside
 *
 * An image is an interpreter if it exports Py_GetVersion. What it says of
 * itself is read from the file that is mapped, in the target's own view of the
 * file system; the target is not touched. Needs the right to read the process.
 */
#ifndef COLLECTOR_PYTHON_H
#define COLLECTOR_PYTHON_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { PYTHON_VERSION_BYTES = 32 };

struct python {
    /* "3.11.7", as far as it could be read; "" where there is none. */
    char version[PYTHON_VERSION_BYTES];
    unsigned major; /* 0: none, or one whose layout is not known */
    unsigned minor;
    uint64_t runtime; /* address of _PyRuntime; 0: it is not exported */
    uint64_t text_start;
    uint64_t text_bytes;
};

/* False: the process has none. */
bool python_find(pid_t pid, struct python *python);

/*
 * Whether the image whose code is at addr is one. If not, its text is told all
 * the same, as far as it was found.
 */
bool python_find_at(pid_t pid, uint64_t addr, struct python *python);

/* The note on one of whom a census tells only what is native. To be freed. */
char *python_native_note(const char *version, bool is_known);

/*
 * Pure parts. The first takes the constant Py_Version (3.11 and later), the
 * second the bytes of .rodata, where PY_VERSION is a string; name is that of
 * the file, by which two of a kind are told apart. False: it is not there.
 */
bool python_version_of_number(uint64_t number, char *version);
bool python_version_in(const char *bytes, uint64_t n_bytes, const char *name,
                       char *version);

#endif
