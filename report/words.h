/*
 * words.h - names of strangers, as people are shown them
 */
#ifndef REPORT_WORDS_H
#define REPORT_WORDS_H

#include <stddef.h>

#include "include/text.h"

/* What stands behind the last slash; NULL for NULL. */
const char *words_base_name(const char *path);

/* As much as there is room for, in bytes, and no control character. */
void words_put(struct text *text, const char *words, size_t room);

/*
 * Makes '?' of what a terminal would obey, save the ends of lines and tabs: a
 * name comes from a stranger's file, and may say anything.
 */
void words_tame(char *text);

#endif
