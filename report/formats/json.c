#include "report/formats/json.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "report/query/query.h"

static void
begin(struct json *json, const char *key)
{
    if (json->needs_comma)
        text_add(&json->text, ",");
    json->needs_comma = true;
    if (key != NULL) {
        text_add_json(&json->text, key, strlen(key));
        text_add(&json->text, ":");
    }
}

void
json_open(struct json *json, const char *key, char bracket)
{
    begin(json, key);
    text_add_bytes(&json->text, &bracket, 1);
    json->needs_comma = false;
}

void
json_close(struct json *json, char bracket)
{
    text_add_bytes(&json->text, &bracket, 1);
    json->needs_comma = true;
}

void
json_null(struct json *json, const char *key)
{
    begin(json, key);
    text_add(&json->text, "null");
}

void
json_number(struct json *json, const char *key, int64_t number)
{
    if (number == QUERY_UNKNOWN) {
        json_null(json, key);
        return;
    }
    begin(json, key);
    text_addf(&json->text, "%" PRId64, number);
}

void
json_real(struct json *json, const char *key, double number)
{
    if (!isfinite(number)) {
        json_null(json, key);
        return;
    }
    begin(json, key);
    text_addf(&json->text, "%.6g", number);
}

void
json_bool(struct json *json, const char *key, bool value)
{
    begin(json, key);
    text_add(&json->text, value ? "true" : "false");
}

void
json_string(struct json *json, const char *key, const char *string)
{
    if (string == NULL) {
        json_null(json, key);
        return;
    }
    begin(json, key);
    text_add_json(&json->text, string, strlen(string));
}

void
json_raw(struct json *json, const char *key, const char *raw)
{
    begin(json, key);
    text_add(&json->text, raw);
}
