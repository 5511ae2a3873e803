#include "include/sampling.h"

#include "tests/unit/check.h"

static void
check_word(const char *word, uint64_t expected)
{
    uint64_t n_bytes = 77;
    cr_assert(sampling_parse(word, &n_bytes), "%s", word);
    check_eq(n_bytes, expected);
}

static void
check_none(const char *word)
{
    uint64_t n_bytes;
    cr_assert_not(sampling_parse(word, &n_bytes), "%s", word);
}

Test(sampling, a_number_may_have_a_unit)
{
    check_word("0", 0);
    check_word("65536", 65536);
    check_word("512K", SAMPLING_DEFAULT_BYTES);
    check_word("1M", 1 << 20);
    check_word("1048576M", SAMPLING_MOST_BYTES);
}

Test(sampling, all_else_is_none)
{
    check_none("");
    check_none("K");
    check_none("-1");
    check_none("1k");
    check_none("1KB");
    check_none("1.5M");
    check_none("0x10");
    check_none(" 1");
    check_none("1048577M");
    check_none("99999999999999999999999");
    check_none("18446744073709551617");
}
