#include "include/text.h"

#include "tests/unit/check.h"

static void
check_json(const char *bytes, size_t n_bytes, const char *expected)
{
    /* Exactly as large as it is said to be, for a sanitizer to see. */
    char *exact = malloc(n_bytes == 0 ? 1 : n_bytes);
    memcpy(exact, bytes, n_bytes);
    struct text text = {0};
    text_add_json(&text, exact, n_bytes);
    check_text(text_of(&text), expected);
    text_finish(&text);
    free(exact);
}

#define CHECK_JSON(literal, expected) \
    check_json(literal, sizeof(literal) - 1, expected)

/* ---- a text ------------------------------------------------------------ */

Test(text, nothing_is_the_empty_text)
{
    struct text text = {0};
    check_text(text_of(&text), "");
    char *taken = text_take(&text);
    check_text(taken, "");
    free(taken);
    text_finish(&text);
}

Test(text, it_grows_as_it_is_added_to)
{
    struct text text = {0};
    for (unsigned i = 0; i < 1000; i++)
        text_addf(&text, "%u,", i);
    check_eq(text.n_bytes, 10 * 2 + 90 * 3 + 900 * 4);
    check_eq(strlen(text_of(&text)), text.n_bytes);
    check_eq(strncmp(text_of(&text), "0,1,2,3,", 8), 0);
    text_finish(&text);
    check_text(text_of(&text), "");
}

Test(text, what_is_taken_leaves_nothing_behind)
{
    struct text text = {0};
    text_add(&text, "one");
    char *one = text_take(&text);
    text_add(&text, "two");
    check_text(one, "one");
    check_text(text_of(&text), "two");
    free(one);
    text_finish(&text);
}

Test(text, a_nul_may_stand_inside)
{
    struct text text = {0};
    text_add_bytes(&text, "a\0b", 3);
    check_eq(text.n_bytes, 3);
    check_eq(memcmp(text.bytes, "a\0b", 4), 0);
    text_finish(&text);
}

/* ---- JSON -------------------------------------------------------------- */

Test(text, json_quotes_plain_text)
{
    CHECK_JSON("", "\"\"");
    CHECK_JSON("hello, world", "\"hello, world\"");
}

Test(text, json_escapes_quotes_backslashes_and_controls)
{
    CHECK_JSON("a\"b\\c", "\"a\\\"b\\\\c\"");
    CHECK_JSON("\n\t\x01\x1f\x7f", "\"\\u000a\\u0009\\u0001\\u001f\\u007f\"");
    CHECK_JSON("a\0b", "\"a\\u0000b\"");
}

Test(text, json_may_stand_in_a_script)
{
    CHECK_JSON("</script><!--", "\"\\u003c/script>\\u003c!--\"");
}

Test(text, json_keeps_utf8_of_every_length)
{
    CHECK_JSON("\xc3\xa9", "\"\xc3\xa9\"");
    CHECK_JSON("\xe2\x82\xac", "\"\xe2\x82\xac\"");
    CHECK_JSON("\xf0\x9f\x90\x8d", "\"\xf0\x9f\x90\x8d\"");
    CHECK_JSON("\xf4\x8f\xbf\xbf", "\"\xf4\x8f\xbf\xbf\"");
}

Test(text, json_replaces_each_byte_that_is_no_utf8)
{
    CHECK_JSON("\x80", "\"\\ufffd\"");
    CHECK_JSON("a\xff\xfe"
               "b",
               "\"a\\ufffd\\ufffdb\"");
    CHECK_JSON("\xc0\x80", "\"\\ufffd\\ufffd\"");            /* overlong */
    CHECK_JSON("\xe0\x80\x80", "\"\\ufffd\\ufffd\\ufffd\""); /* overlong */
    CHECK_JSON("\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""); /* surrogate */
    CHECK_JSON("\xf4\x90\x80\x80",                           /* too great */
               "\"\\ufffd\\ufffd\\ufffd\\ufffd\"");
}

Test(text, json_replaces_what_is_cut_short)
{
    CHECK_JSON("\xc3", "\"\\ufffd\"");
    CHECK_JSON("\xe2\x82", "\"\\ufffd\\ufffd\"");
    CHECK_JSON("\xf0\x9f\x90", "\"\\ufffd\\ufffd\\ufffd\"");
    CHECK_JSON("\xe2"
               "a",
               "\"\\ufffda\"");
}

/* ---- UTF-8 ------------------------------------------------------------- */

/* RFC 3629's table, row by row. */
static size_t
length_by_table(const unsigned char *at)
{
    static const struct {
        unsigned char from[4];
        unsigned char to[4];
        size_t n;
    } rows[] = {
        {{0x00},                   {0x7f},                   1},
        {{0xc2, 0x80},             {0xdf, 0xbf},             2},
        {{0xe0, 0xa0, 0x80},       {0xe0, 0xbf, 0xbf},       3},
        {{0xe1, 0x80, 0x80},       {0xec, 0xbf, 0xbf},       3},
        {{0xed, 0x80, 0x80},       {0xed, 0x9f, 0xbf},       3},
        {{0xee, 0x80, 0x80},       {0xef, 0xbf, 0xbf},       3},
        {{0xf0, 0x90, 0x80, 0x80}, {0xf0, 0xbf, 0xbf, 0xbf}, 4},
        {{0xf1, 0x80, 0x80, 0x80}, {0xf3, 0xbf, 0xbf, 0xbf}, 4},
        {{0xf4, 0x80, 0x80, 0x80}, {0xf4, 0x8f, 0xbf, 0xbf}, 4},
    };
    for (size_t row = 0; row < countof(rows); row++) {
        bool is_in = true;
        for (size_t i = 0; i < rows[row].n; i++)
            is_in =
                is_in && at[i] >= rows[row].from[i] && at[i] <= rows[row].to[i];
        if (is_in)
            return rows[row].n;
    }
    return 0;
}

Test(text, utf8_is_judged_as_the_standard_tables_say)
{
    static const unsigned char lasts[] = {0x00, 0x7f, 0x80, 0xbf, 0xc0};
    unsigned char at[4];
    for (unsigned first = 0; first < 0x10000; first++) {
        at[0] = (unsigned char)(first >> 8);
        at[1] = (unsigned char)first;
        for (size_t i = 0; i < countof(lasts) * countof(lasts); i++) {
            at[2] = lasts[i / countof(lasts)];
            at[3] = lasts[i % countof(lasts)];
            const size_t n = text_utf8_length(at, sizeof(at));
            cr_assert(n == length_by_table(at), "%02x %02x %02x %02x: %zu",
                      at[0], at[1], at[2], at[3], n);
        }
    }
}

Test(text, utf8_that_ends_too_early_is_none)
{
    static const unsigned char four[] = {0xf0, 0x9f, 0x90, 0x8d};
    static const unsigned char three[] = {0xe2, 0x82, 0xac};
    for (size_t left = 1; left < sizeof(four); left++)
        check_eq(text_utf8_length(four, left), 0);
    for (size_t left = 1; left < sizeof(three); left++)
        check_eq(text_utf8_length(three, left), 0);
    check_eq(text_utf8_length(four, 4), 4);
    check_eq(text_utf8_length(three, 3), 3);
}

/* ---- hostile bytes ----------------------------------------------------- */

/* Whether it is one JSON string of well-formed UTF-8 without a '<'. */
static bool
is_json_string(const char *json)
{
    const unsigned char *at = (const unsigned char *)json;
    if (*at++ != '"')
        return false;
    while (*at != '"') {
        if (*at < 0x20 || *at == '<')
            return false;
        if (*at != '\\') {
            unsigned char four[4] = {0};
            memcpy(four, at, strnlen((const char *)at, sizeof(four)));
            const size_t n = length_by_table(four);
            if (n == 0)
                return false;
            at += n;
        } else if (at[1] == 'u') {
            if (strspn((const char *)at + 2, "0123456789abcdef") < 4)
                return false;
            at += 6;
        } else if (strchr("\"\\", at[1]) != NULL) {
            at += 2;
        } else {
            return false;
        }
    }
    return at[1] == '\0';
}

Test(text, json_of_any_bytes_is_json)
{
    uint64_t state = 1;
    for (unsigned round = 0; round < 20000; round++) {
        char bytes[24];
        const size_t n_bytes = check_random(&state) % sizeof(bytes);
        for (size_t i = 0; i < n_bytes; i++)
            bytes[i] = (char)check_random(&state);
        struct text text = {0};
        text_add_json(&text, bytes, n_bytes);
        cr_assert(is_json_string(text_of(&text)), "round %u: %s", round,
                  text_of(&text));
        text_finish(&text);
    }
}
