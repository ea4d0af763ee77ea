#include "net/range.h"
#include <ctype.h>
#include <stdint.h>
#include <strings.h>

/* A decimal number; what is too large counts as SIZE_MAX. False: there is none. */
static bool take_number(const char **at, const char *end, size_t *value)
{
    const char *start = *at;
    *value = 0;
    while (*at < end && isdigit((unsigned char)**at)) {
        size_t digit = (size_t)(*(*at)++ - '0');
        *value = *value > (SIZE_MAX - digit) / 10 ? SIZE_MAX : *value * 10 + digit;
    }
    return *at > start;
}

enum range_result range_parse(const char *text, size_t len, size_t size, size_t *first, size_t *last)
{
    static const char unit[] = "bytes=";
    const char *at = text + sizeof(unit) - 1, *end = text + len;
    size_t from, to = SIZE_MAX;

    if (len < sizeof(unit) || strncasecmp(text, unit, sizeof(unit) - 1) != 0)
        return RANGE_NONE;
    if (*at == '-') { /* the last so many */
        at++;
        if (!take_number(&at, end, &from) || at != end)
            return RANGE_NONE;
        if (from == 0 || size == 0)
            return RANGE_BEYOND;
        *first = from < size ? size - from : 0;
        *last = size - 1;
        return RANGE_ONE;
    }
    if (!take_number(&at, end, &from) || at == end || *at++ != '-')
        return RANGE_NONE;
    if (at < end && (!take_number(&at, end, &to) || at != end || to < from))
        return RANGE_NONE;
    if (from >= size)
        return RANGE_BEYOND;
    *first = from;
    *last = to < size ? to : size - 1;
    return RANGE_ONE;
}
