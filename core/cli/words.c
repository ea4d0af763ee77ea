#include "cli/words.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *words_count(char out[WORDS], long long count)
{
    char digits[32];
    int len = snprintf(digits, sizeof(digits), "%lld", llabs(count));
    char *at = out;
    if (count < 0)
        *at++ = '-';
    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            *at++ = ',';
        *at++ = digits[i];
    }
    *at = '\0';
    return out;
}

static void put_span(char out[WORDS], long long large, const char *unit, long long small, const char *rest)
{
    if (small == 0)
        snprintf(out, WORDS, "%lld %s", large, unit);
    else
        snprintf(out, WORDS, "%lld %s %lld %s", large, unit, small, rest);
}

const char *words_span(char out[WORDS], long long seconds)
{
    long long minutes = seconds / 60, hours = minutes / 60, days = hours / 24;
    if (days > 0)
        put_span(out, days, "d", hours % 24, "h");
    else if (hours > 0)
        put_span(out, hours, "h", minutes % 60, "min");
    else if (minutes > 0)
        put_span(out, minutes, "min", seconds % 60, "s");
    else
        snprintf(out, WORDS, "%lld s", seconds);
    return out;
}

const char *words_share(char out[WORDS], double share)
{
    double percent = share * 100;
    snprintf(out, WORDS, fabs(percent - round(percent)) < 0.05 || percent >= 99.95 ? "%.0f %%" : "%.1f %%",
             percent);
    return out;
}
