/*
 * json.h - JSON, written as it comes
 *
 * Commas and nesting are kept here; the caller opens and closes in order. An
 * unknown number is null.
 */
#ifndef REPORT_FORMATS_JSON_H
#define REPORT_FORMATS_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "include/text.h"

struct json {
    struct text text;
    bool needs_comma;
};

/* key NULL: an element of an array, or the whole. */
void json_open(struct json *json, const char *key, char bracket);
void json_close(struct json *json, char bracket);

void json_number(struct json *json, const char *key, int64_t number);
void json_real(struct json *json, const char *key, double number);
void json_bool(struct json *json, const char *key, bool value);
void json_null(struct json *json, const char *key);

/* NULL is null. */
void json_string(struct json *json, const char *key, const char *string);

/* JSON already. */
void json_raw(struct json *json, const char *key, const char *raw);

#endif
