#include "report/units.h"

#include "report/query/query.h"
#include "tests/unit/check.h"

static char text[UNITS_BYTES];

Test(units, bytes_are_in_binary_units)
{
    check_text(units_bytes(text, 0), "0 B");
    check_text(units_bytes(text, 1023), "1023 B");
    check_text(units_bytes(text, 1024), "1.0 KiB");
    check_text(units_bytes(text, 1536), "1.5 KiB");
    check_text(units_bytes(text, 87031808), "83.0 MiB");
    check_text(units_bytes(text, 1023 * 1024), "1023 KiB");
    check_text(units_bytes(text, (int64_t)3 << 30), "3.0 GiB");
    check_text(units_bytes(text, (int64_t)5 << 40), "5.0 TiB");
    check_text(units_bytes(text, (int64_t)5000 << 40), "5000 TiB");
    check_text(units_bytes(text, -1536), "-1.5 KiB");
    check_text(units_bytes(text, INT64_MAX), "8388608 TiB");
}

Test(units, counts_have_commas)
{
    check_text(units_count(text, 0), "0");
    check_text(units_count(text, 999), "999");
    check_text(units_count(text, 1000), "1,000");
    check_text(units_count(text, 1384), "1,384");
    check_text(units_count(text, 123456789), "123,456,789");
    check_text(units_count(text, -1), "-1");
    check_text(units_count(text, -123), "-123");
    check_text(units_count(text, -1234), "-1,234");
    check_text(units_count(text, INT64_MAX), "9,223,372,036,854,775,807");
    check_text(units_count(text, INT64_MIN + 1), "-9,223,372,036,854,775,807");
}

Test(units, clocks_have_less_of_a_fraction_the_longer_they_run)
{
    check_text(units_clock(text, 0), "00:00.000");
    check_text(units_clock(text, 1234567), "00:01.234");
    check_text(units_clock(text, 9999999), "00:09.999");
    check_text(units_clock(text, 10000000), "00:10.0");
    check_text(units_clock(text, 70500000), "01:10.5");
    check_text(units_clock(text, 70599999), "01:10.5");
    check_text(units_clock(text, 3599900000), "59:59.9");
    check_text(units_clock(text, 3600000000), "1:00:00");
    check_text(units_clock(text, 90061000000), "25:01:01");
}

Test(units, durations_choose_their_unit)
{
    check_text(units_duration(text, 0), "0 us");
    check_text(units_duration(text, 12), "12 us");
    check_text(units_duration(text, 999), "999 us");
    check_text(units_duration(text, 1500), "1.5 ms");
    check_text(units_duration(text, 340000), "340 ms");
    check_text(units_duration(text, 1200000), "1.2 s");
    check_text(units_duration(text, 90000000), "90.0 s");
}

Test(units, shares_are_of_something)
{
    check_text(units_share(text, 37, 100), "37 %");
    check_text(units_share(text, 1, 100), "1.0 %");
    check_text(units_share(text, 100, 100), "100 %");
    check_text(units_share(text, 0, 100), "0.0 %");
    check_text(units_share(text, -5, 100), "-5.0 %");
    check_text(units_share(text, 1, 0), "-");
    check_text(units_share(text, 1, -1), "-");
}

Test(units, what_is_unknown_is_a_dash)
{
    check_text(units_bytes(text, QUERY_UNKNOWN), "-");
    check_text(units_count(text, QUERY_UNKNOWN), "-");
    check_text(units_clock(text, QUERY_UNKNOWN), "-");
    check_text(units_duration(text, QUERY_UNKNOWN), "-");
    check_text(units_share(text, QUERY_UNKNOWN, 100), "-");
    check_text(units_share(text, 5, QUERY_UNKNOWN), "-");
}
