/*
 * text.h - a text that grows, and JSON strings in it
 *
 * For the two ordinary programs. Header-only.
 */
#ifndef INCLUDE_TEXT_H
#define INCLUDE_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "include/attrs.h"
#include "include/xalloc.h"

/* Zeroed it is empty. bytes is NUL-terminated once anything was added. */
struct text {
    char *bytes;
    size_t n_bytes;
    size_t capacity;
};

static inline void
text_finish(struct text *text)
{
    free(text->bytes);
    *text = (struct text){0};
}

/* Never NULL. */
static inline const char *
text_of(const struct text *text)
{
    return text->bytes == NULL ? "" : text->bytes;
}

/* Hands the bytes to the caller, who frees them. Never NULL. */
static inline char *
text_take(struct text *text)
{
    char *bytes = text->bytes == NULL ? xstrdup("") : text->bytes;
    *text = (struct text){0};
    return bytes;
}

static inline void
text_add_bytes(struct text *text, const void *bytes, size_t n_bytes)
{
    if (text->capacity - text->n_bytes <= n_bytes) {
        text->capacity = (text->capacity + n_bytes + 16) * 2;
        text->bytes = xrealloc(text->bytes, text->capacity, 1);
    }
    memcpy(text->bytes + text->n_bytes, bytes, n_bytes);
    text->n_bytes += n_bytes;
    text->bytes[text->n_bytes] = '\0';
}

static inline void
text_add(struct text *text, const char *more)
{
    text_add_bytes(text, more, strlen(more));
}

PRINTF_LIKE(2, 3)
static inline void
text_addf(struct text *text, const char *format, ...)
{
    char *more = NULL;
    va_list args;
    va_start(args, format);
    const int n_bytes = vasprintf(&more, format, args);
    va_end(args);
    if (n_bytes < 0)
        errx(125, "out of memory while formatting a text");
    text_add_bytes(text, more, (size_t)n_bytes);
    free(more);
}

/* How many bytes of well-formed UTF-8 start here; 0: none (RFC 3629). */
static inline size_t
text_utf8_length(const unsigned char *at, size_t left)
{
    size_t n;
    uint32_t code;
    if (at[0] < 0x80)
        return 1;
    if (at[0] >= 0xc2 && at[0] <= 0xdf) {
        n = 2;
        code = at[0] & 0x1f;
    } else if ((at[0] & 0xf0) == 0xe0) {
        n = 3;
        code = at[0] & 0x0f;
    } else if (at[0] >= 0xf0 && at[0] <= 0xf4) {
        n = 4;
        code = at[0] & 0x07;
    } else {
        return 0;
    }
    if (left < n)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (at[i] & 0x3f);
    }
    if ((n == 3 && (code < 0x800 || (code >= 0xd800 && code <= 0xdfff))) ||
        (n == 4 && (code < 0x10000 || code > 0x10ffff)))
        return 0;
    return n;
}

/*
 * A JSON string, quotes included (RFC 8259). Bytes that are no UTF-8 become
 * U+FFFD; '<' is escaped, so that the text may stand in a page's script.
 */
static inline void
text_add_json(struct text *text, const char *string, size_t n_bytes)
{
    const unsigned char *at = (const unsigned char *)string;
    text_add(text, "\"");
    for (size_t i = 0; i < n_bytes;) {
        const size_t n = text_utf8_length(at + i, n_bytes - i);
        if (n == 0) {
            text_add(text, "\\ufffd");
        } else if (at[i] == '"' || at[i] == '\\') {
            text_addf(text, "\\%c", at[i]);
        } else if (at[i] < 0x20 || at[i] == 0x7f || at[i] == '<') {
            text_addf(text, "\\u%04x", at[i]);
        } else {
            text_add_bytes(text, at + i, n);
        }
        i += n == 0 ? 1 : n;
    }
    text_add(text, "\"");
}

/* Strings that each end with a NUL, as a JSON array. */
static inline void
text_add_json_list(struct text *text, const char *strings, size_t n_bytes)
{
    text_add(text, "[");
    for (size_t at = 0; at < n_bytes;) {
        const size_t length = strnlen(strings + at, n_bytes - at);
        if (at != 0)
            text_add(text, ",");
        text_add_json(text, strings + at, length);
        at += length + 1;
    }
    text_add(text, "]");
}

#endif
