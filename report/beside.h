/*
 * beside.h - where the other two programs are
 *
 * They are installed together, and built together: looked for beside this
 * program, in the places that either way puts them.
 */
#ifndef REPORT_BESIDE_H
#define REPORT_BESIDE_H

/* Absolute paths, which the caller frees. NULL: not found anywhere. */
char *beside_collector(void);
char *beside_preload(void);

#endif
