#include "report/formats/json.h"

#include <math.h>
#include <sqlite3.h>

#include "report/query/query.h"
#include "tests/unit/check.h"

static void
check_json(struct json *json, const char *expected)
{
    check_text(text_of(&json->text), expected);
    text_finish(&json->text);
}

Test(json, commas_stand_between_and_nowhere_else)
{
    struct json json = {0};
    json_open(&json, NULL, '{');
    json_number(&json, "a", 1);
    json_open(&json, "list", '[');
    json_open(&json, NULL, '{');
    json_close(&json, '}');
    json_number(&json, NULL, 2);
    json_open(&json, NULL, '[');
    json_close(&json, ']');
    json_close(&json, ']');
    json_bool(&json, "b", true);
    json_bool(&json, "c", false);
    json_close(&json, '}');
    check_json(&json, "{\"a\":1,\"list\":[{},2,[]],\"b\":true,\"c\":false}");
}

Test(json, what_is_unknown_is_null_and_never_zero)
{
    struct json json = {0};
    json_open(&json, NULL, '[');
    json_number(&json, NULL, QUERY_UNKNOWN);
    json_number(&json, NULL, 0);
    json_string(&json, NULL, NULL);
    json_null(&json, NULL);
    json_real(&json, NULL, NAN);
    json_real(&json, NULL, INFINITY);
    json_close(&json, ']');
    check_json(&json, "[null,0,null,null,null,null]");
}

Test(json, numbers_are_written_in_full)
{
    struct json json = {0};
    json_open(&json, NULL, '[');
    json_number(&json, NULL, INT64_MAX);
    json_number(&json, NULL, INT64_MIN + 1);
    json_real(&json, NULL, 1.5);
    json_real(&json, NULL, -1e20);
    json_close(&json, ']');
    check_json(&json, "[9223372036854775807,-9223372036854775807,1.5,-1e+20]");
}

Test(json, keys_and_strings_are_escaped)
{
    struct json json = {0};
    json_open(&json, NULL, '{');
    json_string(&json, "a\"b", "c\\d\n</script>\xff");
    json_raw(&json, "raw", "[1,2]");
    json_close(&json, '}');
    check_json(&json, "{\"a\\\"b\":\"c\\\\d\\u000a\\u003c/script>\\ufffd\","
                      "\"raw\":[1,2]}");
}

/* ---- any document is JSON ---------------------------------------------- */

static void
put_any(struct json *json, uint64_t *state, unsigned depth, bool is_object)
{
    char string[8];
    for (size_t i = 0; i + 1 < sizeof(string); i++)
        string[i] = (char)(1 + check_random(state) % 255);
    string[sizeof(string) - 1] = '\0';
    const char *key = is_object ? string : NULL;
    switch (check_random(state) % (depth == 0 ? 5 : 7)) {
    case 0:
        json_number(json, key, (int64_t)check_random(state));
        return;
    case 1:
        json_real(json, key, (double)(int64_t)check_random(state) / 7);
        return;
    case 2:
        json_bool(json, key, check_random(state) % 2 == 0);
        return;
    case 3:
        json_null(json, key);
        return;
    case 4:
        json_string(json, key, string);
        return;
    default:
        break;
    }
    const bool opens_object = check_random(state) % 2 == 0;
    json_open(json, key, opens_object ? '{' : '[');
    for (uint64_t n = check_random(state) % 5; n > 0; n--)
        put_any(json, state, depth - 1, opens_object);
    json_close(json, opens_object ? '}' : ']');
}

Test(json, any_nesting_is_json)
{
    uint64_t state = 8;
    sqlite3 *judge;
    sqlite3_stmt *valid;
    check_eq(sqlite3_open(":memory:", &judge), SQLITE_OK);
    check_eq(
        sqlite3_prepare_v2(judge, "SELECT json_valid(?)", -1, &valid, NULL),
        SQLITE_OK);
    for (unsigned round = 0; round < 3000; round++) {
        struct json json = {0};
        put_any(&json, &state, 4, false);
        sqlite3_bind_text(valid, 1, text_of(&json.text), -1, SQLITE_STATIC);
        check_eq(sqlite3_step(valid), SQLITE_ROW);
        cr_assert(sqlite3_column_int(valid, 0) == 1, "%s", text_of(&json.text));
        sqlite3_reset(valid);
        text_finish(&json.text);
    }
    sqlite3_finalize(valid);
    sqlite3_close(judge);
}
