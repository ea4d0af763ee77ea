#include "base/url.h"
#include "base/mem.h"
#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static int digit(char c)
{
    return c <= '9' ? c - '0' : tolower((unsigned char)c) - 'a' + 10;
}

/* In place. */
static bool unescape(char *text)
{
    char *out = text;
    for (; *text != '\0'; text++) {
        if (*text != '%') {
            *out++ = *text;
            continue;
        }
        if (!isxdigit((unsigned char)text[1]) || !isxdigit((unsigned char)text[2]))
            return false;
        *out = (char)(digit(text[1]) << 4 | digit(text[2]));
        if (*out++ == '\0')
            return false;
        text += 2;
    }
    *out = '\0';
    return true;
}

char *url_split(const char *url, char **user, char **password)
{
    const char *start = strstr(url, "://"), *at = strrchr(url, '@');
    start = start == NULL ? url : start + 3;
    *user = *password = NULL;
    if (at == NULL || at < start)
        return x_strdup(url);
    const char *colon = memchr(start, ':', (size_t)(at - start)), *end = colon == NULL ? at : colon;
    *user = x_memdup(start, (size_t)(end - start));
    if (colon != NULL)
        *password = x_memdup(colon + 1, (size_t)(at - colon - 1));
    if (!unescape(*user) || (*password != NULL && !unescape(*password))) {
        free(*user);
        free(*password);
        *user = *password = NULL;
        return NULL;
    }
    return x_printf("%.*s%s", (int)(start - url), url, at + 1);
}
