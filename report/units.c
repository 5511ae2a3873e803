#include "report/units.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "report/query/query.h"

static char *
unknown(char *text)
{
    return strcpy(text, "-");
}

char *
units_bytes(char *text, int64_t n_bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    if (n_bytes == QUERY_UNKNOWN)
        return unknown(text);
    double value = (double)n_bytes;
    unsigned unit = 0;
    while ((value >= 1024 || value <= -1024) && unit < 4) {
        value /= 1024;
        unit++;
    }
    const int digits = unit == 0 || value >= 1000 || value <= -1000 ? 0 : 1;
    snprintf(text, UNITS_BYTES, "%.*f %s", digits, value, units[unit]);
    return text;
}

char *
units_count(char *text, int64_t n)
{
    if (n == QUERY_UNKNOWN)
        return unknown(text);
    char digits[UNITS_BYTES];
    const int length = snprintf(digits, sizeof(digits), "%" PRId64, n);
    int at = 0;
    for (int i = 0; i < length; i++) {
        const int left = length - i;
        if (i != 0 && left % 3 == 0 && digits[i - 1] != '-')
            text[at++] = ',';
        text[at++] = digits[i];
    }
    text[at] = '\0';
    return text;
}

char *
units_clock(char *text, int64_t t_us)
{
    if (t_us == QUERY_UNKNOWN)
        return unknown(text);
    const int64_t seconds = t_us / 1000000;
    if (t_us < 10000000)
        snprintf(text, UNITS_BYTES, "00:%02d.%03d", (int)seconds,
                 (int)(t_us / 1000 % 1000));
    else if (seconds >= 3600)
        snprintf(text, UNITS_BYTES, "%" PRId64 ":%02d:%02d", seconds / 3600,
                 (int)(seconds / 60 % 60), (int)(seconds % 60));
    else
        snprintf(text, UNITS_BYTES, "%02d:%02d.%d", (int)(seconds / 60),
                 (int)(seconds % 60), (int)(t_us / 100000 % 10));
    return text;
}

char *
units_duration(char *text, int64_t us)
{
    if (us == QUERY_UNKNOWN)
        return unknown(text);
    if (us < 1000)
        snprintf(text, UNITS_BYTES, "%" PRId64 " us", us);
    else if (us < 1000000)
        snprintf(text, UNITS_BYTES, "%.*f ms", us < 10000 ? 1 : 0,
                 (double)us / 1e3);
    else
        snprintf(text, UNITS_BYTES, "%.1f s", (double)us / 1e6);
    return text;
}

char *
units_share(char *text, int64_t part, int64_t whole)
{
    if (part == QUERY_UNKNOWN || whole == QUERY_UNKNOWN || whole <= 0)
        return unknown(text);
    const double share = 100.0 * (double)part / (double)whole;
    snprintf(text, UNITS_BYTES, "%.*f %%", share < 10 && share > -10 ? 1 : 0,
             share);
    return text;
}
