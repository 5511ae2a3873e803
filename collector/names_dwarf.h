/*
 * names_dwarf.h - what libdw says of the addresses of one ELF file
 *
 * The file is a stranger's: libdw may crash on it, run for ever or want all
 * memory. This is only ever called where that does no harm (names_child.h),
 * and it never ends the process by itself.
 */
#ifndef COLLECTOR_NAMES_DWARF_H
#define COLLECTOR_NAMES_DWARF_H

#include <stddef.h>
#include <stdint.h>

enum { NAMES_MOST_FRAMES = 32 }; /* of one address; those inlined deeper go */

struct names_frame {
    const char *function; /* never NULL; "": not known */
    const char *file;     /* likewise; a path as the compiler wrote it */
    uint32_t line;        /* 0: not known */
};

struct names_dwarf;

/*
 * Reads a copy of the descriptor. path is where to look for a separate debug
 * file from, beside /usr/lib/debug. NULL: it makes no sense, or no memory.
 */
struct names_dwarf *names_dwarf_open(int fd, const char *path);
void names_dwarf_close(struct names_dwarf *dwarf);

/*
 * The functions whose code is at the file's own address addr, the one inlined
 * deepest first, the one that has the symbol last. Returns how many; they are
 * valid until the next call.
 */
size_t names_dwarf_frames(struct names_dwarf *dwarf, uint64_t addr,
                          struct names_frame frames[NAMES_MOST_FRAMES]);

#endif
